// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package gpt

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
)

// NewPartition describes a partition for Create. Offset and Size are in bytes and must be multiples of
// the sector size; UUID must be set and unique.
type NewPartition struct {
	Type, UUID GUID
	Name       string
	Offset     int64
	Size       int64
	Attributes uint64
}

type options struct {
	sectorSize int64
	disk       GUID
}

// Option changes what Create makes.
type Option func(*options)

// WithSectorSize sets the logical sector size, 512 (the default) or 4096 bytes. It must be that of the
// device, else nobody else finds the table.
func WithSectorSize(bytes int64) Option { return func(o *options) { o.sectorSize = bytes } }

// WithDiskGUID sets the identifier of the disk. The default is derived from those of the partitions.
func WithDiskGUID(g GUID) Option { return func(o *options) { o.disk = g } }

// Create writes a new partition table with a protective MBR to d, which is size bytes long, and returns
// it. Everything in the first sector, boot code included, is replaced; bytes inside partitions are not
// touched. Nothing is written when the partitions do not fit or overlap.
func Create(d Disk, size int64, parts []NewPartition, opts ...Option) (*Table, error) {
	o := options{sectorSize: 512}
	for _, opt := range opts {
		opt(&o)
	}
	t, err := newTable(size, parts, o)
	if err != nil {
		return nil, fmt.Errorf("creating partition table: %w", err)
	}
	if _, err := d.WriteAt(protectiveMBR(o.sectorSize, uint64(size/o.sectorSize)), 0); err != nil {
		return nil, fmt.Errorf("creating partition table: %w", err)
	}
	return t, t.Write(d)
}

func newTable(size int64, parts []NewPartition, o options) (*Table, error) {
	if o.sectorSize != 512 && o.sectorSize != 4096 {
		return nil, fmt.Errorf("sector size %d is neither 512 nor 4096", o.sectorSize)
	}
	arrayLBA := uint64(newEntries*minEntrySize) / uint64(o.sectorSize)
	total := uint64(max(size, 0) / o.sectorSize)
	if total < 2*arrayLBA+4 {
		return nil, fmt.Errorf("a disk of %d bytes is too small", size)
	}
	if len(parts) > newEntries {
		return nil, fmt.Errorf("%d partitions do not fit in a table of %d", len(parts), newEntries)
	}
	h := header{
		raw: make([]byte, o.sectorSize), size: minHeaderSize, self: 1, alternate: total - 1,
		firstUsable: 2 + arrayLBA, lastUsable: total - 2 - arrayLBA, entriesLBA: 2, count: newEntries, entrySize: minEntrySize,
	}
	t := &Table{sectorSize: o.sectorSize, header: h, entries: make([]byte, newEntries*minEntrySize), primary: 2, backup: total - 1 - arrayLBA}
	if err := t.addAll(parts); err != nil {
		return nil, err
	}
	if o.disk.IsZero() {
		o.disk = derivedGUID(t.entries)
	}
	le, disk := binary.LittleEndian, o.disk.swapped()
	copy(h.raw, signature)
	le.PutUint32(h.raw[8:], 0x00010000) // revision 1.0
	le.PutUint32(h.raw[12:], h.size)
	le.PutUint64(h.raw[40:], h.firstUsable)
	le.PutUint64(h.raw[48:], h.lastUsable)
	copy(h.raw[56:], disk[:])
	le.PutUint32(h.raw[80:], h.count)
	le.PutUint32(h.raw[84:], h.entrySize)
	return t, checkPartitions(t.Partitions(), h.firstUsable, h.lastUsable)
}

func (t *Table) addAll(parts []NewPartition) error {
	seen := map[GUID]bool{}
	for i, n := range parts {
		switch {
		case n.Type.IsZero() || n.UUID.IsZero():
			return fmt.Errorf("partition %d has no type or no UUID", i+1)
		case seen[n.UUID]:
			return fmt.Errorf("partition %d has the UUID %v of an earlier one", i+1, n.UUID)
		case n.Offset < 0 || n.Size <= 0 || n.Offset > math.MaxInt64-n.Size:
			return fmt.Errorf("partition %d: offset %d and size %d make no sense", i+1, n.Offset, n.Size)
		case n.Offset%t.sectorSize != 0 || n.Size%t.sectorSize != 0:
			return fmt.Errorf("partition %d: offset %d and size %d are not multiples of the sector size %d", i+1, n.Offset, n.Size, t.sectorSize)
		}
		seen[n.UUID] = true
		p := Partition{
			Type: n.Type, UUID: n.UUID, Name: n.Name, Attributes: n.Attributes,
			FirstLBA: uint64(n.Offset / t.sectorSize), LastLBA: uint64((n.Offset+n.Size)/t.sectorSize) - 1,
		}
		if err := encodeEntry(t.entries[i*minEntrySize:][:minEntrySize], p); err != nil {
			return err
		}
	}
	return nil
}

// derivedGUID makes a GUID that depends on nothing but data, so that equal inputs make equal disks.
func derivedGUID(data []byte) GUID {
	sum := sha256.Sum256(data)
	g := GUID(sum[:16])
	g[6] = g[6]&0x0f | 0x80 // RFC 9562 version 8: made by the application's own rule
	g[8] = g[8]&0x3f | 0x80
	return g
}

// protectiveMBR makes the first sector: one partition of type 0xEE over the whole disk, which keeps tools
// that know nothing of GPT away (UEFI specification, section 5.2.3).
func protectiveMBR(sectorSize int64, total uint64) []byte {
	b := make([]byte, sectorSize)
	e := b[446:]
	copy(e, []byte{0x00, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff})
	binary.LittleEndian.PutUint32(e[8:], 1)
	binary.LittleEndian.PutUint32(e[12:], uint32(min(total-1, math.MaxUint32)))
	b[510], b[511] = 0x55, 0xaa
	return b
}
