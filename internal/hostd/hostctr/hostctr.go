// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package hostctr runs containers of the host itself, beside those of an orchestrator, with a containerd of their own.
//
// A container starts from its image each time: what it writes outside of its persistent folder is gone with it. It never
// runs twice at once, and nothing of it is left once Run has returned or CleanUp was called.
package hostctr

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
)

// Where the containerd of host containers is, below the root.
const (
	DefaultSocket    = "/run/host-containerd/containerd.sock"
	DefaultNamespace = "default"
)

// Kind is what a container is for.
type Kind string

// Kinds of containers.
const (
	Host      Kind = "host"      // for people and agents that look after the host
	Bootstrap Kind = "bootstrap" // runs once, before the orchestrator starts
)

// bootPrefix tells bootstrap containers from host containers of the same name.
const bootPrefix = "boot."

// Container is one to run.
type Container struct {
	Name         string // without prefix
	Kind         Kind
	Source       string // of the image
	Superpowered bool   // of a host container: may do almost anything to the host
	UseCached    bool   // an image that is here already is not looked for again
}

var validName = regexp.MustCompile(`^[A-Za-z0-9-]{1,76}$`)

// Parse returns the container of an id, which may have the prefix of its kind.
func Parse(id string, kind Kind) (Container, error) {
	c := Container{Name: id, Kind: kind}
	switch kind {
	case Host:
	case Bootstrap:
		c.Name = strings.TrimPrefix(id, bootPrefix)
	default:
		return c, fmt.Errorf("container type %q: want %s or %s", kind, Host, Bootstrap)
	}
	if !validName.MatchString(c.Name) {
		return c, fmt.Errorf("container id %q: want 1 to 76 letters, digits and dashes", id)
	}
	return c, nil
}

// ID is the container's name in containerd.
func (c Container) ID() string {
	if c.Kind == Bootstrap {
		return bootPrefix + c.Name
	}
	return c.Name
}

// storage is the folder of the host that outlives the container.
func (c Container) storage() string { return "/local/" + string(c.Kind) + "-containers/" + c.Name }

// Config holds what a Runtime needs. Fields are required unless they name a default.
type Config struct {
	Root           string // below which the files of the host are; default "/"
	Socket         string // of containerd, below Root; default DefaultSocket
	Namespace      string // of containerd; default DefaultNamespace
	Snapshotter    string // default: that of containerd
	RegistryConfig string // path below Root; default: no mirrors and no credentials
	Stdout, Stderr io.Writer
	Environ        []string // the proxy among it is passed on to containers
	Log            *slog.Logger

	Grace  time.Duration                     // between SIGTERM and SIGKILL; default 20 s
	Spread func(time.Duration) time.Duration // of pauses between tries, so that hosts do not ask together; default: 2 to 6 s longer
	AWS    AWS                               // how to ask Amazon's registries
}

const (
	defaultGrace = 20 * time.Second
	afterKill    = 25 * time.Second // a task that SIGKILL has not ended then is given up
	connectLimit = 10 * time.Second
	startLimit   = time.Minute
	drainLimit   = 5 * time.Second
	removeLimit  = 45 * time.Second // of everything an earlier run left
	firstLook    = 20 * time.Millisecond
	lastLook     = time.Second // and longest pause between two looks at what is left
)

// Runtime talks to one containerd.
type Runtime struct {
	cfg    Config
	client *containerd.Client
}

// complete fills in defaults.
func (c *Config) complete() error {
	if c.Log == nil || c.Stdout == nil || c.Stderr == nil {
		return errors.New("no log or output given")
	}
	for _, d := range []struct {
		field *string
		value string
	}{{&c.Root, "/"}, {&c.Socket, DefaultSocket}, {&c.Namespace, DefaultNamespace}} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	if c.Grace == 0 {
		c.Grace = defaultGrace
	}
	if c.Spread == nil {
		c.Spread = func(pause time.Duration) time.Duration { return pause + 2*time.Second + rand.N(4*time.Second) }
	}
	root, err := filepath.Abs(c.Root)
	if err != nil {
		return err
	}
	c.Root = root
	return nil
}

// Connect returns a Runtime, which must be closed.
func Connect(cfg Config) (*Runtime, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	socket := filepath.Join(cfg.Root, cfg.Socket)
	conn, err := net.DialTimeout("unix", socket, connectLimit) // the client would wait in silence for one to appear
	if err != nil {
		return nil, fmt.Errorf("connecting to containerd: %w", err)
	}
	_ = conn.Close()
	client, err := containerd.New(socket,
		containerd.WithDefaultNamespace(cfg.Namespace), containerd.WithTimeout(connectLimit))
	if err != nil {
		return nil, fmt.Errorf("connecting to containerd: %w", err)
	}
	return &Runtime{cfg: cfg, client: client}, nil
}

// Close ends the connection.
func (r *Runtime) Close() error { return r.client.Close() }
