// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package osimage builds and reads system images.
//
// A system image is three files, which fill the three partitions of a slot (package slot):
//
//	root.erofs   the root file system: EROFS, uncompressed, read-only
//	root.verity  the dm-verity hash tree over it (package verity), superblock included
//	boot.img     what the boot loader starts; it carries the root hash
//
// The boot image begins with a header block of 4096 bytes, all numbers little-endian:
//
//	 0  8 bytes   magic "DRYDOCKB"
//	 8  uint32    format version, 1
//	12  uint32    zero
//	16  uint64    length of the payload in bytes
//	24  32 bytes  SHA-256 of the payload
//	56            zero up to byte 4096
//
// and the payload follows. Today the payload is a kernel command line as text, with
//
//	drydock.roothash=<64 hexadecimal digits>  root hash of the verity tree
//	drydock.rootsize=<bytes>                  size of root.erofs
//
// A boot loader must skip a slot whose header or digest is wrong (ErrDamaged); everything below hangs on the
// root hash, so no other part of a slot can be exchanged or decay unnoticed. OpenSlot reads the root file
// system through the tree, block by block, as the kernel does.
//
// Images are reproducible: the same Spec and file contents make the same bytes, on any machine, in any
// directory, at any time. Files belong to root, carry no time stamps, and have mode 0755 or 0644.
package osimage
