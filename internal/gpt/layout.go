// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package gpt

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"unicode/utf16"
)

// Numbers of the UEFI specification, version 2.10, section 5.3.
const (
	signature     = "EFI PART"
	minHeaderSize = 92
	minEntrySize  = 128 // larger ones must be this times a power of two
	nameOffset    = 56
	nameUnits     = 36
	newEntries    = 128 // entries that Create makes room for
)

// Limits of ours, far above anything in use, so that a damaged header cannot make us allocate gigabytes.
const (
	maxEntrySize  = 4096
	maxEntries    = 1024
	maxTableBytes = 1 << 20
)

// header is the decoded form of one copy's header sector.
type header struct {
	raw         []byte // whole sector, as read
	size        uint32 // bytes covered by the header's checksum
	self        uint64 // sector of this header
	alternate   uint64 // sector of the other header
	firstUsable uint64
	lastUsable  uint64
	entriesLBA  uint64
	count       uint32
	entrySize   uint32
	entriesCRC  uint32
}

// tableSectors returns how many sectors the entry array takes.
func (h *header) tableSectors() uint64 {
	n := uint64(h.count) * uint64(h.entrySize)
	s := uint64(len(h.raw))
	return (n + s - 1) / s
}

// errNoSignature tells an empty sector from a damaged header.
var errNoSignature = errors.New("no signature")

// decodeHeader checks one header sector, read from sector self of a disk with total sectors.
func decodeHeader(raw []byte, self, total uint64) (*header, error) {
	if !bytes.Equal(raw[:8], []byte(signature)) {
		return nil, errNoSignature
	}
	le := binary.LittleEndian
	h := &header{
		raw: raw, size: le.Uint32(raw[12:]),
		self: le.Uint64(raw[24:]), alternate: le.Uint64(raw[32:]),
		firstUsable: le.Uint64(raw[40:]), lastUsable: le.Uint64(raw[48:]),
		entriesLBA: le.Uint64(raw[72:]), count: le.Uint32(raw[80:]), entrySize: le.Uint32(raw[84:]),
		entriesCRC: le.Uint32(raw[88:]),
	}
	if major := le.Uint32(raw[8:]) >> 16; major != 1 {
		return nil, fmt.Errorf("unknown major revision %d", major)
	}
	if h.size < minHeaderSize || int(h.size) > len(raw) {
		return nil, fmt.Errorf("header size %d is not between %d and %d", h.size, minHeaderSize, len(raw))
	}
	if sum := headerCRC(raw, h.size); sum != le.Uint32(raw[16:]) {
		return nil, errors.New("header checksum does not match")
	}
	if h.self != self {
		return nil, fmt.Errorf("header says it is in sector %d, found in %d", h.self, self)
	}
	return h, h.check(total)
}

// check refuses headers whose parts overlap or lie outside a disk of total sectors. Every sum below is of
// numbers already known to be smaller than total, so none wraps around.
func (h *header) check(total uint64) error {
	if h.entrySize < minEntrySize || h.entrySize > maxEntrySize || h.entrySize&(h.entrySize-1) != 0 {
		return fmt.Errorf("entry size %d is not a power of two between %d and %d", h.entrySize, minEntrySize, maxEntrySize)
	}
	if h.count == 0 || h.count > maxEntries || uint64(h.count)*uint64(h.entrySize) > maxTableBytes {
		return fmt.Errorf("%d entries of %d bytes are not between 1 entry and %d entries or %d bytes",
			h.count, h.entrySize, maxEntries, maxTableBytes)
	}
	for _, lba := range []uint64{h.alternate, h.firstUsable, h.lastUsable, h.entriesLBA} {
		if lba >= total {
			return fmt.Errorf("sector %d is beyond the end of the disk, which has %d", lba, total)
		}
	}
	backup := max(h.self, h.alternate)
	switch {
	case min(h.self, h.alternate) != 1 || h.self == h.alternate:
		return fmt.Errorf("headers in sectors %d and %d: the first must be 1", h.self, h.alternate)
	case h.firstUsable > h.lastUsable:
		return fmt.Errorf("first usable sector %d is behind the last, %d", h.firstUsable, h.lastUsable)
	case 2+h.tableSectors() > h.firstUsable:
		return fmt.Errorf("no room for the primary entries before sector %d", h.firstUsable)
	case h.lastUsable+h.tableSectors() >= backup:
		return fmt.Errorf("no room for the backup entries between sectors %d and %d", h.lastUsable, backup)
	}
	low, high := uint64(2), h.firstUsable // where this copy's entries must be: [low, high)
	if h.self == backup {
		low, high = h.lastUsable+1, backup
	}
	if h.entriesLBA < low || h.entriesLBA+h.tableSectors() > high {
		return fmt.Errorf("entries in sector %d are not between sectors %d and %d", h.entriesLBA, low, high)
	}
	return nil
}

// encode returns the header sector for the copy in sector self; everything unknown stays as it was read.
func (h *header) encode(self, alternate, entriesLBA uint64, entries []byte) []byte {
	raw := bytes.Clone(h.raw)
	le := binary.LittleEndian
	le.PutUint64(raw[24:], self)
	le.PutUint64(raw[32:], alternate)
	le.PutUint64(raw[72:], entriesLBA)
	le.PutUint32(raw[88:], crc32.ChecksumIEEE(entries))
	le.PutUint32(raw[16:], headerCRC(raw, h.size))
	return raw
}

// headerCRC computes the checksum over the first size bytes with the checksum field taken as zero.
func headerCRC(raw []byte, size uint32) uint32 {
	sum := crc32.Update(0, crc32.IEEETable, raw[:16])
	sum = crc32.Update(sum, crc32.IEEETable, []byte{0, 0, 0, 0})
	return crc32.Update(sum, crc32.IEEETable, raw[20:size])
}

// decodeEntry returns the partition in b, or false for an unused entry.
func decodeEntry(b []byte, number int, sectorSize int64) (Partition, bool) {
	le := binary.LittleEndian
	p := Partition{
		Number: number, Type: GUID(b[:16]).swapped(), UUID: GUID(b[16:32]).swapped(),
		FirstLBA: le.Uint64(b[32:]), LastLBA: le.Uint64(b[40:]), Attributes: le.Uint64(b[48:]),
		SectorSize: sectorSize,
	}
	var name []uint16
	for i := range nameUnits {
		u := le.Uint16(b[nameOffset+2*i:])
		if u == 0 {
			break
		}
		name = append(name, u)
	}
	p.Name = string(utf16.Decode(name))
	return p, !p.Type.IsZero()
}

// encodeEntry fills the zeroed entry b.
func encodeEntry(b []byte, p Partition) error {
	name := utf16.Encode([]rune(p.Name))
	if len(name) > nameUnits {
		return fmt.Errorf("partition name %q is longer than %d UTF-16 code units", p.Name, nameUnits)
	}
	le := binary.LittleEndian
	t, u := p.Type.swapped(), p.UUID.swapped()
	copy(b, t[:])
	copy(b[16:], u[:])
	le.PutUint64(b[32:], p.FirstLBA)
	le.PutUint64(b[40:], p.LastLBA)
	le.PutUint64(b[48:], p.Attributes)
	for i, c := range name {
		le.PutUint16(b[nameOffset+2*i:], c)
	}
	return nil
}

// checkPartitions refuses partitions outside the usable sectors or on top of each other.
func checkPartitions(parts []Partition, firstUsable, lastUsable uint64) error {
	sorted := slices.SortedFunc(slices.Values(parts), func(a, b Partition) int { return cmp.Compare(a.FirstLBA, b.FirstLBA) })
	for i, p := range sorted {
		if p.FirstLBA > p.LastLBA || p.FirstLBA < firstUsable || p.LastLBA > lastUsable {
			return fmt.Errorf("partition %d (sectors %d to %d) is not within sectors %d to %d",
				p.Number, p.FirstLBA, p.LastLBA, firstUsable, lastUsable)
		}
		if i > 0 && p.FirstLBA <= sorted[i-1].LastLBA {
			return fmt.Errorf("partitions %d and %d overlap", sorted[i-1].Number, p.Number)
		}
	}
	return nil
}
