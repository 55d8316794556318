// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package migrate

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/pierrec/lz4/v4"

	"github.com/drydock-os/drydock/internal/manifest"
	"github.com/drydock-os/drydock/internal/tuf"
)

// Where a host keeps what Run needs, below its root. An update that is prepared writes it.
const (
	MetadataDir = "/var/cache/bottlerocket-metadata"
	TargetsDir  = "/var/lib/bottlerocket-migrations"
)

// Limits in bytes of a migration as published and as it runs. It is held in memory, twice for a moment.
const (
	maxPacked  = 64 << 20
	maxProgram = 128 << 20
)

// ErrTooLarge means that a migration is more than a host wants to hold in memory.
var ErrTooLarge = errors.New("the migration is too large")

// OpenSaved returns the repository that was saved when the update was prepared. It verifies all of it, beginning with
// the root.json that the running image has. Errors are those of tuf.OpenSaved.
func OpenSaved(trustedRoot []byte, from tuf.Folders) (Repository, error) {
	s, err := tuf.OpenSaved(trustedRoot, from)
	if err != nil {
		return nil, fmt.Errorf("reading the repository saved in %s: %w", from.Metadata, err)
	}
	return saved{s}, nil
}

type saved struct{ *tuf.Saved }

func (s saved) Manifest() (*manifest.Manifest, error) {
	data, err := s.Read(manifest.TargetName, manifest.MaxSize)
	if err != nil {
		return nil, fmt.Errorf("reading saved %w", err)
	}
	return manifest.Parse(data)
}

func (s saved) Program(name string) ([]byte, error) {
	packed, err := s.Read(name, maxPacked)
	if err != nil {
		return nil, fmt.Errorf("reading saved %w", err)
	}
	program, err := io.ReadAll(io.LimitReader(lz4.NewReader(bytes.NewReader(packed)), maxProgram+1))
	if err != nil {
		return nil, fmt.Errorf("decompressing: %w", err)
	}
	if len(program) > maxProgram {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, maxProgram)
	}
	return program, nil
}
