// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package storewolf makes the settings store ready, once per boot and before anybody uses it: it creates the store when
// there is none, drops the transactions of the boot before, and fills in defaults that are missing.
//
// It never changes a value that is there. Default settings go into the transaction bottlerocket-launch, which counts once
// it is committed together with what user data says; everything else counts at once.
package storewolf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/drydock-os/drydock/internal/hostd/settings"
	"github.com/drydock-os/drydock/internal/hostd/store"
)

const (
	// Dir is where the store is, below the root.
	Dir = "/var/lib/bottlerocket/datastore"

	// LaunchTransaction has what a boot wants to set.
	LaunchTransaction = "bottlerocket-launch"

	// doneFile has the id of the boot that the store was made ready in, below the root. It is in memory, so it is gone
	// after a reboot; the id is for those who keep /run in other places.
	doneFile = "/run/storewolf.ran"

	maxDoneFile = 256
)

// Config says whose store it is. Fields are required unless they name a default.
type Config struct {
	Root    string // below which all files of the host are
	Dir     string // of the store, below Root; default Dir
	Version string // of the running system, semver without v
	Variant string // of the running system
	BootID  string // of this boot
	Log     *slog.Logger
}

// Prepare opens the store, and makes it ready when nobody has done so since this boot. It returns the errors of
// package store.
func Prepare(cfg Config) (*store.Store, error) { return prepare(cfg, false) }

// PrepareAgain makes the store ready also when it was before: transactions that are pending now are lost.
func PrepareAgain(cfg Config) (*store.Store, error) { return prepare(cfg, true) }

func prepare(cfg Config, again bool) (*store.Store, error) {
	if cfg.Dir == "" {
		cfg.Dir = Dir
	}
	model := settings.For(settings.ParseVariant(cfg.Variant))
	defaults, err := model.Defaults()
	if err == nil {
		err = addDefaults(defaults, model, cfg.Root)
	}
	if err != nil {
		return nil, fmt.Errorf("preparing settings store: %w", err)
	}
	at := store.Config{Dir: filepath.Join(cfg.Root, cfg.Dir), Log: cfg.Log, Check: model.CheckTogether}
	s, err := store.Open(at)
	created := errors.Is(err, fs.ErrNotExist)
	if created {
		s, err = store.Create(at, cfg.Version, defaults.Live)
	}
	if err != nil {
		return nil, err
	}
	if !created && !again && ran(cfg) {
		return s, nil
	}
	if err := makeReady(s, defaults); err != nil {
		return nil, errors.Join(fmt.Errorf("preparing settings store: %w", err), s.Close())
	}
	if err := markRan(cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("preparing settings store: %w", err), s.Close())
	}
	cfg.Log.Info("settings store ready", "version", s.Version(), "created", created)
	return s, nil
}

func makeReady(s *store.Store, defaults settings.Defaults) error {
	if err := s.DropAll(); err != nil {
		return err
	}
	live, missing := s.Live(), store.NewData()
	for k, v := range defaults.Live.Values {
		if _, have := live.Values[k]; !have {
			missing.Values[k] = v
		}
	}
	for k, known := range defaults.Live.Metadata {
		for name, v := range known {
			if _, have := live.Metadata[k][name]; !have {
				missing.SetMetadata(k, name, v)
			}
		}
	}
	if err := s.Write(missing); err != nil {
		return err
	}
	unset := map[store.Key]store.Value{}
	for k, v := range defaults.Settings {
		if _, have := live.Values[k]; !have {
			unset[k] = v
		}
	}
	return s.Put(LaunchTransaction, unset)
}

// ran reports whether the store was made ready in this boot. When in doubt it was not.
func ran(cfg Config) bool {
	f, err := os.Open(filepath.Join(cfg.Root, doneFile))
	if err != nil {
		return false
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDoneFile))
	return err == nil && cfg.BootID != "" && string(data) == cfg.BootID
}

// markRan needs no care about power cuts: after one, it should be gone.
func markRan(cfg Config) error {
	name := filepath.Join(cfg.Root, doneFile)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(cfg.BootID), 0o600)
}
