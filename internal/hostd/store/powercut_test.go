// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package store

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drydock-os/drydock/internal/testutil/powercut"
)

func TestPowerCutDuringCommit(t *testing.T) {
	base := t.TempDir()
	rec := &powercut.Recorder{FS: DiskFS{}, T: t, Base: base}
	s := newStore(t, Config{Dir: base, FS: rec})
	commit(t, s, "settings.motd", `"old"`, "settings.kept", `true`, "settings.a.b", `1`)
	rec.Reset()
	before := flat(s.Live().Values)
	if err := s.Put("other", values(t, "settings.motd", `"other"`)); err != nil {
		t.Fatal(err)
	}
	commit(t, s, "settings.motd", `"new"`, "settings.a.b", `2`, "settings.a.c.d", `3`)
	after := flat(s.Live().Values)
	s.Close()

	changes := rec.Changes()
	chance := rand.New(rand.NewPCG(1, 2))
	seen := map[bool]int{}
	var tried []powercut.Disk
	for cut := range changes + 1 {
		for _, state := range rec.Crashes(cut, chance) {
			if cut < changes && slices.ContainsFunc(tried, func(d powercut.Disk) bool { return maps.Equal(d, state) }) {
				continue
			}
			tried = append(tried, state)
			dir := t.TempDir()
			state.Put(t, dir)
			again, err := Open(Config{Dir: dir})
			if err != nil {
				t.Fatalf("cut after change %d of %d: %v", cut, changes, err)
			}
			got := flat(again.Live().Values)
			isNew := cmp.Equal(after, got)
			seen[isNew]++
			if !isNew && (cut == changes || !cmp.Equal(before, got)) {
				t.Errorf("cut after change %d of %d: neither old nor new:\n%s", cut, changes, cmp.Diff(after, got))
			}
			if err := again.DropAll(); err != nil {
				t.Errorf("cut after change %d: dropping pending: %v", cut, err)
			}
			again.Close()
		}
	}
	if seen[false] == 0 || seen[true] == 0 || changes < 20 {
		t.Errorf("%d changes, old and new seen: %v", changes, seen)
	}
}

func TestPowerCutDuringCreation(t *testing.T) {
	base := t.TempDir()
	rec := &powercut.Recorder{FS: DiskFS{}, T: t, Base: base}
	s := newStore(t, Config{Dir: base, FS: rec})
	want, live := flat(s.Live().Values), s.Live()
	s.Close()
	chance := rand.New(rand.NewPCG(3, 4))
	for cut := range rec.Changes() + 1 {
		for _, state := range rec.Crashes(cut, chance) {
			dir := t.TempDir()
			state.Put(t, dir)
			again, err := Open(Config{Dir: dir})
			if errors.Is(err, fs.ErrNotExist) && cut < rec.Changes() {
				again, err = Create(Config{Dir: dir}, "1.26.1", live)
			}
			if err != nil {
				t.Fatalf("cut after change %d of %d: %v", cut, rec.Changes(), err)
			}
			if diff := cmp.Diff(want, flat(again.Live().Values)); diff != "" {
				t.Errorf("cut after change %d: (-want +got)\n%s", cut, diff)
			}
			again.Close()
		}
	}
}

func BenchmarkCommitOf300Keys(b *testing.B) {
	s := newStore(b, Config{})
	var pairs []string
	for i := range 300 {
		pairs = append(pairs, "settings.group"+string(rune('a'+i%26))+".key"+string(rune('a'+i/26)), `"value"`)
	}
	commit(b, s, pairs...)
	for b.Loop() {
		commit(b, s, "settings.motd", `"x"`)
	}
}
