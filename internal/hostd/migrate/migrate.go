// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package migrate brings the settings store to the version of the running system, forward or back, before anybody else
// opens it.
//
// Each migration is a program that was published beside the system. It runs from sealed memory, after its signature was
// checked, and writes a new copy of the store. The links move to the last copy only when all have run: until then, and
// also when the power goes, the store is the old one.
//
// The data of before stays until the store is pruned, once the new system has proved itself. A system that comes back
// before that finds its own settings as it left them, whatever the other one has made of them.
package migrate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/Masterminds/semver/v3"
	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/internal/hostd/store"
	"github.com/drydock-os/drydock/internal/manifest"
)

// Repository has the migrations, as they were when the update was prepared. Its answers are verified.
type Repository interface {
	Manifest() (*manifest.Manifest, error)
	Program(name string) ([]byte, error) // executable, unpacked
}

// Config holds what a migration needs. Fields are required unless they name a default.
type Config struct {
	Dir  string   // of the store: where its links are
	FS   store.FS // has the links; default: that of the operating system
	To   *semver.Version
	Open func() (Repository, error) // called only when there is something to do
	Log  *slog.Logger
}

// Run migrates the store. Without a store, and when it is of the version already, there is nothing to do. It returns
// manifest.ErrNoPath, the errors of the repository and those of package store.
func Run(ctx context.Context, cfg Config) error {
	if cfg.FS == nil {
		cfg.FS = store.DiskFS{}
	}
	v, dir, err := store.Locate(cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		cfg.Log.Info("no settings store yet, nothing to migrate")
		return nil
	}
	if err != nil || v.Equal(cfg.To) {
		return err
	}
	lock, err := store.Lock(cfg.Dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	back, err := store.GoBack(cfg.FS, cfg.Dir, cfg.To)
	switch {
	case err != nil:
		return fmt.Errorf("going back to the settings of version %s: %w", cfg.To, err)
	case back:
		cfg.Log.Info("settings of before are back", "from", v.String(), "to", cfg.To.String())
		return nil
	}
	if err := migrate(ctx, cfg, v, dir); err != nil {
		return fmt.Errorf("migrating settings from version %s to %s: %w", v, cfg.To, err)
	}
	cfg.Log.Info("settings migrated", "from", v.String(), "to", cfg.To.String())
	return nil
}

func migrate(ctx context.Context, cfg Config, from *semver.Version, source string) error {
	repository, err := cfg.Open()
	if err != nil {
		return err
	}
	m, err := repository.Manifest()
	if err != nil {
		return err
	}
	names, err := m.Path(from, cfg.To)
	if err != nil {
		return err
	}
	direction := "--forward"
	if cfg.To.LessThan(from) {
		direction = "--backward"
	}
	original := source
	made := "" // the latest copy
	defer func() {
		if made != "" {
			_ = os.RemoveAll(made) // an error is on its way already
		}
	}()
	for _, name := range names {
		program, err := repository.Program(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		target := filepath.Join(cfg.Dir, store.DataDirName(cfg.To))
		cfg.Log.Info("migration started", "name", name, "direction", strings.TrimPrefix(direction, "--"))
		err = run(ctx, name, program, direction, "--source-datastore", source, "--target-datastore", target)
		if made != "" {
			err = errors.Join(err, os.RemoveAll(made))
		}
		source, made = target, target
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if info, err := os.Stat(target); err != nil || !info.IsDir() {
			return fmt.Errorf("%s: it has written no store", name)
		}
	}
	if made == "" { // a copy, too, so that the old system finds its own settings when it comes back
		made = filepath.Join(cfg.Dir, store.DataDirName(cfg.To))
		if err := os.CopyFS(made, os.DirFS(original)); err != nil {
			return err
		}
	}
	if err := syncFilesystem(made); err != nil {
		return err
	}
	if err := store.Keep(cfg.FS, cfg.Dir, filepath.Base(original)); err != nil {
		return err
	}
	if err := store.Point(cfg.FS, cfg.Dir, cfg.To, filepath.Base(made)); err != nil {
		return err
	}
	made = ""
	return nil
}

// syncFilesystem makes all that programs have written durable.
func syncFilesystem(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}
