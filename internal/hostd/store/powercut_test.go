// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package store

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// change is one recorded call of an FS; paths are relative to the store's directory.
type change struct {
	op, from, to string
	data         []byte
}

// recorder carries changes out and remembers them.
type recorder struct {
	FS
	base string
	log  []change
}

func (r *recorder) add(op, from, to string, data []byte) {
	rel := func(p string) string {
		if out, err := filepath.Rel(r.base, p); err == nil && filepath.IsAbs(p) {
			return out
		}
		return p
	}
	r.log = append(r.log, change{op, rel(from), rel(to), data})
}

func (r *recorder) Mkdir(p string) error   { r.add("mkdir", "", p, nil); return r.FS.Mkdir(p) }
func (r *recorder) Link(a, b string) error { r.add("link", a, b, nil); return r.FS.Link(a, b) }
func (r *recorder) Create(p string, d []byte) error {
	r.add("create", "", p, slices.Clone(d))
	return r.FS.Create(p, d)
}
func (r *recorder) Symlink(target, p string) error {
	r.add("symlink", target, p, nil)
	return r.FS.Symlink(target, p)
}
func (r *recorder) Rename(a, b string) error { r.add("rename", a, b, nil); return r.FS.Rename(a, b) }
func (r *recorder) RemoveAll(p string) error {
	r.add("remove", "", p, nil)
	return r.FS.RemoveAll(p)
}
func (r *recorder) SyncAll(p string) error { r.add("syncall", "", p, nil); return r.FS.SyncAll(p) }
func (r *recorder) SyncDir(p string) error { r.add("syncdir", "", p, nil); return r.FS.SyncDir(p) }

// disk is what a file system holds: path to content.
type disk map[string]entry

type entry struct {
	kind fs.FileMode // fs.ModeDir, fs.ModeSymlink or 0
	data string
}

// readDisk takes a picture of everything below base.
func readDisk(t *testing.T, base string) disk {
	t.Helper()
	d := disk{}
	err := filepath.WalkDir(base, func(p string, e fs.DirEntry, err error) error {
		if err != nil || p == base {
			return err
		}
		rel, err := filepath.Rel(base, p)
		if err != nil {
			return err
		}
		got := entry{kind: e.Type()}
		switch e.Type() {
		case fs.ModeSymlink:
			got.data, err = os.Readlink(p)
		case 0:
			var data []byte
			data, err = os.ReadFile(p)
			got.data = string(data)
		}
		d[rel] = got
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// put makes base hold exactly d.
func (d disk) put(t *testing.T, base string) {
	t.Helper()
	for _, p := range slices.Sorted(maps.Keys(d)) { // parents sort before what is in them
		full := filepath.Join(base, p)
		var err error
		switch d[p].kind {
		case fs.ModeDir:
			err = os.Mkdir(full, 0o755)
		case fs.ModeSymlink:
			err = os.Symlink(d[p].data, full)
		default:
			err = os.WriteFile(full, []byte(d[p].data), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// apply carries out a change as far as what is there allows; chance, if not nil, decides about parts of it.
func (d disk) apply(c change, chance *rand.Rand) {
	parent := filepath.Dir(c.to)
	if _, ok := d[parent]; !ok && parent != "." {
		return
	}
	switch c.op {
	case "mkdir":
		d[c.to] = entry{kind: fs.ModeDir}
	case "symlink":
		d[c.to] = entry{fs.ModeSymlink, c.from}
	case "create":
		data := c.data
		if chance != nil {
			data = data[:chance.IntN(len(data)+1)] // the name came to the disk before the content
		}
		d[c.to] = entry{data: string(data)}
	case "link":
		if e, ok := d[c.from]; ok {
			d[c.to] = e
		}
	case "rename":
		if e, ok := d[c.from]; ok {
			delete(d, c.from)
			d[c.to] = e
		}
	case "remove":
		for p := range d {
			if (p == c.to || strings.HasPrefix(p, c.to+"/")) && (chance == nil || chance.IntN(2) == 0) {
				delete(d, p)
			}
		}
		for p := range d { // nothing is left in a directory that is gone
			for up := filepath.Dir(p); up != "."; up = filepath.Dir(up) {
				if _, ok := d[up]; !ok {
					delete(d, p)
				}
			}
		}
	}
}

// crashes returns what the disk may hold when the power goes after the changes of log.
func crashes(start disk, log []change, chance *rand.Rand) []disk {
	firm := make([]bool, len(log)) // changes that a sync has made durable
	loose := false
	for i, c := range log {
		for j, earlier := range log[:i] {
			if c.op == "syncall" && strings.HasPrefix(earlier.to, c.to+"/") || c.op == "syncdir" && filepath.Dir(earlier.to) == c.to {
				firm[j] = true
			}
		}
	}
	replay := func(keep func(i int) bool, chance *rand.Rand) disk {
		d := maps.Clone(start)
		for i, c := range log {
			switch {
			case firm[i]:
				d.apply(c, nil)
			case keep(i):
				loose = true
				d.apply(c, chance)
			}
		}
		return d
	}
	states := []disk{
		replay(func(int) bool { return false }, nil),
		replay(func(int) bool { return true }, nil),
		// Names that are switched come to the disk before what they lead to.
		replay(func(i int) bool { return log[i].op == "symlink" || log[i].op == "rename" }, nil),
	}
	for range 2 {
		if loose {
			states = append(states, replay(func(int) bool { return chance.IntN(3) > 0 }, chance))
		}
	}
	return states
}

func TestPowerCutDuringCommit(t *testing.T) {
	base := t.TempDir()
	rec := &recorder{FS: diskFS{}, base: base}
	s := newStore(t, Config{Dir: base, FS: rec})
	commit(t, s, "settings.motd", `"old"`, "settings.kept", `true`, "settings.a.b", `1`)
	start, from := readDisk(t, base), len(rec.log)
	before := flat(s.Live().Values)
	if err := s.Put("other", values(t, "settings.motd", `"other"`)); err != nil {
		t.Fatal(err)
	}
	commit(t, s, "settings.motd", `"new"`, "settings.a.b", `2`, "settings.a.c.d", `3`)
	after := flat(s.Live().Values)
	s.Close()

	log := rec.log[from:]
	chance := rand.New(rand.NewPCG(1, 2))
	seen := map[bool]int{}
	var tried []disk
	for cut := range len(log) + 1 {
		for _, state := range crashes(start, log[:cut], chance) {
			if cut < len(log) && slices.ContainsFunc(tried, func(d disk) bool { return maps.Equal(d, state) }) {
				continue
			}
			tried = append(tried, state)
			dir := t.TempDir()
			state.put(t, dir)
			again, err := Open(Config{Dir: dir})
			if err != nil {
				t.Fatalf("cut after change %d of %d: %v", cut, len(log), err)
			}
			got := flat(again.Live().Values)
			isNew := cmp.Equal(after, got)
			seen[isNew]++
			if !isNew && (cut == len(log) || !cmp.Equal(before, got)) {
				t.Errorf("cut after change %d of %d: neither old nor new:\n%s", cut, len(log), cmp.Diff(after, got))
			}
			if err := again.DropAll(); err != nil {
				t.Errorf("cut after change %d: dropping pending: %v", cut, err)
			}
			again.Close()
		}
	}
	if seen[false] == 0 || seen[true] == 0 || len(log) < 20 {
		t.Errorf("%d changes, old and new seen: %v", len(log), seen)
	}
}

func TestPowerCutDuringCreation(t *testing.T) {
	base := t.TempDir()
	rec := &recorder{FS: diskFS{}, base: base}
	s := newStore(t, Config{Dir: base, FS: rec})
	want, live := flat(s.Live().Values), s.Live()
	s.Close()
	chance := rand.New(rand.NewPCG(3, 4))
	for cut := range len(rec.log) + 1 {
		for _, state := range crashes(disk{}, rec.log[:cut], chance) {
			dir := t.TempDir()
			state.put(t, dir)
			again, err := Open(Config{Dir: dir})
			if errors.Is(err, fs.ErrNotExist) && cut < len(rec.log) {
				again, err = Create(Config{Dir: dir}, "1.26.1", live)
			}
			if err != nil {
				t.Fatalf("cut after change %d of %d: %v", cut, len(rec.log), err)
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
