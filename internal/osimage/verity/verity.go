// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package verity makes and checks dm-verity hash trees, byte for byte as veritysetup and the kernel do.
//
// A tree proves a whole file system with one root hash: each 4096-byte block of data is hashed (SHA-256,
// the salt first), 128 hashes fill a block of the lowest level, those blocks are hashed again, and so on
// up to a level of one block, whose hash is the root hash. The hash device holds a superblock in its first
// block and then the levels, top first (kernel documentation: admin-guide/device-mapper/verity; on-disk
// superblock: cryptsetup's verity format 1).
//
// A Reader gives out no byte that the root hash does not vouch for, as the kernel does for a mounted
// root: damage shows as ErrCorrupt on the read that meets it. Nothing here holds more than a few blocks
// in memory, however large the image.
//
// The package is our own because the library for it opens devices by path; we read partitions inside a
// disk image. Tests hold the two to the same bytes.
package verity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// BlockSize is the size of data and hash blocks in bytes.
const BlockSize = 4096

const (
	hashSize  = sha256.Size
	perBlock  = BlockSize / hashSize
	signature = "verity\x00\x00"
	maxSalt   = 256
	// maxData keeps block numbers and byte offsets far from wrapping around: 64 TiB.
	maxData = 1 << 46
)

var (
	// ErrCorrupt means that a block does not have the hash that the tree, or the root hash, demands.
	ErrCorrupt = errors.New("data does not match its hash tree")
	// ErrSuperblock means that the hash device does not begin with a superblock of the kind made here.
	ErrSuperblock = errors.New("no usable verity superblock")
)

// Hash is a root hash.
type Hash [hashSize]byte

// layout says where the levels of a tree are, lowest first, in blocks of the hash device.
type layout struct {
	start []int64 // first block of each level
	count []int64 // blocks of each level
	end   int64   // first block behind the tree
}

func layoutFor(dataBlocks int64) layout {
	var l layout
	for n := dataBlocks; n > 1; {
		n = (n + perBlock - 1) / perBlock
		l.count = append(l.count, n)
	}
	l.start = make([]int64, len(l.count))
	l.end = 1 // behind the superblock
	for i := len(l.count) - 1; i >= 0; i-- {
		l.start[i] = l.end
		l.end += l.count[i]
	}
	return l
}

func blocksOf(dataSize int64) (int64, error) {
	if dataSize < 2*BlockSize || dataSize > maxData || dataSize%BlockSize != 0 {
		return 0, fmt.Errorf("cannot make a hash tree over %d bytes: want at least two and only whole blocks of %d", dataSize, BlockSize)
	}
	return dataSize / BlockSize, nil
}

// Size returns how many bytes the hash device over dataSize bytes takes, superblock included; dataSize is
// rounded up to whole blocks.
func Size(dataSize int64) int64 {
	return layoutFor((max(dataSize, 0)+BlockSize-1)/BlockSize).end * BlockSize
}

// Params are the inputs of a tree besides the data. Equal inputs make equal trees.
type Params struct {
	Salt []byte // at most 256 bytes, hashed before every block
	UUID [16]byte
}

// builder fills one block per level and hands full ones to the level above.
type builder struct {
	layout layout
	out    io.WriterAt
	salt   []byte
	block  [][]byte // per level: the block being filled
	done   []int64  // per level: blocks written
	root   Hash
}

// Build hashes dataSize bytes of data and writes superblock and tree to out. It returns the root hash.
func Build(ctx context.Context, data io.Reader, dataSize int64, out io.WriterAt, p Params) (Hash, error) {
	blocks, err := blocksOf(dataSize)
	if err != nil {
		return Hash{}, err
	}
	if len(p.Salt) > maxSalt {
		return Hash{}, fmt.Errorf("salt of %d bytes is longer than %d", len(p.Salt), maxSalt)
	}
	if _, err := out.WriteAt(superblock(blocks, p), 0); err != nil {
		return Hash{}, fmt.Errorf("writing verity superblock: %w", err)
	}
	b := &builder{layout: layoutFor(blocks), out: out, salt: p.Salt}
	for range b.layout.count {
		b.block = append(b.block, make([]byte, 0, BlockSize))
		b.done = append(b.done, 0)
	}
	buf := make([]byte, 256*BlockSize)
	for left := dataSize; left > 0; {
		if err := ctx.Err(); err != nil {
			return Hash{}, err
		}
		chunk := buf[:min(left, int64(len(buf)))]
		if _, err := io.ReadFull(data, chunk); err != nil {
			return Hash{}, fmt.Errorf("reading data to hash: %w", err)
		}
		left -= int64(len(chunk))
		for ; len(chunk) > 0; chunk = chunk[BlockSize:] {
			if err := b.add(0, hashBlock(b.salt, chunk[:BlockSize])); err != nil {
				return Hash{}, fmt.Errorf("writing hash tree: %w", err)
			}
		}
	}
	for level := range b.block { // upwards, since flushing one level adds to the next
		if len(b.block[level]) > 0 {
			if err := b.flush(level); err != nil {
				return Hash{}, fmt.Errorf("writing hash tree: %w", err)
			}
		}
	}
	return b.root, nil
}

func (b *builder) add(level int, h Hash) error {
	if level == len(b.block) {
		b.root = h
		return nil
	}
	b.block[level] = append(b.block[level], h[:]...)
	if len(b.block[level]) < BlockSize {
		return nil
	}
	return b.flush(level)
}

func (b *builder) flush(level int) error {
	full := b.block[level][:BlockSize]
	clear(full[len(b.block[level]):])
	if _, err := b.out.WriteAt(full, (b.layout.start[level]+b.done[level])*BlockSize); err != nil {
		return err
	}
	b.done[level]++
	b.block[level] = full[:0]
	return b.add(level+1, hashBlock(b.salt, full))
}

func hashBlock(salt, block []byte) Hash {
	h := sha256.New()
	h.Write(salt)
	h.Write(block)
	var sum Hash
	h.Sum(sum[:0])
	return sum
}

func superblock(dataBlocks int64, p Params) []byte {
	b := make([]byte, BlockSize)
	le := binary.LittleEndian
	copy(b, signature)
	le.PutUint32(b[8:], 1)  // version of the superblock
	le.PutUint32(b[12:], 1) // hash type: salt before data
	copy(b[16:], p.UUID[:])
	copy(b[32:], "sha256")
	le.PutUint32(b[64:], BlockSize)
	le.PutUint32(b[68:], BlockSize)
	le.PutUint64(b[72:], uint64(dataBlocks))
	le.PutUint16(b[80:], uint16(len(p.Salt)))
	copy(b[88:], p.Salt)
	return b
}

// parseSuperblock accepts what superblock makes, and returns the number of data blocks and the salt.
func parseSuperblock(b []byte) (dataBlocks int64, salt []byte, err error) {
	le := binary.LittleEndian
	blocks, saltSize := le.Uint64(b[72:]), le.Uint16(b[80:])
	switch {
	case !bytes.Equal(b[:8], []byte(signature)):
		return 0, nil, fmt.Errorf("%w: no signature", ErrSuperblock)
	case le.Uint32(b[8:]) != 1 || le.Uint32(b[12:]) != 1:
		return 0, nil, fmt.Errorf("%w: version %d, hash type %d", ErrSuperblock, le.Uint32(b[8:]), le.Uint32(b[12:]))
	case string(bytes.TrimRight(b[32:64], "\x00")) != "sha256":
		return 0, nil, fmt.Errorf("%w: algorithm %q", ErrSuperblock, b[32:64])
	case le.Uint32(b[64:]) != BlockSize || le.Uint32(b[68:]) != BlockSize:
		return 0, nil, fmt.Errorf("%w: blocks of %d and %d bytes", ErrSuperblock, le.Uint32(b[64:]), le.Uint32(b[68:]))
	case blocks < 2 || blocks > maxData/BlockSize:
		return 0, nil, fmt.Errorf("%w: %d data blocks", ErrSuperblock, blocks)
	case saltSize > maxSalt:
		return 0, nil, fmt.Errorf("%w: salt of %d bytes", ErrSuperblock, saltSize)
	}
	return int64(blocks), bytes.Clone(b[88 : 88+int(saltSize)]), nil
}
