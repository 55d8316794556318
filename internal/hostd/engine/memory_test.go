// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pierrec/lz4/v4"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/hostd/system"
	"github.com/drydock-os/drydock/internal/slot"
	"github.com/drydock-os/drydock/internal/tuf"
)

const mib = 1 << 20

// patternDisk pretends to hold a pattern that depends on the place, and accepts only writes of it: a disk of any size
// without any memory. forget makes reads return something else.
type patternDisk struct{ forget bool }

// period of the pattern: each value fills a sector.
var period = func() (all []byte) {
	for i := range 256 {
		all = append(all, bytes.Repeat([]byte{byte(i)}, 512)...)
	}
	return all
}()

func fill(p []byte, off int64) {
	for n := 0; n < len(p); {
		n += copy(p[n:], period[(off+int64(n))%int64(len(period)):])
	}
}

func (d *patternDisk) ReadAt(p []byte, off int64) (int, error) {
	fill(p, off)
	if d.forget && off == 0 {
		p[7] ^= 1
	}
	return len(p), nil
}

func (*patternDisk) WriteAt(p []byte, off int64) (int, error) {
	for done := 0; done < len(p); {
		want := period[(off+int64(done))%int64(len(period)):]
		n := min(len(want), len(p)-done)
		if !bytes.Equal(want[:n], p[done:done+n]) {
			return 0, fmt.Errorf("other bytes at %d", off+int64(done))
		}
		done += n
	}
	return len(p), nil
}

func (*patternDisk) Sync() error { return nil }

// published is a repository with one compressed image of the pattern for each size.
func published(t testing.TB, sizes ...int64) (*tuf.Client, map[int64]source) {
	t.Helper()
	dir := t.TempDir()
	repo, keys := filepath.Join(dir, "repo"), filepath.Join(dir, "keys")
	now := time.Now()
	root, err := tuf.Init(t.Context(), repo, keys, tuf.InitOptions{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	r, err := tuf.OpenRepository(tuf.RepositoryConfig{Dir: repo, KeysDir: keys, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var sources []tuf.Source
	for _, size := range sizes {
		name := fmt.Sprintf("image-%d.lz4", size)
		path := filepath.Join(dir, name)
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		w := lz4.NewWriter(f)
		_, err = io.Copy(w, io.NewSectionReader(&patternDisk{}, 0, size))
		if err := errors.Join(err, w.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
		sources = append(sources, tuf.Source{Name: name, Path: path})
	}
	if _, err := r.Publish(t.Context(), "m/x", sources); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(repo)))
	t.Cleanup(server.Close)
	trusted, err := os.ReadFile(root)
	if err != nil {
		t.Fatal(err)
	}
	client, err := tuf.NewClient(tuf.Config{
		TrustedRoot: trusted, Dir: t.TempDir(), MetadataURL: server.URL + "/m/x", TargetsURL: server.URL + "/targets",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	found := map[int64]source{}
	for _, size := range sizes {
		target, err := client.Lookup(fmt.Sprintf("image-%d.lz4", size))
		if err != nil {
			t.Fatal(err)
		}
		found[size] = source{slot.Boot, target}
	}
	return client, found
}

func partition(size int64) gpt.Partition {
	return gpt.Partition{Name: "ROOT-B", LastLBA: uint64(size/512) - 1, SectorSize: 512}
}

func newTestEngine(t testing.TB) *Engine {
	e, err := New(Config{Root: t.TempDir(), System: &system.Identity{}, Disk: system.NewDisk("/nonexistent")})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Writing 512 MiB allocates no more than writing 32 MiB: nothing grows with the image.
func TestMemoryDoesNotGrowWithTheImage(t *testing.T) {
	const small, large = 32 * mib, 512 * mib
	client, sources := published(t, small, large)
	e := newTestEngine(t)
	allocated := func(size int64) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p := partition(size)
		part, err := e.writePart(t.Context(), &patternDisk{}, p, client, sources[size])
		if err == nil {
			err = readBack(&patternDisk{}, p, part)
		}
		if err != nil {
			t.Fatal(err)
		}
		if part.Length != size {
			t.Fatalf("wrote %d of %d bytes", part.Length, size)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	allocated(small) // what is allocated once per process
	few, many := allocated(small), allocated(large)
	t.Logf("32 MiB: %d KiB allocated in all, 512 MiB: %d KiB", few>>10, many>>10)
	if many > few+16*mib { // the buffers of one decompressor, should the pool have lost them
		t.Errorf("allocated %d bytes for 32 MiB and %d for 512 MiB", few, many)
	}
}

func TestImageLargerThanItsPartition(t *testing.T) {
	client, sources := published(t, 2*mib)
	_, err := newTestEngine(t).writePart(t.Context(), &patternDisk{}, partition(mib), client, sources[2*mib])
	if err == nil || !strings.Contains(err.Error(), "larger than its partition ROOT-B of 1048576 bytes") {
		t.Errorf("got error %v", err)
	}
}

func TestDiskThatForgets(t *testing.T) {
	client, sources := published(t, 2*mib)
	e, disk := newTestEngine(t), &patternDisk{forget: true}
	part, err := e.writePart(t.Context(), disk, partition(2*mib), client, sources[2*mib])
	if err != nil {
		t.Fatal(err)
	}
	if err := readBack(disk, partition(2*mib), part); !errors.Is(err, errReadBack) {
		t.Errorf("got error %v", err)
	}
}

func BenchmarkWriteImage(b *testing.B) {
	const size = 64 * mib
	client, sources := published(b, size)
	e := newTestEngine(b)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.writePart(b.Context(), &patternDisk{}, partition(size), client, sources[size]); err != nil {
			b.Fatal(err)
		}
	}
}
