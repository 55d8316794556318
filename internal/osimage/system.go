// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package osimage

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/erofs/go-erofs"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/osimage/verity"
	"github.com/drydock-os/drydock/internal/slot"
)

// ErrCorrupt means that bytes of the root file system or of its hash tree are not those that the boot
// image vouches for.
var ErrCorrupt = verity.ErrCorrupt

// ErrNoSlot means that the disk does not have the slot that was asked for.
var ErrNoSlot = slot.ErrUnknownSlot

// System is the system image in one slot of a disk. It reads from the disk as long as it is used, so the
// disk must stay open. It is safe for concurrent use.
type System struct {
	boot    commandLine
	payload string
	root    *verity.Reader
	fs      fs.FS
	release Release
}

// OpenSlot reads the image in slot s of the disk d. Damage to the boot image is reported as ErrDamaged: the
// boot loader must not start such a slot. A root file system or tree that does not belong to the boot image
// is reported as ErrCorrupt, if it shows this early: Verify looks at every byte. A system without a
// usable os-release gives ErrRelease.
func OpenSlot(d gpt.Disk, t *slot.Table, s slot.Slot) (*System, error) {
	sys, err := openSlot(d, t, s)
	if err != nil {
		return nil, fmt.Errorf("opening slot %v: %w", s, err)
	}
	return sys, nil
}

func openSlot(d gpt.Disk, t *slot.Table, s slot.Slot) (*System, error) {
	section := func(p slot.Part) (*io.SectionReader, int64) {
		part := t.Partition(s, p)
		return io.NewSectionReader(d, part.Offset(), part.Size()), part.Size()
	}
	if t.Partition(s, slot.Boot).Number == 0 {
		return nil, ErrNoSlot
	}
	boot, bootSize := section(slot.Boot)
	payload, err := decodeBoot(boot, bootSize)
	if err != nil {
		return nil, err
	}
	sys := &System{payload: string(payload)}
	if sys.boot, err = parseCommandLine(payload); err != nil {
		return nil, err
	}
	root, rootSize := section(slot.Root)
	hash, hashSize := section(slot.Hash)
	sys.root, err = verity.Open(root, rootSize, hash, hashSize, sys.boot.rootHash)
	if errors.Is(err, verity.ErrSuperblock) {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil {
		return nil, err
	}
	if sys.root.Size() != sys.boot.rootSize {
		return nil, fmt.Errorf("%w: the tree covers %d bytes, the boot image says %d", ErrCorrupt, sys.root.Size(), sys.boot.rootSize)
	}
	if sys.fs, err = erofs.Open(sys.root); err != nil {
		return nil, fmt.Errorf("opening root file system: %w", err)
	}
	f, err := sys.fs.Open(releasePath)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRelease, err)
	}
	sys.release, err = ParseRelease(f)
	return sys, errors.Join(err, f.Close())
}

// FS returns the root file system. A read that meets damage fails with an error that wraps ErrCorrupt.
func (s *System) FS() fs.FS { return s.fs }

// Release returns what os-release in the image says.
func (s *System) Release() Release { return s.release }

// RootHash returns the root hash in the boot image, in lower-case hexadecimal.
func (s *System) RootHash() string { return hex.EncodeToString(s.boot.rootHash[:]) }

// RootSize returns the size of the root file system in bytes.
func (s *System) RootSize() int64 { return s.boot.rootSize }

// CommandLine returns the payload of the boot image: the kernel command line.
func (s *System) CommandLine() string { return s.payload }

// Verify reads the whole root file system and its tree and checks every block up to the root hash of the
// boot image. It returns an error that wraps ErrCorrupt on the first mismatch. Memory use does not depend
// on the size.
func (s *System) Verify(ctx context.Context) error {
	if err := s.root.Verify(ctx); err != nil {
		return fmt.Errorf("verifying root file system: %w", err)
	}
	return nil
}
