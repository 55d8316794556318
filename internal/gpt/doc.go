// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package gpt reads and writes GUID partition tables so that a power cut cannot lose them.
//
// The format is chapter 5 of the UEFI specification. A disk carries two copies of the table. Read takes
// the primary copy, and the backup copy when the primary is damaged. Write replaces the copies one after
// the other with a sync between them, and begins with the one that Read did not rely on. So at every
// instant at least one whole copy, old or new, is on the disk.
//
// Everything that this package does not understand is kept: partition entries of unknown type, their
// attributes, the bytes after the known part of an entry, and the boot code in the first sector go
// back to the disk bit for bit.
//
// Tables that cannot be meant seriously (partitions that overlap or lie outside the disk, absurd entry
// counts, a table inside its own partitions) are refused, since writing to such a disk could destroy
// the very system that is running.
//
// Logical sectors of 512 bytes are the rule and what Create makes unless told otherwise. Read also finds
// tables of disks with 4096-byte logical sectors. The size is not asked of the device: it is found by
// looking for the table, so an image file of either kind works.
//
// Why not a library: the good one (go-diskfs) writes the backup copy first even when the backup is the
// only whole copy left, and re-encodes entries instead of keeping them.
package gpt
