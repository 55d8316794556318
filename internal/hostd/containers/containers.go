// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package containers carries the settings host-containers and bootstrap-containers into units that run host-ctr.
//
// A container whose settings are wrong is reported and stops none of the others. What a container was told before is
// replaced as a whole, so that running this again at any time is safe.
package containers

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/drydock-os/drydock/internal/durable"
	"github.com/drydock-os/drydock/internal/hostd/store"
)

// Kinds of containers, as the settings name them.
const (
	Host      = "host-containers"
	Bootstrap = "bootstrap-containers"
)

// Container is what the settings say about one.
type Container struct {
	Source       string `json:"source" toml:"source"`
	Enabled      bool   `json:"enabled" toml:"enabled"`           // host containers
	Superpowered bool   `json:"superpowered" toml:"superpowered"` // host containers
	Mode         string `json:"mode" toml:"mode"`                 // bootstrap containers: off, once or always; empty is off
	Essential    bool   `json:"essential" toml:"essential"`       // bootstrap containers
	UserData     string `json:"user-data" toml:"user-data"`       // base64
}

// API is the host daemon.
type API interface {
	Request(ctx context.Context, method, uri string, body []byte) (status int, reply []byte, err error)
}

// Config holds what carrying out needs. Fields are required unless they name a default.
type Config struct {
	Root    string
	API     API
	File    string   // TOML to read in place of asking the API, not below Root; default: none
	Changed []string // names of settings that changed; nil: all containers are looked at
	Units   Units    // default: Manager
	Log     *slog.Logger
}

var (
	validName = regexp.MustCompile(`^[A-Za-z0-9-]{1,76}$`)
	errSource = errors.New("no source is set")
)

// Read returns the containers of a kind.
func Read(ctx context.Context, cfg Config, kind string) (map[string]Container, error) {
	var all map[string]map[string]Container
	if cfg.File != "" {
		f, err := os.Open(cfg.File)
		if err != nil {
			return nil, fmt.Errorf("reading settings: %w", err)
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, 4<<20))
		if err == nil {
			err = toml.Unmarshal(data, &all)
		}
		if err != nil {
			return nil, fmt.Errorf("reading settings: %s: %w", cfg.File, err)
		}
		return all[kind], nil
	}
	status, reply, err := cfg.API.Request(ctx, http.MethodGet, "/settings?prefix="+kind+".", nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", status, reply)
	}
	if err == nil {
		err = json.Unmarshal(reply, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("reading settings: %w", err)
	}
	return all[kind], nil
}

// touched tells whether a change of settings is one of the container.
func (c Config) touched(kind, name string) bool {
	if c.Changed == nil {
		return true
	}
	return slices.ContainsFunc(c.Changed, func(key string) bool {
		k, err := store.ParseKey(key)
		if err != nil {
			return false
		}
		s := k.Segments()
		return len(s) >= 3 && s[1] == kind && s[2] == name
	})
}

// each does something for the containers that were touched and goes on after errors.
func (c Config) each(all map[string]Container, kind string, do func(name string, container Container) error) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !c.touched(kind, name) {
			continue
		}
		var err error
		switch {
		case !validName.MatchString(name):
			err = errors.New("the name is none")
		case all[name].Source == "":
			err = errSource
		default:
			err = do(name, all[name])
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("settings.%s.%s: %w", kind, name, err))
		}
	}
	return errors.Join(errs...)
}

// RunHost starts and stops host containers as the settings say.
func RunHost(ctx context.Context, cfg Config) error {
	all, err := Read(ctx, cfg, Host)
	if err != nil {
		return err
	}
	units := cfg.units()
	now, err := units.Booted(ctx)
	if err != nil {
		return err
	}
	return cfg.each(all, Host, func(name string, c Container) error {
		if err := cfg.prepare(Host, name, c, fmt.Sprintf("CTR_SUPERPOWERED=%v\nCTR_SOURCE=%s\n# enabled: %v\n", c.Superpowered, c.Source, c.Enabled)); err != nil {
			return err
		}
		u := Unit{Kind: Host, Name: name, Container: c}
		if err := units.Stop(ctx, u); err != nil {
			return err
		}
		if err := cfg.cleanUp(ctx, u); err != nil {
			return err
		}
		cfg.Log.Info("host container", "name", name, "enabled", c.Enabled, "superpowered", c.Superpowered, "source", c.Source)
		if c.Enabled {
			return units.Enable(ctx, u, now)
		}
		return units.Disable(ctx, u)
	})
}

// prepare writes what the container and its unit read.
func (c Config) prepare(kind, name string, container Container, env string) error {
	dir := filepath.Join(c.Root, "local", kind, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	if container.UserData != "" {
		data, err := base64.StdEncoding.DecodeString(container.UserData)
		if err != nil {
			return errors.New("user-data is not base64")
		}
		if err := durable.WriteFile(filepath.Join(dir, "user-data"), data, 0o600); err != nil {
			return err
		}
	}
	if strings.ContainsAny(container.Source, "\n\r\"'\\ ") {
		return fmt.Errorf("source %q holds a character that no image has", container.Source)
	}
	etc := filepath.Join(c.Root, "etc", kind)
	if err := os.MkdirAll(etc, 0o755); err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(etc, name+".env"), []byte(env), 0o644)
}

// cleanUp removes what a unit that was killed left. Without containerd there is nothing, or the next start removes it.
func (c Config) cleanUp(ctx context.Context, u Unit) error {
	conn, err := net.DialTimeout("unix", filepath.Join(c.Root, "run/host-containerd/containerd.sock"), time.Second)
	if err != nil {
		return nil
	}
	_ = conn.Close()
	return hostCtr(ctx, c.Root, "clean-up", "--container-id", u.id()).Run()
}

// ErrEssential means that a bootstrap container failed without which the boot must not go on.
var ErrEssential = errors.New("an essential bootstrap container failed")

// CreateBootstrap enables and disables the units of bootstrap containers as the settings say. It starts none.
func CreateBootstrap(ctx context.Context, cfg Config) error {
	all, err := Read(ctx, cfg, Bootstrap)
	if err != nil {
		return err
	}
	units := cfg.units()
	return cfg.each(all, Bootstrap, func(name string, c Container) error {
		mode := bootMode(c.Mode)
		if err := cfg.prepare(Bootstrap, name, c, fmt.Sprintf("CTR_SOURCE=%s\nCTR_MODE=%s\n", c.Source, mode)); err != nil {
			return err
		}
		u := Unit{Kind: Bootstrap, Name: name, Container: c}
		if err := units.Disable(ctx, u); err != nil { // also when only essential changed
			return err
		}
		if mode == "off" {
			return nil
		}
		install := "WantedBy"
		if c.Essential {
			install = "RequiredBy"
		}
		dir := filepath.Join(cfg.Root, "etc/systemd/system", u.String()+".d")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := durable.WriteFile(filepath.Join(dir, "overrides.conf"), []byte("[Install]\n"+install+"=configured.target\n"), 0o644); err != nil {
			return err
		}
		return units.Enable(ctx, u, false)
	})
}

func bootMode(mode string) string {
	if mode == "" {
		return "off"
	}
	return mode
}

// RunBootstrap runs the bootstrap containers that have not run since the boot, one after the other, as the units do on
// a host with a service manager. An essential one that fails ends it, also when it has failed before in this boot:
// what such a container left half done is for the next boot, or for people.
func RunBootstrap(ctx context.Context, cfg Config) error {
	cfg.Changed = nil
	all, err := Read(ctx, cfg, Bootstrap)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		c := all[name]
		if bootMode(c.Mode) == "off" {
			continue
		}
		switch state, err := os.ReadFile(cfg.marker(name)); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("looking whether %s has run: %w", name, err)
		case string(state) == started && c.Essential:
			return fmt.Errorf("%w: settings.%s.%s: %w", ErrEssential, Bootstrap, name, errUnfinished)
		default:
			continue
		}
		one := cfg
		err := one.each(map[string]Container{name: c}, Bootstrap, func(name string, c Container) error {
			if err := cfg.prepare(Bootstrap, name, c, fmt.Sprintf("CTR_SOURCE=%s\nCTR_MODE=%s\n", c.Source, c.Mode)); err != nil {
				return err
			}
			u := Unit{Kind: Bootstrap, Name: name, Container: c}
			if err := MarkBootstrap(ctx, cfg, name, ""); err != nil { // before: no second run whatever ends this program
				return err
			}
			if err := hostCtr(ctx, cfg.Root, u.arguments()...).Run(); err != nil {
				return err
			}
			return MarkBootstrap(ctx, cfg, name, c.Mode)
		})
		switch {
		case err != nil && c.Essential:
			return fmt.Errorf("%w: %w", ErrEssential, err)
		case err != nil:
			cfg.Log.Warn("bootstrap container failed; it is not essential", "name", name, "error", err)
		}
	}
	return nil
}

func (c Config) marker(name string) string {
	return filepath.Join(c.Root, "run/bootstrap-containers", name+".ran")
}

// What is in a marker. That it is there means that the container does not start again in this boot.
const (
	started  = "started\n"
	finished = "finished\n"
)

var errUnfinished = errors.New("it has been started since the boot and did not end well; it runs again at the next boot")

// MarkBootstrap notes that a container starts, with the mode "", or that it has run with success, which turns the mode
// once to off. One that failed keeps its mode: the next boot tries again.
func MarkBootstrap(ctx context.Context, cfg Config, name, mode string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("container %q: the name is none", name)
	}
	marker := cfg.marker(name)
	if err := os.MkdirAll(filepath.Dir(marker), 0o755); err != nil {
		return err
	}
	state := finished
	if mode == "" {
		state = started
	}
	if err := durable.WriteFile(marker, []byte(state), 0o644); err != nil {
		return err
	}
	if mode != "once" {
		return nil
	}
	body, err := json.Marshal(map[string]any{Bootstrap: map[string]any{name: map[string]string{"mode": "off"}}})
	if err != nil {
		return err
	}
	tx := "?tx=" + url.QueryEscape("bootstrap-"+name)
	for _, r := range []struct {
		method, uri string
		body        []byte
	}{{http.MethodPatch, "/settings" + tx, body}, {http.MethodPost, "/tx/commit_and_apply" + tx, nil}} {
		status, reply, err := cfg.API.Request(ctx, r.method, r.uri, r.body)
		if err == nil && status/100 != 2 {
			err = fmt.Errorf("status %d: %s", status, reply)
		}
		if err != nil {
			return fmt.Errorf("turning %s off: %w", name, err)
		}
	}
	return nil
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return !errors.Is(err, fs.ErrNotExist)
}
