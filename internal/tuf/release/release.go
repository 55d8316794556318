// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package release publishes a system image as an update: its targets and its entry in the manifest, signed, in the
// repository of its variant and architecture.
//
// Everything is checked before anything is written, and hosts see the update either not at all or complete.
package release

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/drydock-os/drydock/internal/manifest"
	"github.com/drydock-os/drydock/internal/osimage"
	"github.com/drydock-os/drydock/internal/slot"
	"github.com/drydock-os/drydock/internal/tuf"
)

var (
	// ErrImages means that the folder of images lacks a file of the release.
	ErrImages = errors.New("the image is not complete")

	// ErrName means that a variant or architecture cannot be part of a path.
	ErrName = errors.New("want letters, digits and . _ - between them")
)

// Config says what to publish and where. Fields are required unless they name a default.
type Config struct {
	Dir     string       // of the repository, made by tuf.Init
	KeysDir string       // default: only Signers
	Signers []tuf.Signer // further keys
	Life    Life

	Variant, Arch string
	Version       string // without v
	Images        string // folder with the targets, named by osimage.TargetName

	Waves      manifest.Waves  // default: every host may move at once
	MaxVersion *semver.Version // hosts above it are moved down; default: Version, unless it is greater already
	Now        time.Time
}

// Result says what was published.
type Result struct {
	Variant         string   `json:"variant"`
	Arch            string   `json:"arch"`
	Version         string   `json:"version"`
	MaxVersion      string   `json:"max_version"`
	RaisedFrom      string   `json:"raised_from,omitempty"` // the MaxVersion before, when that was less
	MetadataVersion int64    `json:"metadata_version"`
	Metadata        string   `json:"metadata"` // folder, below that of the repository
	Targets         []Target `json:"targets"`

	// Plain are the ways that were added without migrations: hosts that take them keep their settings as they are.
	Plain []Way `json:"ways_without_migrations"`
}

// Way leads from one version to a later one.
type Way struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Target is a published file.
type Target struct {
	Name   string `json:"name"`
	Length int64  `json:"length"`
	SHA256 string `json:"sha256"`
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$`)

// Publish adds the update to the repository. Errors: manifest.ErrVersion, manifest.ErrExists, manifest.ErrHeldBack, ErrImages, ErrName and
// those of tuf.OpenRepository; after any of them the repository is as it was.
func Publish(ctx context.Context, cfg Config) (*Result, error) {
	w := Where{
		Dir: cfg.Dir, KeysDir: cfg.KeysDir, Signers: cfg.Signers, Life: cfg.Life,
		Variant: cfg.Variant, Arch: cfg.Arch, Now: cfg.Now,
	}
	if err := w.check(); err != nil {
		return nil, err
	}
	version, err := manifest.ParseVersion(cfg.Version)
	if err != nil {
		return nil, fmt.Errorf("publishing: version %w", err)
	}
	update := manifest.Update{Variant: cfg.Variant, Arch: cfg.Arch, Version: version, Waves: cfg.Waves}
	var sources []tuf.Source
	for _, image := range []struct {
		part slot.Part
		name *string
	}{
		{slot.Root, &update.Images.Root}, {slot.Boot, &update.Images.Boot}, {slot.Hash, &update.Images.Hash},
	} {
		*image.name = osimage.TargetName(cfg.Variant, cfg.Arch, cfg.Version, image.part)
		file := filepath.Join(cfg.Images, *image.name)
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
			return nil, fmt.Errorf("publishing: %w: no file %s", ErrImages, file)
		}
		sources = append(sources, tuf.Source{Name: *image.name, Path: file})
	}

	var before, limit *semver.Version
	plain := []Way{}
	published, err := edit(ctx, w, func(m *manifest.Manifest) ([]tuf.Source, error) {
		before = m.MaxVersion(cfg.Variant, cfg.Arch)
		if err := m.Add(update, cfg.MaxVersion); err != nil {
			return nil, err
		}
		for _, g := range m.Connect(cfg.Variant, cfg.Arch, version) {
			plain = append(plain, Way{g.From.String(), g.To.String()})
		}
		limit = m.Find(cfg.Variant, cfg.Arch, version).MaxVersion
		return sources, nil
	})
	if err != nil {
		return nil, err
	}
	result := &Result{
		Variant: cfg.Variant, Arch: cfg.Arch, Version: version.String(), MaxVersion: limit.String(),
		MetadataVersion: published.Version, Metadata: w.part(), Plain: plain,
	}
	if before != nil && limit.GreaterThan(before) {
		result.RaisedFrom = before.String()
	}
	for _, t := range published.Targets {
		result.Targets = append(result.Targets, Target{t.Name, t.Length, fmt.Sprintf("%x", t.SHA256)})
	}
	return result, nil
}

// load reads the manifest that is published now; a part without one starts with an empty one.
func load(repo *tuf.Repository, part string) (*manifest.Manifest, error) {
	data, err := repo.ReadTarget(part, manifest.TargetName)
	if errors.Is(err, tuf.ErrAbsent) {
		return &manifest.Manifest{}, nil
	}
	if err != nil {
		return nil, err
	}
	return manifest.Parse(data)
}
