// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package engine

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostd/system"
	"github.com/drydock-os/drydock/internal/osimage"
	"github.com/drydock-os/drydock/internal/slot"
	"github.com/drydock-os/drydock/internal/tuf"
)

// updated is a host with version 1.0.0 in slot A of its disk, and what it takes to write 1.1.0 to slot B.
type updated struct {
	engine  *Engine
	disk    string
	client  *tuf.Client
	sources []source
	image   hostapi.Image
	sizes   map[slot.Part]int64 // of the new version's parts
}

// newUpdated publishes what change has made of the images of the new version.
func newUpdated(t *testing.T, change func(made *osimage.Image)) *updated {
	t.Helper()
	dir := t.TempDir()
	build := func(version string) *osimage.Image {
		spec := osimage.Spec{Variant: "metal", Arch: "x86_64", Version: version, Size: mib}
		made, err := osimage.Build(t.Context(), spec, filepath.Join(dir, version))
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	u := &updated{disk: filepath.Join(dir, "disk.img"), image: hostapi.Image{Variant: "metal", Arch: "x86_64", Version: "1.1.0"}}
	if err := osimage.WriteDisk(t.Context(), u.disk, osimage.LayoutFor(mib), build("1.0.0")); err != nil {
		t.Fatal(err)
	}
	made := build("1.1.0")
	if change != nil {
		change(made)
	}
	u.sizes = map[slot.Part]int64{slot.Root: made.RootSize, slot.Boot: made.BootSize, slot.Hash: made.HashSize}
	targets, err := made.WriteTargets(t.Context(), filepath.Join(dir, "targets"))
	if err != nil {
		t.Fatal(err)
	}
	repo, keys := filepath.Join(dir, "repo"), filepath.Join(dir, "keys")
	root, err := tuf.Init(t.Context(), repo, keys, tuf.InitOptions{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	r, err := tuf.OpenRepository(tuf.RepositoryConfig{Dir: repo, KeysDir: keys, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	var published []tuf.Source
	for _, target := range targets {
		published = append(published, tuf.Source{Name: target.Name, Path: target.Path})
	}
	if _, err := r.Publish(t.Context(), "m/x", published); err != nil {
		t.Fatal(err)
	}
	r.Close()
	server := httptest.NewServer(http.FileServer(http.Dir(repo)))
	t.Cleanup(server.Close)
	trusted, err := os.ReadFile(root)
	if err != nil {
		t.Fatal(err)
	}
	u.client, err = tuf.NewClient(tuf.Config{
		TrustedRoot: trusted, Dir: t.TempDir(), MetadataURL: server.URL + "/m/x", TargetsURL: server.URL + "/targets",
	})
	if err == nil {
		err = u.client.Refresh(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range targets {
		found, err := u.client.Lookup(target.Name)
		if err != nil {
			t.Fatal(err)
		}
		u.sources = append(u.sources, source{target.Part, found})
	}
	u.engine, err = New(Config{Root: t.TempDir(), Disk: system.NewDisk(u.disk), System: &system.Identity{Slot: slot.A}})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// on calls f with the disk open.
func (u *updated) on(t *testing.T, f func(gpt.Disk, *slot.Table)) {
	t.Helper()
	file, err := gpt.OpenFile(u.disk, true)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	table, err := slot.Open(file, file.Size())
	if err != nil {
		t.Fatal(err)
	}
	f(file, table)
}

// liar is a disk that returns one bit other than it was written.
type liar struct {
	gpt.Disk
	at int64
}

func (l liar) ReadAt(p []byte, off int64) (int, error) {
	n, err := l.Disk.ReadAt(p, off)
	if l.at >= off && l.at < off+int64(n) {
		p[l.at-off] ^= 1
	}
	return n, err
}

// Wherever in the new system a disk returns something else than was written to it, the slot cannot boot.
func TestDiskThatLies(t *testing.T) {
	u := newUpdated(t, nil)
	for part, size := range u.sizes {
		for _, at := range []int64{0, size / 2, size - 1} {
			u.on(t, func(d gpt.Disk, table *slot.Table) {
				lying := liar{d, table.Partition(slot.B, part).Offset() + at}
				err := u.engine.write(t.Context(), lying, table, u.client, u.image, u.sources)
				if err == nil || !strings.Contains(err.Error(), errReadBack.Error()) {
					t.Errorf("%v, byte %d of %d: got error %v", part, at, size, err)
				}
				if f := table.Flags(slot.B); f != (slot.Flags{}) {
					t.Errorf("%v, byte %d of %d: flags %+v", part, at, size, f)
				}
			})
		}
	}
	u.on(t, func(d gpt.Disk, table *slot.Table) {
		if err := u.engine.write(t.Context(), d, table, u.client, u.image, u.sources); err != nil {
			t.Fatal(err)
		}
		if f := table.Flags(slot.B); f != (slot.Flags{Tries: 1}) {
			t.Errorf("flags %+v", f)
		}
		if !u.engine.holds(t.Context(), d, table, u.image, u.sources) {
			t.Error("the slot is not recognized as what was written to it")
		}
		for part, size := range u.sizes {
			if u.engine.holds(t.Context(), liar{d, table.Partition(slot.B, part).Offset() + size - 1}, table, u.image, u.sources) {
				t.Errorf("a slot with damage in its %v partition is taken for good", part)
			}
		}
	})
}

// Parts that were signed, and do not make one system, are not made bootable.
func TestPartsThatDoNotFit(t *testing.T) {
	grow := func(by int64) func(*osimage.Image) {
		return func(made *osimage.Image) {
			info, err := os.Stat(made.Path(slot.Root))
			if err == nil {
				err = os.Truncate(made.Path(slot.Root), info.Size()+by)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tc := range []struct {
		name   string
		change func(*osimage.Image)
		want   string
	}{
		{"root file system of another system", func(made *osimage.Image) {
			f, err := os.OpenFile(made.Path(slot.Root), os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteAt([]byte("other"), mib/2)
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "published with a hash tree of something else"},
		{"more than the tree covers", grow(4096), "has 1052672 bytes, its hash tree covers 1048576"},
		{"less than the tree covers", grow(-4096), "published with a hash tree of something else"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := newUpdated(t, tc.change)
			u.on(t, func(d gpt.Disk, table *slot.Table) {
				err := u.engine.write(t.Context(), d, table, u.client, u.image, u.sources)
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("got error %v, want something about %q", err, tc.want)
				}
				if f := table.Flags(slot.B); f != (slot.Flags{}) {
					t.Errorf("flags %+v", f)
				}
			})
		})
	}
}

// A command that is stopped while it checks does not take that for a result.
func TestStoppedWhileChecking(t *testing.T) {
	u := newUpdated(t, nil)
	u.on(t, func(d gpt.Disk, table *slot.Table) {
		if err := u.engine.write(t.Context(), d, table, u.client, u.image, u.sources); err != nil {
			t.Fatal(err)
		}
		s, err := u.engine.loadStaged()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := u.engine.verify(ctx, d, table, s); !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v", err)
		}
	})
}
