// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package firstboot gives a host the settings that it was started with, once in its life.
//
// They come from several places; what a later one says goes before an earlier one: defaults and user data in files that
// the image or an installer has left, the region and the user data of the cloud, overrides in a file. All of them must
// be right, or none counts: wrong user data stops the boot with the line and the key at fault. The host is marked only
// after the settings are committed, so that a power cut in between loses nothing: they are read again then.
package firstboot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/drydock-os/drydock/internal/durable"
	"github.com/drydock-os/drydock/internal/hostd/settings"
	"github.com/drydock-os/drydock/internal/hostd/storewolf"
)

// marker is there once the first boot's settings are committed, below the root.
const marker = "/var/lib/bottlerocket/early-boot-config.ran"

// API is the host daemon. A request returns the status of the answer and its body.
type API interface {
	Request(ctx context.Context, method, uri string, body []byte) (status int, reply []byte, err error)
}

// Cloud tells about the instance that the host is.
type Cloud interface {
	UserData(context.Context) ([]byte, error)
	Region(context.Context) (string, error)
}

// Config holds what the first boot needs. Fields are required unless they name a default.
type Config struct {
	Root  string
	API   API
	Model *settings.Model // of the running system's variant
	Cloud Cloud           // default: none, this host is no cloud's
	Log   *slog.Logger
}

// source is one of the places.
type source struct {
	name string
	read func(context.Context) ([]byte, error) // JSON of settings; nil: it has none
}

// sources are the places in their order.
func (c Config) sources() []source {
	file := func(name string) source {
		return source{name, func(context.Context) ([]byte, error) {
			data, err := readFile(filepath.Join(c.Root, name))
			if err != nil || data == nil {
				return nil, err
			}
			return Parse(data, c.Model)
		}}
	}
	list := []source{file("/local/user-data-defaults.toml"), file("/var/lib/bottlerocket/user-data.toml")}
	if c.Cloud != nil {
		list = append(list, source{"region of the instance", c.region}, source{"user data of the instance", c.userData})
	}
	return append(list, file("/local/user-data-overrides.toml"))
}

func (c Config) region(ctx context.Context) ([]byte, error) {
	region, err := c.Cloud.Region(ctx)
	if err != nil || region == "" {
		return nil, err
	}
	return json.Marshal(map[string]any{"aws": map[string]string{"region": region}})
}

func (c Config) userData(ctx context.Context) ([]byte, error) {
	data, err := c.Cloud.UserData(ctx)
	if err != nil || len(data) == 0 {
		return nil, err
	}
	return Parse(data, c.Model)
}

// Run gives the host its settings, unless that was done before. It returns *Error inside its errors.
func Run(ctx context.Context, cfg Config) error {
	mark := filepath.Join(cfg.Root, marker)
	switch _, err := os.Stat(mark); {
	case err == nil:
		cfg.Log.Debug("not the first boot", "marker", marker)
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("looking for the mark of the first boot: %w", err)
	}
	type found struct {
		name string
		json []byte
	}
	var all []found
	for _, s := range cfg.sources() {
		data, err := s.read(ctx)
		if err != nil {
			return fmt.Errorf("reading %s: %w", s.name, err)
		}
		if data != nil {
			all = append(all, found{s.name, data})
		}
	}
	for _, f := range all { // only now that all are known to be right
		uri := "/settings?tx=" + url.QueryEscape(storewolf.LaunchTransaction)
		status, reply, err := cfg.API.Request(ctx, http.MethodPatch, uri, f.json)
		if err == nil && status/100 != 2 {
			err = fmt.Errorf("status %d: %s", status, reply)
		}
		if err != nil {
			return fmt.Errorf("setting what %s says: %w", f.name, err)
		}
		cfg.Log.Info("settings taken", "from", f.name)
	}
	if err := Commit(ctx, cfg.API, storewolf.LaunchTransaction); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(mark), 0o755); err != nil {
		return fmt.Errorf("marking the first boot: %w", err)
	}
	return durable.WriteFile(mark, nil, 0o644)
}

// Commit commits a transaction. That nothing is pending is fine.
func Commit(ctx context.Context, api API, transaction string) error {
	status, reply, err := api.Request(ctx, http.MethodPost, "/tx/commit?tx="+url.QueryEscape(transaction), nil)
	if err == nil && status/100 != 2 && status != http.StatusUnprocessableEntity {
		err = fmt.Errorf("status %d: %s", status, reply)
	}
	if err != nil {
		return fmt.Errorf("committing transaction %s: %w", transaction, err)
	}
	return nil
}

// readFile returns nil when there is no such file.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxUserData+1))
}
