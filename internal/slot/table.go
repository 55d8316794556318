// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package slot

import (
	"fmt"

	"github.com/drydock-os/drydock/internal/gpt"
)

// Flags are the boot flags of one slot.
type Flags struct {
	Priority   uint8 // 0 to 15; the boot loader prefers the higher one and never starts 0
	Tries      uint8 // 0 to 15; boots left for a system that is not successful yet
	Successful bool  // the system has proved itself
}

// Bit positions in the attribute field.
const (
	priorityShift = 48
	triesShift    = 52
	successfulBit = 56
	everBootedBit = 57 // on the PRIVATE partition
)

// Attributes returns attributes with the flag bits replaced by f and all other bits kept.
func (f Flags) Attributes(attributes uint64) uint64 {
	const mask = 0xf<<priorityShift | 0xf<<triesShift | 1<<successfulBit
	bits := uint64(f.Priority&0xf)<<priorityShift | uint64(f.Tries&0xf)<<triesShift
	if f.Successful {
		bits |= 1 << successfulBit
	}
	return attributes&^mask | bits
}

// FlagsOf reads the flags from the attribute field of a boot partition.
func FlagsOf(attributes uint64) Flags {
	return Flags{
		Priority:   uint8(attributes >> priorityShift & 0xf),
		Tries:      uint8(attributes >> triesShift & 0xf),
		Successful: attributes>>successfulBit&1 == 1,
	}
}

// bootable is the rule of the boot loader.
func (f Flags) bootable() bool { return f.Priority > 0 && (f.Tries > 0 || f.Successful) }

// WillBoot is the rule of the original command-line tool, which also counts a successful slot of priority
// zero; see the package documentation.
func (f Flags) WillBoot() bool { return f.Priority > 0 && f.Tries > 0 || f.Successful }

// Table is the A/B state of one disk. Questions are answered from what was read last; every call that
// changes something reads the disk afresh first, so two processes that take turns (under the lock of
// gpt.OpenFile) do not undo each other's work. A Table is not safe for concurrent use.
type Table struct {
	disk gpt.Disk
	size int64
	view
}

// view is what one reading of the partition table says.
type view struct {
	gpt     *gpt.Table
	sets    []map[Part]gpt.Partition // one or two
	private *gpt.Partition           // nil if the disk has none
}

// Open reads the slots of the disk d, which is size bytes long. Slot A is made of the first boot, root
// and hash partition in table order, B of the second of each; names do not count. The error wraps
// ErrLayout when there is no complete set, or the error of gpt.Read.
func Open(d gpt.Disk, size int64) (*Table, error) {
	t := &Table{disk: d, size: size}
	return t, t.Reload()
}

// Reload reads the disk again.
func (t *Table) Reload() error {
	v, err := readView(t.disk, t.size)
	if err != nil {
		return err
	}
	t.view = v
	return nil
}

func readView(d gpt.Disk, size int64) (view, error) {
	g, err := gpt.Read(d, size)
	if err != nil {
		return view{}, err
	}
	v := view{gpt: g}
	types := map[gpt.GUID]Part{TypeBoot: Boot, TypeRoot: Root, TypeHash: Hash}
	found := map[Part][]gpt.Partition{}
	for _, p := range g.Partitions() {
		if part, ok := types[p.Type]; ok {
			found[part] = append(found[part], p)
		} else if p.Type == TypePrivate && v.private == nil {
			v.private = &p
		}
	}
	n := len(found[Boot])
	if n == 0 || len(found[Root]) != n || len(found[Hash]) != n {
		return view{}, fmt.Errorf("%w: %d boot, %d root and %d hash partitions", ErrLayout, n, len(found[Root]), len(found[Hash]))
	}
	for i := range min(n, 2) {
		v.sets = append(v.sets, map[Part]gpt.Partition{Boot: found[Boot][i], Root: found[Root][i], Hash: found[Hash][i]})
	}
	return v, nil
}

// Slots returns the slots that the disk has: A, or A and B.
func (t *Table) Slots() []Slot { return []Slot{A, B}[:len(t.sets)] }

// Flags returns the flags of slot s; the zero Flags if the disk does not have it.
func (t *Table) Flags(s Slot) Flags { return t.flags(s) }

func (v view) flags(s Slot) Flags { return FlagsOf(v.partition(s, Boot).Attributes) }

// Partition returns one partition of slot s; the zero Partition if the disk does not have it.
func (t *Table) Partition(s Slot, p Part) gpt.Partition { return t.partition(s, p) }

func (v view) partition(s Slot, p Part) gpt.Partition {
	if int(s) >= len(v.sets) {
		return gpt.Partition{}
	}
	return v.sets[s][p]
}

// FindBoot returns the slot whose boot partition has the given UUID. The error wraps ErrUnknownSlot.
func (t *Table) FindBoot(uuid gpt.GUID) (Slot, error) {
	for _, s := range t.Slots() {
		if t.partition(s, Boot).UUID == uuid {
			return s, nil
		}
	}
	return 0, fmt.Errorf("boot partition %v: %w", uuid, ErrUnknownSlot)
}

// HasEverSucceeded tells whether any system on this disk has been marked successful.
func (t *Table) HasEverSucceeded() bool {
	return t.private != nil && t.private.Attributes>>everBootedBit&1 == 1
}

// Fault returns what is wrong with the partition table on the disk although it can be used: one of its
// two copies is damaged or older. The next call that writes, or Rewrite, repairs that.
func (t *Table) Fault() error { return t.gpt.Fault() }
