// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/pierrec/lz4/v4"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/manifest"
	"github.com/drydock-os/drydock/internal/slot"
	"github.com/drydock-os/drydock/internal/tuf"
)

// staged says what a prepare has written to the idle slot. It is durable before the slot is marked valid, so a valid
// slot always holds what it says.
type staged struct {
	Slot  string        `json:"slot"`
	Image hostapi.Image `json:"image"`
	Parts []stagedPart  `json:"parts"`
}

type stagedPart struct {
	Part         string `json:"part"`
	UUID         string `json:"uuid"` // of the partition
	Target       string `json:"target"`
	TargetSHA256 string `json:"target_sha256"` // as signed
	Length       int64  `json:"length"`        // in the partition

	// SHA256 is that of the bytes in the partition. The root file system has none: its hash tree covers every byte.
	SHA256 string `json:"sha256,omitempty"`
}

// source is one part of an update, as it was signed.
type source struct {
	part   slot.Part
	target tuf.Target
}

// loadStaged returns nil when nothing is known about the idle slot.
func (e *Engine) loadStaged() (*staged, error) {
	s := &staged{}
	if found, err := readJSON(e.path(stagedPath), s); err != nil || !found {
		return nil, err
	}
	return s, nil
}

// prepare writes the chosen update to the idle slot. On failure that slot cannot boot; the running one is never
// touched.
func (e *Engine) prepare(ctx context.Context, chosen hostapi.Image, change ...func(*manifest.Host)) error {
	if err := e.cfg.Disk.View(e.checkActive); err != nil {
		return err
	}
	blocked, err := e.blocked()
	if err != nil {
		return err
	}
	if err := blocked.check(chosen); err != nil {
		return err
	}
	o, err := e.consult(ctx, change...)
	if err != nil {
		return err
	}
	defer o.close()
	o.client.SetQuery("target", chosen.Version)
	u, err := o.find(chosen)
	if err != nil {
		return err
	}
	// The order of writing is that of the original: root, boot, hash.
	var sources []source
	for _, s := range []struct {
		part slot.Part
		name string
	}{{slot.Root, u.Images.Root}, {slot.Boot, u.Images.Boot}, {slot.Hash, u.Images.Hash}} {
		target, err := o.client.Lookup(s.name)
		if err != nil {
			return fmt.Errorf("update %s: %w", chosen.Version, err)
		}
		sources = append(sources, source{s.part, target})
	}
	if err := e.saveMigrations(ctx, o, chosen); err != nil {
		return err
	}
	return e.cfg.Disk.Change(func(d *gpt.File, t *slot.Table) error {
		if e.holds(ctx, d, t, chosen, sources) {
			e.cfg.Log.Info("slot holds the update already", "slot", e.cfg.System.Slot.Other().String(), "version", chosen.Version)
			return nil
		}
		return e.write(ctx, d, t, o.client, chosen, sources)
	})
}

// checkActive refuses to give up the idle slot while the running one might still have to fall back to it.
func (e *Engine) checkActive(_ *gpt.File, t *slot.Table) error {
	active := e.cfg.System.Slot
	if len(t.Slots()) < 2 {
		return slot.ErrSingleSet
	}
	if !t.Flags(active).Successful {
		return fmt.Errorf("slot %v must stay as it is until the boot of slot %v counts as successful: %w",
			active.Other(), active, slot.ErrActiveNotGood)
	}
	return nil
}

// write fills the idle slot. From clearing on, nothing in it can boot until all of it was verified.
func (e *Engine) write(ctx context.Context, d gpt.Disk, t *slot.Table, from *tuf.Client, chosen hostapi.Image, sources []source) error {
	active := e.cfg.System.Slot
	idle := active.Other()
	if err := removeFile(e.path(stagedPath)); err != nil {
		return fmt.Errorf("forgetting the staged image: %w", err)
	}
	if err := t.ClearInactive(active); err != nil {
		return err
	}
	s := &staged{Slot: idle.String(), Image: chosen}
	for _, src := range sources {
		p := t.Partition(idle, src.part)
		written, err := e.writePart(ctx, d, p, from, src)
		if err != nil {
			return err
		}
		s.Parts = append(s.Parts, written)
	}
	if err := e.verify(ctx, d, t, s); err != nil {
		return fmt.Errorf("checking what was written: %w", err)
	}
	if err := writeJSON(e.path(stagedPath), s); err != nil {
		return fmt.Errorf("remembering the staged image: %w", err)
	}
	return t.MarkInactiveValid(active)
}

// writePart streams one target into its partition: download, verify, decompress, write, sync.
func (e *Engine) writePart(ctx context.Context, d gpt.Disk, p gpt.Partition, from *tuf.Client, src source) (stagedPart, error) {
	part := stagedPart{
		Part: src.part.String(), UUID: p.UUID.String(),
		Target: src.target.Name, TargetSHA256: hex.EncodeToString(src.target.SHA256[:]),
	}
	ctx, cancel := context.WithCancel(ctx)
	r, info, err := from.Open(ctx, src.target.Name)
	if err != nil {
		cancel()
		return part, fmt.Errorf("downloading %w", err)
	}
	defer r.Close()
	e.progress.target(src.target.Name, info.Length)
	signed := readAhead(&paced{Reader: r, ctx: ctx, rate: e.rate.Load(), passed: e.progress.add})
	defer signed.Close()
	frame := lz4.NewReader(signed)
	if err := frame.Apply(lz4.ConcurrencyOption(1)); err != nil { // more would only buy memory
		cancel()
		return part, fmt.Errorf("decompressing %s: %w", src.target.Name, err)
	}
	plain := readAhead(frame)
	defer plain.Close()
	defer cancel() // first of all, so that whoever waits for the network stops
	w := &partitionWriter{disk: d, part: p, started: e.cfg.Disk.StartWriting}
	if src.part != slot.Root {
		w.digest = sha256.New()
	}
	unpackErr := w.fill(plain)
	if w.err != nil {
		return part, fmt.Errorf("writing %s: %w", src.target.Name, w.err)
	}
	// The digest covers the whole target and speaks at its end, beyond what the decompressor reads. It also has the
	// first word when decompression failed: then most likely the bytes are not those that were signed.
	if _, err := io.Copy(io.Discard, signed); err != nil {
		return part, fmt.Errorf("downloading %w", err)
	}
	if unpackErr != nil {
		return part, fmt.Errorf("decompressing %s: %w", src.target.Name, unpackErr)
	}
	if err := d.Sync(); err != nil {
		return part, fmt.Errorf("writing %s: %w", src.target.Name, err)
	}
	part.Length = w.n
	if w.digest != nil {
		part.SHA256 = hex.EncodeToString(w.digest.Sum(nil))
	}
	return part, nil
}

// partitionWriter writes to a partition from its start and never beyond its end.
type partitionWriter struct {
	disk   gpt.Disk
	part   gpt.Partition
	digest hash.Hash // of what was written; nil: not needed
	n      int64
	err    error // of writing, as opposed to reading what is to be written

	started func(offset, length int64) // has the system begin with writing; nil: not needed
	begun   int64                      // up to where that was done
}

// startEvery is after how many bytes the system is asked to begin with writing, so that the final sync finds little
// left to do.
const startEvery = 16 << 20

// fill writes everything that comes.
func (w *partitionWriter) fill(from *ahead) error {
	for {
		p, err := from.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
		if w.started != nil && w.n-w.begun >= startEvery {
			w.started(w.part.Offset()+w.begun, w.n-w.begun)
			w.begun = w.n
		}
	}
}

func (w *partitionWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > w.part.Size()-w.n {
		w.err = fmt.Errorf("the image is larger than its partition %s of %d bytes", w.part.Name, w.part.Size())
		return 0, w.err
	}
	n, err := w.disk.WriteAt(p, w.part.Offset()+w.n)
	w.n += int64(n)
	if w.digest != nil {
		w.digest.Write(p[:n])
	}
	if err != nil {
		w.err = err
	}
	return n, err
}
