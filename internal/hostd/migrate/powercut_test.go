// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package migrate

import (
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/drydock-os/drydock/internal/hostd/store"
	"github.com/drydock-os/drydock/internal/testutil/powercut"
)

// The power goes while the links are switched: the store is that of one version, whole, and the next start goes on.
// Going back to the settings of before, which switches links only, keeps to the same.
func TestPowerCutWhileTheLinksAreSwitched(t *testing.T) {
	type state struct{ version, motd string }
	for _, tc := range []struct {
		name     string
		from, to string
		before   func(host) // done before the migration
		old, new state
	}{
		{"patch", "1.2.0", "1.2.1", nil, state{"1.2.0", "hi"}, state{"1.2.1", "hi"}},
		{"minor", "1.0.0", "1.1.0", nil, state{"1.0.0", "hi"}, state{"1.1.0", "hi a--forward"}},
		{"major, several steps", "1.0.0", "2.0.0", nil, state{"1.0.0", "hi"}, state{"2.0.0", "hi long1--forward long2--forward c--forward"}},
		{"backward", "2.0.0", "1.2.1", nil, state{"2.0.0", "hi"}, state{"1.2.1", "hi c--backward"}},
		{"forward again, over links that are there", "1.0.0", "1.1.0", func(h host) {
			h.mustMigrate("1.1.0")
			h.mustMigrate("1.0.0")
			h.set("again")
		}, state{"1.0.0", "again"}, state{"1.1.0", "again a--forward"}},
		{"back to the settings of before", "1.0.0", "1.0.0", func(h host) {
			h.mustMigrate("1.1.0")
			h.set("new")
		}, state{"1.1.0", "new"}, state{"1.0.0", "hi"}},
	} {
		t.Run(tc.name, func(t *testing.T) { // not in parallel: the programs of one would hold the lock of another until they run
			h := newHost(t, tc.from)
			if tc.before != nil {
				tc.before(h)
			}
			rec := &powercut.Recorder{FS: store.DiskFS{}, T: t, Base: h.dir}
			h.fs = rec
			h.mustMigrate(tc.to)
			h.fs = nil
			seen := map[state]int{}
			chance := rand.New(rand.NewPCG(1, 2))
			var tried []powercut.Disk
			for cut := range rec.Changes() + 1 {
				for _, disk := range rec.Crashes(cut, chance) {
					if cut < rec.Changes() && slices.ContainsFunc(tried, func(d powercut.Disk) bool { return maps.Equal(d, disk) }) {
						continue
					}
					tried = append(tried, disk)
					c := h
					c.dir = filepath.Join(t.TempDir(), "datastore")
					if err := os.Mkdir(c.dir, 0o700); err != nil {
						t.Fatal(err)
					}
					disk.Put(t, c.dir)
					found := state(c.says())
					seen[found]++
					if found != tc.new && (found != tc.old || cut == rec.Changes()) {
						t.Fatalf("cut after change %d of %d: the store says %+v", cut, rec.Changes(), found)
					}
					// The system that was to start, starts again.
					c.mustMigrate(tc.to)
					if got := state(c.says()); got != tc.new {
						t.Fatalf("cut after change %d of %d, then a start: the store says %+v, want %+v", cut, rec.Changes(), got, tc.new)
					}
					c.prove(1)
					if got := state(c.says()); got != tc.new {
						t.Fatalf("cut after change %d of %d, then a start: the store says %+v once it has proved itself", cut, rec.Changes(), got)
					}
				}
			}
			t.Logf("%d changes, seen %v", rec.Changes(), seen)
			if seen[tc.old] == 0 || seen[tc.new] == 0 || rec.Changes() < 12 {
				t.Errorf("%d changes, seen %v", rec.Changes(), seen)
			}
		})
	}
}

// The power goes while a migration writes: whatever it has left behind is no store, and is gone once the next start has
// brought the host to its version.
func TestPowerCutWhileAMigrationWrites(t *testing.T) {
	h := newHost(t, "1.0.0")
	for _, name := range []string{"v1.1.0_0123456789abcdef", "v1.1.0_ABCDEFGHIJKLMNOP"} {
		dir := filepath.Join(h.dir, name)
		if err := os.MkdirAll(filepath.Join(dir, "live/settings"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "live/settings/motd"), []byte(`"ha`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.want("1.0.0", "hi", 3)
	h.mustMigrate("1.1.0")
	h.want("1.1.0", "hi a--forward", 2)
}

func (h host) mustMigrate(to string) {
	h.t.Helper()
	if err := h.migrate(to); err != nil {
		h.t.Fatal(err)
	}
}

// says returns version and setting of the store as whoever opens it finds them.
func (h host) says() struct{ version, motd string } {
	h.t.Helper()
	s, err := store.Open(store.Config{Dir: h.dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		h.t.Fatal(err)
	}
	defer s.Close()
	return struct{ version, motd string }{s.Version(), h.motd(s)}
}
