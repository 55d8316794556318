// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package apply carries settings into the files and services that they affect.
//
// All files are rendered before the first one is written, and each is replaced as a whole, so that an error in one
// template changes nothing. Commands run once all files are written, in order of their services' names; the first that
// fails ends it, and nothing that was written is taken back: the settings stand, and applying them again is safe.
package apply

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/drydock-os/drydock/internal/hostd/commandline"
	"github.com/drydock-os/drydock/internal/hostd/settings"
	"github.com/drydock-os/drydock/internal/hostd/store"
)

// Config holds what an Applier needs. Fields are required unless they name a default.
type Config struct {
	Root  string // below which all files and programs of the host are
	Store interface{ Live() store.Data }
	Model *settings.Model // of the system's variant
	OS    map[string]any  // what templates know as os
	Run   Runner          // default: Programs{Root, Log}
	Log   *slog.Logger
}

// Runner runs commands of services.
type Runner interface {
	// Run runs one command, whose first word is the absolute path of a program. Changed are the names of the settings
	// that changed, or nil when everything is applied.
	Run(ctx context.Context, command, changed []string) error
}

// Applier applies the settings of one store.
type Applier struct{ cfg Config }

// New returns an Applier. It touches nothing yet.
func New(cfg Config) *Applier {
	if cfg.Run == nil {
		cfg.Run = Programs{Root: cfg.Root, Log: cfg.Log}
	}
	return &Applier{cfg}
}

// service is one of the store's services.
type service struct {
	name            string
	files, commands []string
}

// Apply carries what keys affect, or everything when keys is nil, into files and services. Everything is what a boot
// does: a file whose template misses a value is left alone then, with a warning, because a host that is not set up yet
// must boot too. For given keys, a missing value is an error.
func (a *Applier) Apply(ctx context.Context, keys []string) error {
	live := a.cfg.Store.Live()
	names, err := affected(live, keys)
	if err != nil || len(names) == 0 {
		return err
	}
	services := make([]service, len(names))
	var fileNames []string
	for i, name := range names {
		if services[i], err = readService(live, name); err != nil {
			return err
		}
		fileNames = append(fileNames, services[i].files...)
	}
	slices.Sort(fileNames)
	files, err := a.render(live, slices.Compact(fileNames), keys == nil)
	if err != nil {
		return err
	}
	reload, err := a.write(files)
	if err != nil {
		return err
	}
	if reload && keys != nil {
		if err := a.cfg.Run.Run(ctx, []string{"/usr/bin/systemctl", "daemon-reload"}, keys); err != nil {
			return err
		}
	}
	for _, s := range services {
		for _, command := range s.commands {
			words, err := commandline.Split(command)
			if err == nil {
				err = a.cfg.Run.Run(ctx, words, keys)
			}
			if err != nil {
				return fmt.Errorf("restarting %s: %w", s.name, err)
			}
		}
	}
	return nil
}

// affected returns the names of the services that keys affect, sorted.
func affected(live store.Data, keys []string) ([]string, error) {
	var names []string
	if keys == nil {
		for _, k := range live.Keys(settings.Services + ".") {
			names = append(names, k.Segments()[1])
		}
	}
	for _, name := range keys {
		k, err := store.ParseKey(name)
		if err != nil {
			return nil, fmt.Errorf("finding affected services: %w", err)
		}
		v, ok := live.Inherited(k, store.AffectedServices)
		if !ok {
			continue
		}
		list, err := stringList(v)
		if err != nil {
			return nil, fmt.Errorf("finding services that %s affects: %w", name, err)
		}
		names = append(names, list...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func readService(live store.Data, name string) (service, error) {
	s := service{name: name}
	known := false
	for field, into := range map[string]*[]string{"configuration-files": &s.files, "restart-commands": &s.commands} {
		k, err := store.NewKey(settings.Services, name, field)
		if err != nil {
			return s, fmt.Errorf("reading service %q: %w", name, err)
		}
		v, ok := live.Values[k]
		if !ok {
			continue
		}
		known = true
		if *into, err = stringList(v); err != nil {
			return s, fmt.Errorf("reading service %q: %s: %w", name, field, err)
		}
	}
	if !known {
		return s, fmt.Errorf("reading service %q: %w", name, errUnknown)
	}
	return s, nil
}

var errUnknown = errors.New("not in the settings store")

// writers is how many files are written at a time: they share the flushes of the disk, which is most of the time that a
// first boot needs for them.
const writers = 16

// write replaces the files that have to change. It reports whether the service manager has to read some of them.
func (a *Applier) write(files []file) (reload bool, err error) {
	changed := make([]bool, len(files))
	var group errgroup.Group
	group.SetLimit(writers)
	for i, f := range files {
		group.Go(func() (err error) {
			changed[i], err = f.write()
			return err
		})
	}
	err = group.Wait()
	for i, f := range files {
		if changed[i] {
			a.cfg.Log.Info("configuration file written", "path", f.path)
		}
		reload = reload || changed[i] && strings.HasPrefix(f.path, "/etc/systemd/")
	}
	return reload, err
}
