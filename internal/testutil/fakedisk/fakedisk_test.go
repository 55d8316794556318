// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fakedisk

import (
	"bytes"
	"errors"
	"testing"
)

func fill(b byte, sectors int) []byte { return bytes.Repeat([]byte{b}, sectors*SectorSize) }

func read(t *testing.T, d *Disk, sectors int) string {
	t.Helper()
	p := make([]byte, sectors*SectorSize)
	if _, err := d.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	out := make([]byte, sectors)
	for i := range out {
		out[i] = p[i*SectorSize]
	}
	return string(out)
}

func TestUnsyncedWritesAreAtRisk(t *testing.T) {
	d := New(1 << 40)
	mustWrite(t, d, fill('0', 4), 0)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, d, fill('a', 2), 0)
	mustWrite(t, d, fill('b', 2), SectorSize)
	if got := read(t, d, 4); got != "abb0" {
		t.Errorf("before the cut a reader sees %q, want its own writes", got)
	}
	seen := map[string]bool{}
	for _, s := range d.Survivors() {
		seen[read(t, s, 4)] = true
	}
	for _, want := range []string{"0000", "a000", "aa00", "ab00", "abb0", "0b00", "0bb0", "00b0", "0a00", "aab0"} {
		if !seen[want] {
			t.Errorf("state %q is missing among the survivors", want)
		}
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, d.Crash(), 4); got != "abb0" {
		t.Errorf("after Sync and a crash the disk holds %q", got)
	}
}

func TestPowerStaysOff(t *testing.T) {
	d := New(1 << 20)
	d.CutPowerAfter(1)
	mustWrite(t, d, fill('a', 1), 0)
	if _, err := d.WriteAt(fill('b', 1), 0); !errors.Is(err, ErrPowerCut) {
		t.Errorf("second write: %v", err)
	}
	if err := d.Sync(); !errors.Is(err, ErrPowerCut) {
		t.Errorf("sync after the cut: %v", err)
	}
	if d.Writes() != 1 {
		t.Errorf("%d writes counted", d.Writes())
	}
}

func mustWrite(t *testing.T, d *Disk, p []byte, off int64) {
	t.Helper()
	if _, err := d.WriteAt(p, off); err != nil {
		t.Fatal(err)
	}
}
