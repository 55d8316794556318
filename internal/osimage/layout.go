// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package osimage

import (
	"crypto/sha256"
	"fmt"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/osimage/verity"
	"github.com/drydock-os/drydock/internal/slot"
)

const mib = 1 << 20

// Partition types besides those of package slot.
var (
	typeBIOSBoot  = gpt.MustParseGUID("21686148-6449-6e6f-744e-656564454649")
	typeEFI       = gpt.MustParseGUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
	typeEFIBackup = gpt.MustParseGUID("b39ce39c-0a00-b4ab-2d11-f18f8237a21c")
)

// Layout holds the sizes of the partitions of a disk in bytes, each a multiple of 1 MiB. Boot, Root, Hash,
// Reserved and EFI exist once per slot.
type Layout struct{ BIOS, EFI, Boot, Root, Hash, Reserved, Private, Data int64 }

// LayoutFor returns a layout for systems whose root file system has about rootSize bytes. There is head-room
// of a quarter for later, larger versions. The proportions are those of Bottlerocket disks (920 MiB of root
// to 40 of boot, 10 of hash, 25 reserved and 41 private), with a few MiB at least.
func LayoutFor(rootSize int64) Layout {
	root := roundUp(max(rootSize, 0)+max(rootSize, 0)/4, 4*mib)
	share := func(n, least int64) int64 { return roundUp(root/920*n, least*mib) }
	return Layout{
		BIOS: 4 * mib, EFI: 5 * mib, Boot: share(40, 4), Root: root, Hash: roundUp(verity.Size(root), mib),
		Reserved: share(25, 1), Private: share(41, 4), Data: 64 * mib,
	}
}

// roundUp returns n as whole MiB, and at least the given number of bytes.
func roundUp(n, least int64) int64 { return max((n+mib-1)/mib*mib, least) }

// DiskSize returns the size of the whole disk in bytes.
func (l Layout) DiskSize() int64 {
	return 2*mib + l.BIOS + 2*(l.EFI+l.Boot+l.Root+l.Hash+l.Reserved) + l.Private + l.Data
}

func (l Layout) check() error {
	for name, size := range map[string]int64{
		"BIOS": l.BIOS, "EFI": l.EFI, "boot": l.Boot, "root": l.Root, "hash": l.Hash, "reserved": l.Reserved,
		"private": l.Private, "data": l.Data,
	} {
		if size <= 0 || size%mib != 0 || size > 1<<50 {
			return fmt.Errorf("layout: %s partition of %d bytes: want a multiple of 1 MiB", name, size)
		}
	}
	return nil
}

// partitions returns the table for a disk with this layout, slot A ready to boot. Partition UUIDs follow
// from seed, so that equal images make equal disks.
func (l Layout) partitions(seed string) []gpt.NewPartition {
	good := slot.Flags{Priority: 1, Successful: true}.Attributes(0)
	parts := []gpt.NewPartition{
		{Type: typeBIOSBoot, Name: "BIOS-BOOT", Size: l.BIOS},
		{Type: typeEFI, Name: "EFI-SYSTEM", Size: l.EFI},
		{Type: slot.TypeBoot, Name: "BOTTLEROCKET-BOOT-A", Size: l.Boot, Attributes: good},
		{Type: slot.TypeRoot, Name: "BOTTLEROCKET-ROOT-A", Size: l.Root},
		{Type: slot.TypeHash, Name: "BOTTLEROCKET-HASH-A", Size: l.Hash},
		{Type: slot.TypeReserved, Name: "BOTTLEROCKET-RESERVED-A", Size: l.Reserved},
		{Type: typeEFIBackup, Name: "EFI-BACKUP", Size: l.EFI},
		{Type: slot.TypeBoot, Name: "BOTTLEROCKET-BOOT-B", Size: l.Boot},
		{Type: slot.TypeRoot, Name: "BOTTLEROCKET-ROOT-B", Size: l.Root},
		{Type: slot.TypeHash, Name: "BOTTLEROCKET-HASH-B", Size: l.Hash},
		{Type: slot.TypeReserved, Name: "BOTTLEROCKET-RESERVED-B", Size: l.Reserved},
		{Type: slot.TypePrivate, Name: "BOTTLEROCKET-PRIVATE", Size: l.Private},
		{Type: slot.TypeData, Name: "BOTTLEROCKET-DATA", Size: l.Data},
	}
	offset := int64(mib)
	for i := range parts {
		sum := sha256.Sum256([]byte("drydock partition\x00" + seed + "\x00" + parts[i].Name))
		parts[i].UUID = gpt.GUID(sum[:16])
		parts[i].UUID[6] = parts[i].UUID[6]&0x0f | 0x80 // RFC 9562 version 8: made by the application's own rule
		parts[i].UUID[8] = parts[i].UUID[8]&0x3f | 0x80
		parts[i].Offset = offset
		offset += parts[i].Size
	}
	return parts
}
