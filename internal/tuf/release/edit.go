// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package release

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/drydock-os/drydock/internal/manifest"
	"github.com/drydock-os/drydock/internal/tuf"
)

// Where says which repository is changed, with which keys, and which part of it. Fields are required unless they name
// a default.
type Where struct {
	Dir     string       // made by tuf.Init
	KeysDir string       // default: only Signers
	Signers []tuf.Signer // further keys
	Life    Life
	Variant string
	Arch    string
	Now     time.Time

	least         int64 // version of metadata
	timestampOnly bool
}

// Life is how long metadata is valid. Zero fields mean the defaults of tuf.RepositoryConfig.
type Life struct{ Targets, Snapshot, Timestamp time.Duration }

func (w Where) part() string { return path.Join(w.Variant, w.Arch) }

func (w Where) check() error {
	for _, name := range [][2]string{{"variant", w.Variant}, {"arch", w.Arch}} {
		if !namePattern.MatchString(name[1]) || name[1] == "targets" {
			return fmt.Errorf("publishing: %s %q: %w", name[0], name[1], ErrName)
		}
	}
	return nil
}

func (w Where) open() (*tuf.Repository, error) {
	return tuf.OpenRepository(tuf.RepositoryConfig{
		Dir: w.Dir, KeysDir: w.KeysDir, Signers: w.Signers, Now: w.Now,
		TargetsLife: w.Life.Targets, SnapshotLife: w.Life.Snapshot, TimestampLife: w.Life.Timestamp, LeastVersion: w.least, TimestampOnly: w.timestampOnly,
	})
}

// edit changes the manifest of a part and publishes it together with what change returns. Targets that the manifest
// no longer refers to are no longer listed.
func edit(ctx context.Context, w Where, change func(*manifest.Manifest) ([]tuf.Source, error)) (_ *tuf.Published, err error) {
	if err := w.check(); err != nil {
		return nil, err
	}
	repo, err := w.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, repo.Close()) }()
	m, err := load(repo, w.part())
	if err != nil {
		return nil, err
	}
	before := m.Targets()
	sources, err := change(m)
	if err != nil {
		return nil, fmt.Errorf("publishing: %w", err)
	}
	after := m.Targets()
	gone := slices.DeleteFunc(before, func(name string) bool { return slices.Contains(after, name) })
	data, err := m.JSON()
	if err != nil {
		return nil, fmt.Errorf("publishing: %w", err)
	}
	return repo.Publish(ctx, w.part(), append(sources, tuf.Source{Name: manifest.TargetName, Data: data}), gone...)
}

// Changed says what became of a change that publishes no image.
type Changed struct {
	Variant         string `json:"variant"`
	Arch            string `json:"arch"`
	MetadataVersion int64  `json:"metadata_version"`
}

func changed(w Where, p *tuf.Published, err error) (*Changed, error) {
	if err != nil {
		return nil, err
	}
	return &Changed{w.Variant, w.Arch, p.Version}, nil
}

// RemoveUpdate withdraws the offer of one version. Hosts that run it stay on it. Errors: manifest.ErrUnknown and those
// of tuf.OpenRepository.
func RemoveUpdate(ctx context.Context, w Where, version *semver.Version) (*Changed, error) {
	p, err := edit(ctx, w, func(m *manifest.Manifest) ([]tuf.Source, error) {
		_, err := m.Remove(w.Variant, w.Arch, version)
		return nil, err
	})
	return changed(w, p, err)
}

// SetWaves replaces the waves of one version; nil lets every host move at once. Errors: manifest.ErrUnknown, waves
// that do not rise, and those of tuf.OpenRepository.
func SetWaves(ctx context.Context, w Where, version *semver.Version, waves manifest.Waves) (*Changed, error) {
	p, err := edit(ctx, w, func(m *manifest.Manifest) ([]tuf.Source, error) {
		return nil, m.SetWaves(w.Variant, w.Arch, version, waves)
	})
	return changed(w, p, err)
}

// SetMaxVersion sets the greatest version that hosts may run; those above it are moved down. left says how many
// published versions they can still move to. Errors: manifest.ErrUnknown when nothing is published, and those of
// tuf.OpenRepository.
func SetMaxVersion(ctx context.Context, w Where, limit *semver.Version) (c *Changed, left int, err error) {
	p, err := edit(ctx, w, func(m *manifest.Manifest) (_ []tuf.Source, err error) {
		left, err = m.SetMaxVersion(w.Variant, w.Arch, limit)
		return nil, err
	})
	c, err = changed(w, p, err)
	return c, left, err
}

// ErrMigration means that a migration is neither published nor at hand.
var ErrMigration = errors.New("the migration is neither published nor in the folder")

// SetMigrations replaces the table of migrations. Programs that are not published yet are taken from folder by their
// names. Published versions that the table leads to from no other get a way without migrations, as Publish makes it.
// Errors: ErrMigration and those of tuf.OpenRepository.
func SetMigrations(ctx context.Context, w Where, list []manifest.Migration, folder string) (*Changed, error) {
	p, err := edit(ctx, w, func(m *manifest.Manifest) ([]tuf.Source, error) {
		published := m.Targets()
		m.Migrations = list
		var sources []tuf.Source
		for _, name := range m.Targets() {
			if slices.Contains(published, name) {
				continue
			}
			file := filepath.Join(folder, filepath.Base(name))
			if info, err := os.Stat(file); folder == "" || err != nil || !info.Mode().IsRegular() {
				return nil, fmt.Errorf("%s: %w", name, ErrMigration)
			}
			sources = append(sources, tuf.Source{Name: name, Path: file})
		}
		for _, u := range m.Updates {
			m.Connect(w.Variant, w.Arch, u.Version)
		}
		return sources, nil
	})
	return changed(w, p, err)
}

// Refresh signs all parts of a repository anew with new dates, and changes nothing else. With timestampOnly it does so
// for the timestamps, and needs no other key. Where names no part. It returns the parts.
func Refresh(ctx context.Context, w Where, timestampOnly bool) (parts []string, err error) {
	w.timestampOnly = timestampOnly
	repo, err := w.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, repo.Close()) }()
	if parts, err = repo.Parts(); err != nil {
		return nil, err
	}
	for _, part := range parts {
		if timestampOnly {
			err = repo.RefreshTimestamp(ctx, part)
		} else {
			_, err = repo.Publish(ctx, part, nil)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", part, err)
		}
	}
	return parts, nil
}
