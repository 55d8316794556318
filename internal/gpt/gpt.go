// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package gpt

import (
	"errors"
	"io"
)

// Disk is what a partition table lives on. WriteAt may keep data in a cache; after Sync returned nil,
// everything written before survives a power cut.
type Disk interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

var (
	// ErrNoTable means that neither copy of a partition table is on the disk.
	ErrNoTable = errors.New("no partition table found")
	// ErrDamaged means that a table is there, but no copy of it can be trusted.
	ErrDamaged = errors.New("partition table is damaged")
	// ErrInUse means that another process has the disk open for writing.
	ErrInUse = errors.New("disk is in use by another process")
)

// Partition is one used entry of the table.
type Partition struct {
	Number     int    // 1 for the first entry of the table; unused entries count too
	Type       GUID   // what kind of partition this is
	UUID       GUID   // unique for this partition; Linux calls it PARTUUID
	Name       string // label, at most 36 UTF-16 code units
	FirstLBA   uint64 // first logical sector
	LastLBA    uint64 // last logical sector, inclusive
	Attributes uint64 // bits 48 to 63 belong to whoever owns the type
	SectorSize int64  // bytes per logical sector
}

// Offset returns where the partition begins, in bytes from the start of the disk.
func (p Partition) Offset() int64 { return int64(p.FirstLBA) * p.SectorSize }

// Size returns the length of the partition in bytes.
func (p Partition) Size() int64 { return int64(p.LastLBA-p.FirstLBA+1) * p.SectorSize }
