// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package slot

import (
	"errors"
	"fmt"

	"github.com/drydock-os/drydock/internal/gpt"
)

// Slot names one of the two system images on a disk.
type Slot uint8

// The two slots. A is the set of partitions that comes first in the partition table.
const (
	A Slot = iota
	B
)

// String returns "A" or "B".
func (s Slot) String() string {
	switch s {
	case A:
		return "A"
	case B:
		return "B"
	}
	return fmt.Sprintf("Slot(%d)", uint8(s))
}

// Other returns the slot that s is not.
func (s Slot) Other() Slot { return s ^ 1 }

// Part names one of the partitions that make up a slot.
type Part uint8

// The partitions of a slot.
const (
	Boot Part = iota // boot image; its attributes carry the flags of the slot
	Root             // root file system
	Hash             // dm-verity hash tree over Root
)

// String returns "boot", "root" or "hash".
func (p Part) String() string {
	switch p {
	case Boot:
		return "boot"
	case Root:
		return "root"
	case Hash:
		return "hash"
	}
	return fmt.Sprintf("Part(%d)", uint8(p))
}

// Parts lists the partitions of a slot.
func Parts() []Part { return []Part{Boot, Root, Hash} }

// Partition types; the values are those of Bottlerocket disks.
var (
	TypeBoot     = gpt.MustParseGUID("6b636168-7420-6568-2070-6c616e657421")
	TypeRoot     = gpt.MustParseGUID("5526016a-1a97-4ea4-b39a-b7c8c6ca4502")
	TypeHash     = gpt.MustParseGUID("598f10af-c955-4456-6a99-7720068a6cea")
	TypeReserved = gpt.MustParseGUID("0c5d99a5-d331-4147-baef-08e2b855bdc9")
	TypePrivate  = gpt.MustParseGUID("440408bb-eb0b-4328-a6e5-a29038fad706")
	TypeData     = gpt.MustParseGUID("626f7474-6c65-6474-6861-726d61726b73")
)

var (
	// ErrNoBootableSlot means that the boot loader would find nothing to start.
	ErrNoBootableSlot = errors.New("no slot can boot")
	// ErrLayout means that the disk does not hold one or two complete sets of boot, root and hash partitions.
	ErrLayout = errors.New("disk has no usable set of system partitions")
	// ErrSingleSet means that the disk has only slot A, so there is nothing to update into or fall back to.
	ErrSingleSet = errors.New("disk has only one system slot")
	// ErrUnknownSlot means that a slot was named that this disk does not have.
	ErrUnknownSlot = errors.New("disk has no such slot")
	// ErrAlreadyMarked means that the inactive slot still carries marks of an earlier system; clear it first.
	ErrAlreadyMarked = errors.New("inactive slot is already marked for boot")
	// ErrNotValid means that the inactive slot does not hold an image that was marked valid.
	ErrNotValid = errors.New("inactive slot holds no valid image")
	// ErrNotBootable means that the inactive slot cannot boot, so a roll-back to it is refused.
	ErrNotBootable = errors.New("inactive slot cannot boot")
	// ErrActiveNotGood means that the running slot was not marked successful, so the other slot must stay bootable.
	ErrActiveNotGood = errors.New("running slot is not marked successful")
	// ErrDamagedImage means that a slot must not be started because its boot image is damaged.
	ErrDamagedImage = errors.New("boot image is damaged")
)
