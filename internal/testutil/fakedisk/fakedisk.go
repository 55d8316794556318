// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package fakedisk is a disk in memory that loses power on request, for tests.
//
// Like a real disk it answers reads from its cache, and promises nothing about a write until Sync
// returned: when the power goes, any of the writes since the last Sync may have reached the platter, in
// any order, and each may be torn between two 512-byte sectors. Survivors lists what a reader may find
// afterwards; CutPowerAfter makes the disk fail in the middle of a call. Only sectors that were written
// take memory, so a fake disk may be large.
package fakedisk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"
)

// SectorSize is the largest piece in bytes that is written whole or not at all.
const SectorSize = 512

// ErrPowerCut is what every call returns after the power went.
var ErrPowerCut = errors.New("power cut")

type sector [SectorSize]byte

// write is one call of WriteAt, without the sectors that it leaves as they are whether or not they
// survive: they would only make Survivors list the same state again and again.
type write []change

type change struct {
	at   int64 // number of the sector
	data sector
}

// Disk is a disk in memory. It is safe for concurrent use.
type Disk struct {
	mu      sync.Mutex
	size    int64
	platter map[int64]sector // what survives
	pending []write          // since the last Sync
	cache   map[int64]sector // what reads see
	writes  int
	cutAt   int // fail the write with this number; negative: never
	off     bool
	watch   func()
}

// New returns a disk of size bytes (rounded down to whole sectors), all zero.
func New(size int64) *Disk {
	return &Disk{size: size / SectorSize * SectorSize, platter: map[int64]sector{}, cache: map[int64]sector{}, cutAt: -1}
}

// Size returns the size of the disk in bytes.
func (d *Disk) Size() int64 { return d.size }

// Writes returns how many calls of WriteAt have succeeded.
func (d *Disk) Writes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.writes
}

// CutPowerAfter lets n more writes succeed; the next one, and every call after it, fails with ErrPowerCut.
func (d *Disk) CutPowerAfter(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cutAt = d.writes + n
}

// Watch has f called after every write and every sync. Within f the disk may be read and Survivors be
// ranged over.
func (d *Disk) Watch(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watch = f
}

// ReadAt implements io.ReaderAt; it sees all writes, synced or not.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return 0, ErrPowerCut
	}
	if off < 0 || off > d.size {
		return 0, fmt.Errorf("reading at %d of a disk of %d bytes", off, d.size)
	}
	n := 0
	for n < len(p) && off+int64(n) < d.size {
		at := off + int64(n)
		s := d.cache[at/SectorSize]
		n += copy(p[n:], s[at%SectorSize:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements io.WriterAt. What it writes is at risk until Sync.
func (d *Disk) WriteAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	if d.off || d.cutAt == d.writes {
		d.off = true
		d.mu.Unlock()
		return 0, ErrPowerCut
	}
	if off < 0 || off+int64(len(p)) > d.size {
		d.mu.Unlock()
		return 0, fmt.Errorf("writing %d bytes at %d of a disk of %d bytes", len(p), off, d.size)
	}
	var w write
	for at := off; at < off+int64(len(p)); {
		n := at / SectorSize
		s := d.cache[n] // a write of part of a sector keeps the rest
		at += int64(copy(s[at%SectorSize:], p[at-off:]))
		if s != d.platter[n] || d.isPending(n) {
			w = append(w, change{n, s})
		}
	}
	d.writes++
	d.pending = append(d.pending, w)
	w.applyTo(d.cache)
	watch := d.watch
	d.mu.Unlock()
	if watch != nil {
		watch()
	}
	return len(p), nil
}

func (d *Disk) isPending(n int64) bool {
	return slices.ContainsFunc(d.pending, func(w write) bool {
		return slices.ContainsFunc(w, func(c change) bool { return c.at == n })
	})
}

// Sync makes all writes so far survive.
func (d *Disk) Sync() error {
	d.mu.Lock()
	if d.off {
		d.mu.Unlock()
		return ErrPowerCut
	}
	d.pending, d.platter = nil, maps.Clone(d.cache)
	watch := d.watch
	d.mu.Unlock()
	if watch != nil {
		watch()
	}
	return nil
}

// Crash returns the disk as it is after the power went now and nothing unsynced survived.
func (d *Disk) Crash() *Disk { return d.after() }

// Survivors returns the states in which a reader may find the disk if the power goes now, each with a
// description: nothing unsynced survived; all of it did; the first writes did, the last of them torn
// after each sector; a single write did, torn likewise; or one single sector did.
func (d *Disk) Survivors() iter.Seq2[string, *Disk] {
	d.mu.Lock()
	pending := d.pending
	d.mu.Unlock()
	return func(yield func(string, *Disk) bool) {
		if !yield("nothing unsynced", d.after()) {
			return
		}
		for i, w := range pending {
			for n := range w {
				states := map[string]*Disk{
					fmt.Sprintf("writes before %d, and changed sectors of it up to %d", i, n): d.after(append(pending[:i:i], w[:n+1])...),
					fmt.Sprintf("only changed sectors of write %d up to %d", i, n):            d.after(w[:n+1]),
					fmt.Sprintf("only changed sector %d of write %d", n, i):                   d.after(w[n : n+1]),
					fmt.Sprintf("all but changed sector %d of write %d", n, i):                d.after(without(pending, i, n)...),
				}
				for name, state := range states {
					if !yield(name, state) {
						return
					}
				}
			}
		}
	}
}

// without returns the writes with one sector of one write left out.
func without(writes []write, i, n int) []write {
	rest := append(writes[i][:n:n], writes[i][n+1:]...)
	return append(append(writes[:i:i], rest), writes[i+1:]...)
}

// after returns a new disk that holds the platter and the given writes.
func (d *Disk) after(writes ...write) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := New(d.size)
	maps.Copy(n.platter, d.platter)
	for _, w := range writes {
		w.applyTo(n.platter)
	}
	n.cache = maps.Clone(n.platter)
	return n
}

func (w write) applyTo(m map[int64]sector) {
	for _, c := range w {
		m[c.at] = c.data
	}
}

// Equal tells whether a reader of either disk sees the same bytes.
func (d *Disk) Equal(o *Disk) bool {
	a, b := d.after(d.pending...), o.after(o.pending...)
	if a.size != b.size {
		return false
	}
	for _, m := range []map[int64]sector{a.cache, b.cache} {
		for at := range m {
			x, y := a.cache[at], b.cache[at]
			if !bytes.Equal(x[:], y[:]) {
				return false
			}
		}
	}
	return true
}
