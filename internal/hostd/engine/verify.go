// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/osimage"
	"github.com/drydock-os/drydock/internal/slot"
)

// errReadBack means that the disk does not return what was written to it.
var errReadBack = errors.New("the disk does not hold what was written to it")

// holds reports whether the idle slot holds this very update, by reading all of it.
func (e *Engine) holds(ctx context.Context, d gpt.Disk, t *slot.Table, chosen hostapi.Image, sources []source) bool {
	idle := e.cfg.System.Slot.Other()
	if f := t.Flags(idle); f.Tries == 0 || f.Priority != 0 || f.Successful {
		return false
	}
	s, err := e.loadStaged()
	if err != nil || s == nil || s.Image != chosen || s.Slot != idle.String() || len(s.Parts) != len(sources) {
		return false
	}
	for _, src := range sources {
		p := t.Partition(idle, src.part)
		if !slices.ContainsFunc(s.Parts, func(have stagedPart) bool {
			return have.Part == src.part.String() && have.UUID == p.UUID.String() && have.Target == src.target.Name &&
				have.TargetSHA256 == hex.EncodeToString(src.target.SHA256[:]) && have.Length <= p.Size()
		}) {
			return false
		}
	}
	return e.verify(ctx, d, t, s) == nil
}

// verify reads all of the idle slot, past the cache where the system allows, and checks that it holds what was written
// to it, and that its parts make one system, the one that was asked for.
//
// Boot image and hash tree are compared by digest. The root file system, nearly all of the bytes, is hashed once, block
// by block up to the root hash in the boot image, as the kernel will do: all three are signed, so this proves the same as
// one more digest would, and finds a tree that belongs to another system besides.
func (e *Engine) verify(ctx context.Context, d gpt.Disk, t *slot.Table, s *staged) error {
	idle := e.cfg.System.Slot.Other()
	var root int64
	for _, part := range []slot.Part{slot.Root, slot.Boot, slot.Hash} {
		i := slices.IndexFunc(s.Parts, func(p stagedPart) bool { return p.Part == part.String() })
		if i < 0 {
			return fmt.Errorf("no %v was written", part)
		}
		p := t.Partition(idle, part)
		e.cfg.Disk.Forget(p.Offset(), s.Parts[i].Length)
		if part == slot.Root {
			root = s.Parts[i].Length
		} else if err := readBack(d, p, s.Parts[i]); err != nil {
			return err
		}
	}
	sys, err := osimage.OpenSlot(d, t, idle)
	if err != nil {
		return blame(err)
	}
	if r := sys.Release(); r.Version != s.Image.Version || r.Variant != s.Image.Variant {
		return fmt.Errorf("the system says to be %s %s, published was %s %s", r.Variant, r.Version, s.Image.Variant, s.Image.Version)
	}
	if root != sys.RootSize() { // the rest would be vouched for by nobody
		return fmt.Errorf("the root file system has %d bytes, its hash tree covers %d", root, sys.RootSize())
	}
	return blame(sys.Verify(ctx))
}

// blame says what may be at fault when the parts do not fit together.
func blame(err error) error {
	if errors.Is(err, osimage.ErrCorrupt) {
		return fmt.Errorf("%w: %w, or the update was published with a hash tree of something else", err, errReadBack)
	}
	return err
}

// copyBuffer is the unit of reading and writing images, in bytes.
const copyBuffer = 256 << 10

// readBack compares what a partition holds with what was written to it.
func readBack(d gpt.Disk, p gpt.Partition, want stagedPart) error {
	digest := sha256.New()
	if _, err := io.CopyBuffer(digest, io.NewSectionReader(d, p.Offset(), want.Length), make([]byte, copyBuffer)); err != nil {
		return fmt.Errorf("reading back %s: %w", p.Name, err)
	}
	if sum, err := hex.DecodeString(want.SHA256); err != nil || !bytes.Equal(digest.Sum(nil), sum) {
		return fmt.Errorf("reading back %s: %w", p.Name, errReadBack)
	}
	return nil
}
