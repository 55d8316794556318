// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package gpt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drydock-os/drydock/internal/testutil/fakedisk"
)

const mib = 1 << 20

func guid(n byte) GUID { return GUID{n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} }

func twoParts() []NewPartition {
	return []NewPartition{
		{Type: guid(1), UUID: guid(2), Name: "BOOT-A", Offset: mib, Size: mib, Attributes: 1 << 48},
		{Type: guid(1), UUID: guid(3), Name: "BOOT-B", Offset: 4 * mib, Size: 2 * mib},
	}
}

func newDisk(t *testing.T, opts ...Option) (*fakedisk.Disk, *Table) {
	t.Helper()
	d := fakedisk.New(8 * mib)
	table, err := Create(d, d.Size(), twoParts(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return d, table
}

func mustRead(t *testing.T, d *fakedisk.Disk) *Table {
	t.Helper()
	table, err := Read(d, d.Size())
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func overwrite(t *testing.T, d *fakedisk.Disk, off int64, b ...byte) {
	t.Helper()
	if _, err := d.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
}

func TestCreateThenRead(t *testing.T) {
	for _, sectorSize := range []int64{512, 4096} {
		t.Run(fmt.Sprint(sectorSize), func(t *testing.T) {
			d, created := newDisk(t, WithSectorSize(sectorSize), WithDiskGUID(guid(9)))
			table := mustRead(t, d)
			want := []Partition{
				{Number: 1, Type: guid(1), UUID: guid(2), Name: "BOOT-A", FirstLBA: uint64(mib / sectorSize), LastLBA: uint64(2*mib/sectorSize) - 1, Attributes: 1 << 48, SectorSize: sectorSize},
				{Number: 2, Type: guid(1), UUID: guid(3), Name: "BOOT-B", FirstLBA: uint64(4 * mib / sectorSize), LastLBA: uint64(6*mib/sectorSize) - 1, SectorSize: sectorSize},
			}
			if diff := cmp.Diff(want, table.Partitions()); diff != "" {
				t.Error(diff)
			}
			if p := table.Partitions()[1]; p.Offset() != 4*mib || p.Size() != 2*mib {
				t.Errorf("second partition at %d with %d bytes", p.Offset(), p.Size())
			}
			if table.Disk() != guid(9) || created.Disk() != guid(9) || table.SectorSize() != sectorSize || table.Fault() != nil {
				t.Errorf("disk %v, sector size %d, fault %v", table.Disk(), table.SectorSize(), table.Fault())
			}
		})
	}
}

func TestCreateRefuses(t *testing.T) {
	one := func(edit func(*NewPartition)) []NewPartition {
		p := twoParts()
		edit(&p[1])
		return p
	}
	tests := map[string]struct {
		parts []NewPartition
		size  int64
		opts  []Option
		want  string
	}{
		"overlap":           {one(func(p *NewPartition) { p.Offset = mib + 512 }), 8 * mib, nil, "overlap"},
		"beyond the end":    {one(func(p *NewPartition) { p.Size = 4 * mib }), 8 * mib, nil, "not within"},
		"on the table":      {one(func(p *NewPartition) { p.Offset, p.Size = 512, 512 }), 8 * mib, nil, "not within"},
		"wraps around":      {one(func(p *NewPartition) { p.Size = 1<<63 - 512 }), 8 * mib, nil, "make no sense"},
		"empty":             {one(func(p *NewPartition) { p.Size = 0 }), 8 * mib, nil, "make no sense"},
		"unaligned":         {one(func(p *NewPartition) { p.Offset++ }), 8 * mib, nil, "multiples"},
		"same UUID":         {one(func(p *NewPartition) { p.UUID = guid(2) }), 8 * mib, nil, "earlier"},
		"no UUID":           {one(func(p *NewPartition) { p.UUID = GUID{} }), 8 * mib, nil, "no UUID"},
		"long name":         {one(func(p *NewPartition) { p.Name = strings.Repeat("😀", 19) }), 8 * mib, nil, "longer"},
		"small disk":        {nil, 67 * 512, nil, "too small"},
		"no disk":           {nil, -1, nil, "too small"},
		"odd sector size":   {nil, 8 * mib, []Option{WithSectorSize(520)}, "neither"},
		"too many for tool": {make([]NewPartition, 129), 8 * mib, nil, "do not fit"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := fakedisk.New(8 * mib)
			_, err := Create(d, test.size, test.parts, test.opts...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			if d.Writes() != 0 {
				t.Error("something was written all the same")
			}
		})
	}
}

// Whatever single byte of one copy is damaged, the table is read from the other, and writing repairs it.
func TestDamagedCopyIsReadAroundAndRepaired(t *testing.T) {
	pristine, _ := newDisk(t)
	last := pristine.Size() - 512
	for name, at := range map[string]int64{
		"primary signature": 512, "primary revision": 512 + 10, "primary checksum": 512 + 16, "primary alternate": 512 + 32,
		"primary entry": 1024 + 60, "primary unused entry": 1024 + 100*128,
		"backup signature": last, "backup header": last + 50, "backup entry": last - 32*512 + 3,
	} {
		t.Run(name, func(t *testing.T) {
			d, _ := newDisk(t)
			overwrite(t, d, at, 0x5a)
			table := mustRead(t, d)
			if want := strings.HasPrefix(name, "primary"); table.Recovered != want {
				t.Errorf("Recovered = %v, want %v", table.Recovered, want)
			}
			if table.Fault() == nil {
				t.Error("the damage went unnoticed")
			}
			if err := table.Write(d); err != nil {
				t.Fatal(err)
			}
			if !d.Equal(pristine) {
				t.Error("after Write the disk differs from the undamaged one")
			}
			if again := mustRead(t, d); again.Recovered || again.Fault() != nil {
				t.Errorf("still at fault after the repair: %v", again.Fault())
			}
		})
	}
}

func TestNoTableAndHopelessTable(t *testing.T) {
	if _, err := Read(fakedisk.New(mib), mib); !errors.Is(err, ErrNoTable) {
		t.Errorf("blank disk: %v", err)
	}
	if _, err := Read(fakedisk.New(0), 0); !errors.Is(err, ErrNoTable) {
		t.Errorf("no disk: %v", err)
	}
	d, _ := newDisk(t)
	overwrite(t, d, 512+20, 1)
	overwrite(t, d, d.Size()-512+20, 1)
	if _, err := Read(d, d.Size()); !errors.Is(err, ErrDamaged) {
		t.Errorf("both headers damaged: %v", err)
	}
	d, _ = newDisk(t)
	if _, err := Read(d, d.Size()/2); !errors.Is(err, ErrDamaged) {
		t.Errorf("disk cut in half: %v", err)
	}
}

// A header with a right checksum can still be nonsense. Each of these must be refused without a panic,
// even though both copies agree.
func TestImpossibleHeadersAreRefused(t *testing.T) {
	tests := map[string]struct {
		offset int // in the header
		bytes  int
		value  uint64
	}{
		"entries of no size":       {84, 4, 0},
		"entries of odd size":      {84, 4, 129},
		"entries of huge size":     {84, 4, 1 << 31},
		"no entries":               {80, 4, 0},
		"two billion entries":      {80, 4, 1 << 31},
		"more entries than room":   {80, 4, 1024},
		"first usable in table":    {40, 8, 3},
		"first usable after last":  {40, 8, 16000},
		"last usable wraps":        {48, 8, 1<<64 - 1},
		"last usable on backup":    {48, 8, 8*mib/512 - 2},
		"entries wrap":             {72, 8, 1<<64 - 16},
		"entries on the header":    {72, 8, 1},
		"entries in a partition":   {72, 8, mib / 512},
		"alternate beyond the end": {32, 8, 8 * mib / 512},
		"alternate is itself":      {32, 8, 1},
		"header larger than it is": {12, 4, 513},
		"header too small":         {12, 4, 91},
		"version 2":                {8, 4, 0x20000},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d, _ := newDisk(t)
			overwrite(t, d, d.Size()-512, make([]byte, 512)...) // leave only the primary
			b := make([]byte, 512)
			if _, err := d.ReadAt(b, 512); err != nil {
				t.Fatal(err)
			}
			value := binary.LittleEndian.AppendUint64(nil, test.value)
			copy(b[test.offset:test.offset+test.bytes], value)
			size := min(binary.LittleEndian.Uint32(b[12:]), 512)
			binary.LittleEndian.PutUint32(b[16:], headerCRC(b, max(size, 20)))
			overwrite(t, d, 512, b...)
			if table, err := Read(d, d.Size()); !errors.Is(err, ErrDamaged) {
				t.Errorf("read %v, error %v", table, err)
			}
		})
	}
}

func TestOverlappingPartitionsAreRefused(t *testing.T) {
	d, table := newDisk(t)
	binary.LittleEndian.PutUint64(table.entries[128+32:], mib/512+5) // the second begins inside the first
	if err := table.Write(d); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(d, d.Size()); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "overlap") {
		t.Errorf("error %v", err)
	}
}

// What we do not understand must come back bit for bit: entries longer than 128 bytes, bytes in unused
// entries, attributes, names that are no text, header bytes, boot code.
func TestUnknownBytesAreKept(t *testing.T) {
	d, table := newDisk(t)
	boot := bytes.Repeat([]byte{0xeb}, 440)
	overwrite(t, d, 0, boot...)
	table.header.entrySize, table.header.count = 256, 64
	binary.LittleEndian.PutUint32(table.header.raw[80:], 64)
	binary.LittleEndian.PutUint32(table.header.raw[84:], 256)
	table.header.raw[12], table.header.size = 96, 96
	table.header.raw[93] = 0x77
	wide := make([]byte, 64*256)
	copy(wide, table.entries[:128])
	copy(wide[3*256:], table.entries[128:256]) // a gap of two unused entries
	for i := 128; i < 256; i++ {
		wide[i] = byte(i) // the unknown part of entry 1
	}
	wide[256+40] = 0x99                      // an unused entry that is not all zero
	wide[3*256+56], wide[3*256+57] = 0, 0xd8 // half a surrogate pair
	table.entries = wide
	if err := table.Write(d); err != nil {
		t.Fatal(err)
	}
	before := d.Crash()

	again := mustRead(t, d)
	if p := again.Partitions(); len(p) != 2 || p[1].Number != 4 {
		t.Fatalf("partitions %v, want numbers 1 and 4", p)
	}
	if err := again.Write(d); err != nil {
		t.Fatal(err)
	}
	if !d.Equal(before) {
		t.Error("writing back what was read changed the disk")
	}
	if err := again.SetAttributes(4, 0xdead<<48|5); err != nil {
		t.Fatal(err)
	}
	if err := again.Write(d); err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(wide)
	binary.LittleEndian.PutUint64(want[3*256+48:], 0xdead<<48|5)
	if !bytes.Equal(mustRead(t, d).entries, want) {
		t.Error("more than the attributes changed")
	}
}

func TestSetAttributesNeedsAPartition(t *testing.T) {
	_, table := newDisk(t)
	for _, n := range []int{-1, 0, 3, 128, 129, 1 << 40} {
		if err := table.SetAttributes(n, 1); err == nil {
			t.Errorf("partition %d does not exist", n)
		}
	}
}

// Cut the power anywhere in Write, on whole disks and on disks with one damaged copy: the old or the new
// table must be there, whole, and must be the same for everybody who reads it later.
func TestPowerCutLeavesOldOrNewTable(t *testing.T) {
	damage := map[string]func(*fakedisk.Disk){
		"whole disk":      func(*fakedisk.Disk) {},
		"damaged primary": func(d *fakedisk.Disk) { overwrite(t, d, 512, 0) },
		"damaged backup":  func(d *fakedisk.Disk) { overwrite(t, d, d.Size()-512, 0) },
	}
	for name, harm := range damage {
		t.Run(name, func(t *testing.T) {
			d, _ := newDisk(t)
			harm(d)
			table := mustRead(t, d)
			if err := table.SetAttributes(2, 7<<52); err != nil {
				t.Fatal(err)
			}
			states := 0
			d.Watch(func() {
				for state, s := range d.Survivors() {
					states++
					got, err := Read(s, s.Size())
					if err != nil {
						t.Errorf("%s: %v", state, err)
						continue
					}
					if a := got.Partitions()[1].Attributes; a != 0 && a != 7<<52 {
						t.Errorf("%s: attributes %#x are neither old nor new", state, a)
					}
				}
			})
			if err := table.Write(d); err != nil {
				t.Fatal(err)
			}
			if states < 15 {
				t.Errorf("only %d states tried", states)
			}
		})
	}
}

func TestWriteReportsThePowerCut(t *testing.T) {
	d, table := newDisk(t)
	for n := range 4 {
		c := d.Crash()
		c.CutPowerAfter(n)
		if err := table.Write(c); !errors.Is(err, fakedisk.ErrPowerCut) {
			t.Errorf("cut after %d writes: %v", n, err)
		}
	}
}

func TestOpenFileLocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, make([]byte, 8*mib), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(path, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(f, f.Size(), twoParts()); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFile(path, true); !errors.Is(err, ErrInUse) {
		t.Errorf("second writer: %v", err)
	}
	r, err := OpenFile(path, false)
	if err != nil {
		t.Fatalf("a reader must not be kept out: %v", err)
	}
	if _, err := Read(r, r.Size()); err != nil {
		t.Error(err)
	}
	if _, err := f.WriteAt([]byte{1}, f.Size()); err == nil {
		t.Error("a write beyond the end made the image grow")
	}
	for _, c := range []io.Closer{r, f} {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	f, err = OpenFile(path, true)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{filepath.Join(t.TempDir(), "missing"), t.TempDir(), os.DevNull} {
		if _, err := OpenFile(bad, false); err == nil {
			t.Errorf("%s was taken for a disk", bad)
		}
	}
}

func TestGUIDText(t *testing.T) {
	const text = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
	g, err := ParseGUID(strings.ToUpper(text))
	if err != nil || g.String() != text {
		t.Errorf("%v, %v", g, err)
	}
	if s := g.swapped(); !bytes.HasPrefix(s[:], []byte{0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba}) {
		t.Errorf("disk order is %x", s)
	}
	for _, bad := range []string{"", text[1:], text + "0", strings.ReplaceAll(text, "-", "x"), "g" + text[1:], "c12a7328-f81f-11d2-ba4b-00a0-93ec93b"} {
		if g, err := ParseGUID(bad); err == nil {
			t.Errorf("%q was read as %v", bad, g)
		}
	}
}

func TestSgdiskAgrees(t *testing.T) {
	sgdisk, err := exec.LookPath("sgdisk")
	if err != nil {
		t.Skip("sgdisk is not installed: nobody else to compare with")
	}
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, make([]byte, 8*mib), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(path, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(f, f.Size(), twoParts()); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(sgdisk, "-v", "-i", "1", path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "No problems found") || !strings.Contains(string(out), "BOOT-A") {
		t.Errorf("sgdisk says (%v):\n%s", err, out)
	}
}

// memory is the fastest disk, for fuzzing.
type memory []byte

func (m memory) ReadAt(p []byte, off int64) (int, error)  { return copy(p, m[off:]), nil }
func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }
func (m memory) Sync() error                              { return nil }

// FuzzRead holds any bytes that are a table to: reading, writing back and reading again is stable, and
// nothing panics. The input replaces the first sectors; checksums are made right, so that the fuzzer gets
// past them.
func FuzzRead(f *testing.F) {
	const size = 128 << 10
	d := make(memory, size)
	if _, err := Create(d, size, []NewPartition{{Type: guid(1), UUID: guid(2), Name: "x", Offset: 64 * 512, Size: 512}}); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(d[:3*512]))
	f.Add([]byte(d[:512]))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := make(memory, size)
		copy(d, data)
		h := d[512:1024]
		le := binary.LittleEndian
		if n, at := uint64(le.Uint32(h[80:]))*uint64(le.Uint32(h[84:])), le.Uint64(h[72:]); at < size/512 && n < size && at*512+n <= size {
			le.PutUint32(h[88:], crc32.ChecksumIEEE(d[at*512:][:n]))
		}
		if covered := le.Uint32(h[12:]); covered >= 20 && covered <= 512 {
			le.PutUint32(h[16:], headerCRC(h, covered))
		}
		table, err := Read(d, size)
		if err != nil {
			return
		}
		for _, p := range table.Partitions() {
			if p.Offset() < 0 || p.Size() <= 0 || p.Offset()+p.Size() > size {
				t.Fatalf("partition outside the disk: %+v", p)
			}
		}
		if err := table.Write(d); err != nil {
			t.Fatalf("writing back: %v", err)
		}
		again, err := Read(d, size)
		if err != nil {
			t.Fatalf("reading back: %v", err)
		}
		if again.Recovered || again.Fault() != nil || !bytes.Equal(again.entries, table.entries) {
			t.Fatalf("not stable: fault %v", again.Fault())
		}
	})
}
