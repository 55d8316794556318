// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package verity

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
)

// Reader reads data through its hash tree. It is safe for concurrent use.
type Reader struct {
	data, hash io.ReaderAt
	size       int64
	salt       []byte
	root       Hash
	layout     layout

	mu    sync.Mutex
	cache []cached // per level: the hash block verified last
}

type cached struct {
	number int64 // within the level; -1: nothing
	block  []byte
}

// Open returns a Reader over the first bytes of data, as many as the superblock on hash says; dataSize
// and hashSize bound both devices. It checks the superblock and the top of the tree against root, so a
// wrong root hash is found here. The errors wrap ErrSuperblock and ErrCorrupt.
func Open(data io.ReaderAt, dataSize int64, hash io.ReaderAt, hashSize int64, root Hash) (*Reader, error) {
	if hashSize < BlockSize {
		return nil, fmt.Errorf("opening verity device: %w: hash device has %d bytes", ErrSuperblock, hashSize)
	}
	b := make([]byte, BlockSize)
	if err := readFull(hash, b, 0); err != nil {
		return nil, fmt.Errorf("opening verity device: reading superblock: %w", err)
	}
	blocks, salt, err := parseSuperblock(b)
	if err != nil {
		return nil, fmt.Errorf("opening verity device: %w", err)
	}
	l := layoutFor(blocks)
	if blocks*BlockSize > dataSize || l.end*BlockSize > hashSize {
		return nil, fmt.Errorf("opening verity device: %w: %d bytes of data and %d of tree do not fit on devices of %d and %d",
			ErrSuperblock, blocks*BlockSize, l.end*BlockSize, dataSize, hashSize)
	}
	r := &Reader{data: data, hash: hash, size: blocks * BlockSize, salt: salt, root: root, layout: l}
	r.forget()
	if _, err := r.hashBlock(len(l.count)-1, 0); err != nil {
		return nil, fmt.Errorf("opening verity device: %w", err)
	}
	return r, nil
}

// forget empties the cache.
func (r *Reader) forget() {
	r.cache = nil
	for range r.layout.count {
		r.cache = append(r.cache, cached{number: -1, block: make([]byte, BlockSize)})
	}
}

// Size returns the number of bytes that the tree covers.
func (r *Reader) Size() int64 { return r.size }

// hashBlock returns a verified block of the tree. The caller holds r.mu or is Open.
func (r *Reader) hashBlock(level int, number int64) ([]byte, error) {
	c := &r.cache[level]
	if c.number == number {
		return c.block, nil
	}
	want := r.root
	if level < len(r.cache)-1 {
		parent, err := r.hashBlock(level+1, number/perBlock)
		if err != nil {
			return nil, err
		}
		want = Hash(parent[number%perBlock*hashSize:][:hashSize])
	}
	c.number = -1 // until verified
	if err := readFull(r.hash, c.block, (r.layout.start[level]+number)*BlockSize); err != nil {
		return nil, fmt.Errorf("reading hash tree: %w", err)
	}
	if hashBlock(r.salt, c.block) != want {
		return nil, fmt.Errorf("hash tree level %d, block %d: %w", level, number, ErrCorrupt)
	}
	c.number = number
	return c.block, nil
}

// readBlocks fills p, a whole number of blocks, from block first on, and verifies it.
func (r *Reader) readBlocks(p []byte, first int64) error {
	if err := readFull(r.data, p, first*BlockSize); err != nil {
		return fmt.Errorf("reading data: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for number := first; len(p) > 0; number, p = number+1, p[BlockSize:] {
		hashes, err := r.hashBlock(0, number/perBlock)
		if err != nil {
			return err
		}
		if hashBlock(r.salt, p[:BlockSize]) != Hash(hashes[number%perBlock*hashSize:][:hashSize]) {
			return fmt.Errorf("data block %d: %w", number, ErrCorrupt)
		}
	}
	return nil
}

// ReadAt implements io.ReaderAt. It returns bytes only if they are verified.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("reading verity device: negative offset %d", off)
	}
	n := 0
	var block []byte
	for n < len(p) {
		at := off + int64(n)
		if at >= r.size {
			return n, io.EOF
		}
		if left := min(int64(len(p)-n), r.size-at) / BlockSize * BlockSize; at%BlockSize == 0 && left > 0 {
			if err := r.readBlocks(p[n:n+int(left)], at/BlockSize); err != nil {
				clear(p[n:])
				return n, err
			}
			n += int(left)
			continue
		}
		if block == nil {
			block = make([]byte, BlockSize)
		}
		if err := r.readBlocks(block, at/BlockSize); err != nil {
			return n, err
		}
		n += copy(p[n:], block[at%BlockSize:])
	}
	return n, nil
}

const (
	// verifyChunk is what Verify reads at a time: the data below one hash block, so that no two chunks share one.
	verifyChunk = perBlock * BlockSize
	// maxVerifiers bounds the memory of Verify, not its speed: a disk does not keep more of them busy.
	maxVerifiers = 4
)

// Verify checks every block of the data and of the tree. It takes the cores that there are, up to a few, for hashing is
// most of the work; the reads go through the data in order all the same.
func (r *Reader) Verify(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), maxVerifiers) {
		own := &Reader{data: r.data, hash: r.hash, size: r.size, salt: r.salt, root: r.root, layout: r.layout}
		own.forget()
		workers.Go(func() {
			buf := make([]byte, verifyChunk)
			for ctx.Err() == nil {
				at := next.Add(verifyChunk) - verifyChunk
				if at >= r.size {
					return
				}
				if err := own.readBlocks(buf[:min(verifyChunk, r.size-at)], at/BlockSize); err != nil {
					cancel(err)
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

// readFull reads len(p) bytes; a short read is an error, a full one that ends in io.EOF is not.
func readFull(from io.ReaderAt, p []byte, off int64) error {
	n, err := from.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
