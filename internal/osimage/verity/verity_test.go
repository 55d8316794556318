// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package verity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	oracle "github.com/containerd/go-dmverity/pkg/verity"
)

// memory grows as it is written, like a file.
type memory struct{ b []byte }

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if end := int(off) + len(p); end > len(m.b) {
		m.b = append(m.b, make([]byte, end-len(m.b))...)
	}
	return copy(m.b[off:], p), nil
}

func noise(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func build(t testing.TB, data []byte) (tree []byte, root Hash) {
	t.Helper()
	var m memory
	root, err := Build(t.Context(), bytes.NewReader(data), int64(len(data)), &m, Params{Salt: []byte("some salt"), UUID: [16]byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	return m.b, root
}

func open(data, tree []byte, root Hash) (*Reader, error) {
	return Open(bytes.NewReader(data), int64(len(data)), bytes.NewReader(tree), int64(len(tree)), root)
}

// sizes in blocks around the places where the tree grows a block or a level.
var sizes = []int{2, 3, 127, 128, 129, 255, 257, perBlock * perBlock, perBlock*perBlock + 1}

func TestBuildThenRead(t *testing.T) {
	for _, blocks := range sizes {
		t.Run(fmt.Sprint(blocks), func(t *testing.T) {
			data := noise(blocks * BlockSize)
			tree, root := build(t, data)
			if int64(len(tree)) != Size(int64(len(data))) {
				t.Errorf("tree has %d bytes, Size says %d", len(tree), Size(int64(len(data))))
			}
			r, err := open(data, tree, root)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Verify(t.Context()); err != nil {
				t.Error(err)
			}
			for _, span := range [][2]int{{0, 1}, {1, BlockSize}, {BlockSize - 1, 2}, {0, len(data)}, {len(data) - 5, 5}, {4000, 4100}} {
				got := make([]byte, span[1])
				if _, err := r.ReadAt(got, int64(span[0])); err != nil || !bytes.Equal(got, data[span[0]:span[0]+span[1]]) {
					t.Errorf("reading %d bytes at %d: %v", span[1], span[0], err)
				}
			}
			if n, err := r.ReadAt(make([]byte, 10), int64(len(data)-4)); n != 4 || !errors.Is(err, io.EOF) {
				t.Errorf("reading over the end: %d bytes, %v", n, err)
			}
		})
	}
}

// The other implementation must make the same bytes, since the kernel will read ours.
func TestSameAsTheOtherImplementation(t *testing.T) {
	for _, blocks := range sizes[:7] {
		data := noise(blocks * BlockSize)
		tree, root := build(t, data)
		dir := t.TempDir()
		dataPath, hashPath := filepath.Join(dir, "data"), filepath.Join(dir, "hash")
		for path, b := range map[string][]byte{dataPath: data, hashPath: nil} {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p := oracle.Params{HashName: "sha256", DataBlockSize: BlockSize, HashBlockSize: BlockSize, HashType: 1}
		p.Salt, p.SaltSize = []byte("some salt"), 9
		p.DataBlocks = uint64(blocks)
		p.HashAreaOffset = BlockSize
		theirs, err := oracle.Create(&p, dataPath, hashPath)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(theirs, root[:]) {
			t.Errorf("%d blocks: root hash %x, the other one has %x", blocks, root, theirs)
		}
		hash, err := os.ReadFile(hashPath)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(hash[BlockSize:], tree[BlockSize:]) {
			t.Errorf("%d blocks: the trees differ", blocks)
		}
		if err := os.WriteFile(hashPath, tree, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := oracle.Verify(&p, dataPath, hashPath, root[:]); err != nil {
			t.Errorf("%d blocks: the other one refuses our tree: %v", blocks, err)
		}
	}
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	data := noise(300 * BlockSize)
	tree, root := build(t, data)
	check := func(what string, data, tree []byte, root Hash) {
		t.Helper()
		r, err := open(data, tree, root)
		if err == nil {
			err = r.Verify(t.Context())
		}
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, at := range []int{0, 77, 128*BlockSize + 1, len(data) - 1} {
		bad := bytes.Clone(data)
		bad[at] ^= 4
		check(fmt.Sprint("data ", at), bad, tree, root)

		r, err := open(bad, tree, root)
		if err != nil {
			t.Fatalf("damage deep in the data must show on reading only: %v", err)
		}
		p := make([]byte, BlockSize)
		if _, err := r.ReadAt(p, int64(at/BlockSize*BlockSize)); !errors.Is(err, ErrCorrupt) || !bytes.Equal(p, make([]byte, BlockSize)) {
			t.Errorf("reading the damaged block: %v, or it was given out", err)
		}
		if _, err := r.ReadAt(p, 10*BlockSize); err != nil {
			t.Errorf("reading another block: %v", err)
		}
	}
	for at := BlockSize; at < len(tree); at += 511 {
		bad := bytes.Clone(tree)
		bad[at] ^= 0x80
		check(fmt.Sprint("tree ", at), data, bad, root)
	}
	bad := bytes.Clone(tree)
	bad[88] ^= 1
	check("salt", data, bad, root)
	check("root hash", data, tree, Hash{1})
}

func TestBadInput(t *testing.T) {
	for _, size := range []int64{-4096, 0, 1, 4096, 8191, 8193, 1 << 62} {
		if _, err := Build(t.Context(), bytes.NewReader(nil), size, &memory{}, Params{}); err == nil {
			t.Errorf("a tree over %d bytes was made", size)
		}
	}
	if _, err := Build(t.Context(), bytes.NewReader(make([]byte, 100)), 8192, &memory{}, Params{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("data shorter than promised: %v", err)
	}
	if _, err := Build(t.Context(), nil, 8192, &memory{}, Params{Salt: make([]byte, 257)}); err == nil {
		t.Error("an overlong salt was taken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(ctx, bytes.NewReader(make([]byte, 8192)), 8192, &memory{}, Params{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	data := noise(130 * BlockSize)
	tree, root := build(f, data)
	f.Add(tree[:512])
	f.Fuzz(func(t *testing.T, superblock []byte) {
		bad := bytes.Clone(tree)
		copy(bad[:512], superblock)
		r, err := open(data, bad, root)
		if err != nil {
			return
		}
		// Whatever the superblock claims, what is read without an error is the true data.
		got := make([]byte, len(data))
		if n, err := r.ReadAt(got, 0); err == nil || errors.Is(err, io.EOF) {
			if !bytes.Equal(got[:n], data[:n]) {
				t.Fatal("bytes were given out that are not the data")
			}
		}
	})
}

func BenchmarkBuild(b *testing.B) {
	data := noise(64 << 20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		build(b, data)
	}
}
