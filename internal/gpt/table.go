// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package gpt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Table is a partition table in memory. Changes reach the disk with Write. A Table is not safe for
// concurrent use.
type Table struct {
	// Recovered says that the primary copy on the disk was damaged and the backup copy was read instead.
	// Write repairs the primary.
	Recovered bool

	sectorSize    int64
	header        header
	entries       []byte // the entry array as on the disk, unused entries included
	primary       uint64 // sector of the primary entry array
	backup        uint64 // sector of the backup entry array
	otherReason   error  // why the copy that was not used is not as good as the one that was; nil if it is
	primaryReason error  // why the primary was not used, for Recovered tables
}

// copyOf is one of the two copies as found on a disk.
type copyOf struct {
	header  *header // nil when even the header is damaged
	entries []byte
	parts   []Partition
}

// Read reads the partition table of d, whose size in bytes is size. It takes the primary copy, or the
// backup copy when the primary is damaged or unreadable (Table.Recovered says so). It returns an error
// that wraps ErrNoTable when neither copy is there, and ErrDamaged when no copy can be trusted.
func Read(d Disk, size int64) (*Table, error) {
	var faults []error
	for _, sectorSize := range []int64{512, 4096} {
		if size/sectorSize < 6 { // two headers, two tables, the first sector and one usable one
			continue
		}
		t, err := readTable(d, sectorSize, uint64(size/sectorSize))
		if err == nil {
			return t, nil
		}
		faults = append(faults, err)
	}
	for _, err := range faults {
		if !errors.Is(err, errNoSignature) {
			return nil, fmt.Errorf("reading partition table: %w: %w", ErrDamaged, err)
		}
	}
	return nil, fmt.Errorf("reading partition table: %w", ErrNoTable)
}

// readTable reads both copies. It returns errNoSignature only if neither copy is there.
func readTable(d Disk, sectorSize int64, total uint64) (*Table, error) {
	first, firstErr := readCopy(d, sectorSize, 1, total)
	last := total - 1
	if first.header != nil {
		last = first.header.alternate
	}
	second, secondErr := readCopy(d, sectorSize, last, total)
	used, t := first, &Table{sectorSize: sectorSize}
	switch {
	case firstErr == nil:
		t.otherReason = secondErr
	case secondErr == nil:
		used, t.Recovered, t.otherReason, t.primaryReason = second, true, firstErr, firstErr
	case errors.Is(firstErr, errNoSignature) && errors.Is(secondErr, errNoSignature):
		return nil, errNoSignature
	default:
		return nil, fmt.Errorf("primary: %w; backup: %v", hideNoSignature(firstErr), secondErr)
	}
	t.header, t.entries = *used.header, used.entries
	t.primary, t.backup = 2, max(t.header.self, t.header.alternate)-t.header.tableSectors()
	if firstErr == nil {
		t.primary = first.header.entriesLBA
	}
	if secondErr == nil && second.header.tableSectors() == t.header.tableSectors() && second.header.entriesLBA > t.header.lastUsable {
		t.backup = second.header.entriesLBA
	}
	if t.otherReason == nil && !first.sameAs(second) {
		t.otherReason = errors.New("the two copies differ")
	}
	return t, nil
}

// hideNoSignature keeps a half-missing table from being taken for a missing one.
func hideNoSignature(err error) error {
	if errors.Is(err, errNoSignature) {
		return errors.New(err.Error())
	}
	return err
}

// sameAs tells whether two whole copies describe the same table.
func (c copyOf) sameAs(o copyOf) bool {
	a, b := *c.header, *o.header
	return bytes.Equal(c.entries, o.entries) && a.self == b.alternate && a.alternate == b.self &&
		a.firstUsable == b.firstUsable && a.lastUsable == b.lastUsable && a.count == b.count && a.entrySize == b.entrySize &&
		bytes.Equal(a.raw[56:72], b.raw[56:72])
}

// readCopy reads and checks the copy whose header is in sector lba. With an error, header may still be set.
func readCopy(d Disk, sectorSize int64, lba, total uint64) (copyOf, error) {
	var c copyOf
	raw := make([]byte, sectorSize)
	if _, err := d.ReadAt(raw, int64(lba)*sectorSize); err != nil {
		return c, fmt.Errorf("reading header: %w", err)
	}
	h, err := decodeHeader(raw, lba, total)
	if err != nil {
		return c, err
	}
	c.header = h
	c.entries = make([]byte, h.count*h.entrySize)
	if _, err := d.ReadAt(c.entries, int64(h.entriesLBA)*sectorSize); err != nil {
		return c, fmt.Errorf("reading entries: %w", err)
	}
	if crc32.ChecksumIEEE(c.entries) != h.entriesCRC {
		return c, errors.New("checksum of the entries does not match")
	}
	c.parts = decodeEntries(c.entries, int(h.entrySize), sectorSize)
	return c, checkPartitions(c.parts, h.firstUsable, h.lastUsable)
}

func decodeEntries(entries []byte, entrySize int, sectorSize int64) []Partition {
	var parts []Partition
	for i := 0; i+entrySize <= len(entries); i += entrySize {
		if p, used := decodeEntry(entries[i:], i/entrySize+1, sectorSize); used {
			parts = append(parts, p)
		}
	}
	return parts
}

// Disk returns the identifier of the disk.
func (t *Table) Disk() GUID { return GUID(t.header.raw[56:72]).swapped() }

// SectorSize returns the size of a logical sector in bytes, 512 or 4096.
func (t *Table) SectorSize() int64 { return t.sectorSize }

// Partitions returns the used entries in table order.
func (t *Table) Partitions() []Partition {
	return decodeEntries(t.entries, int(t.header.entrySize), t.sectorSize)
}

// Fault returns what was wrong on the disk that Write will repair: why the primary was not used, or that
// the backup is damaged or older. It is nil when both copies were whole and equal.
func (t *Table) Fault() error {
	switch {
	case t.Recovered:
		return fmt.Errorf("primary partition table: %w", t.primaryReason)
	case t.otherReason != nil:
		return fmt.Errorf("backup partition table: %w", t.otherReason)
	}
	return nil
}

// SetAttributes replaces the attribute field of the partition with the given number.
func (t *Table) SetAttributes(number int, attributes uint64) error {
	size := int(t.header.entrySize)
	if number < 1 || number > len(t.entries)/size || GUID(t.entries[(number-1)*size:][:16]).IsZero() {
		return fmt.Errorf("setting attributes of partition %d: no such partition", number)
	}
	binary.LittleEndian.PutUint64(t.entries[(number-1)*size+48:], attributes)
	return nil
}

// Write puts the table on d: one copy, sync, the other copy, sync. The backup goes first, unless the
// table was recovered from it: then it is the only whole copy and the primary is repaired first. So a
// power cut at any instant leaves the old or the new table, whole. When Write fails the disk holds one
// of the two; read it again to learn which.
func (t *Table) Write(d Disk) error {
	backupLBA := max(t.header.self, t.header.alternate)
	writePrimary := func() error { return t.writeCopy(d, 1, backupLBA, t.primary) }
	writeBackup := func() error { return t.writeCopy(d, backupLBA, 1, t.backup) }
	steps := []func() error{writeBackup, writePrimary}
	if t.Recovered {
		steps = []func() error{writePrimary, writeBackup}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("writing partition table: %w", err)
		}
	}
	t.Recovered, t.otherReason, t.primaryReason = false, nil, nil
	return nil
}

// writeCopy may write entries and header in any order: until both are on the disk their checksums do not
// agree, and the other copy counts.
func (t *Table) writeCopy(d Disk, self, alternate, entriesLBA uint64) error {
	if _, err := d.WriteAt(t.entries, int64(entriesLBA)*t.sectorSize); err != nil {
		return err
	}
	if _, err := d.WriteAt(t.header.encode(self, alternate, entriesLBA, t.entries), int64(self)*t.sectorSize); err != nil {
		return err
	}
	return d.Sync()
}
