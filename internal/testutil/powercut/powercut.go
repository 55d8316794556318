// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package powercut says what a file system may hold after the power went, for tests.
//
// A Recorder carries changes out and remembers them. Crashes then lists what may be there when the power goes after some
// of them: whatever a sync has made durable, and of the rest nothing, everything, names without their contents, or any
// part in any order.
package powercut

import (
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// FS is what programs change file systems with: store.FS, which cannot be named here because its tests use this package.
type FS interface {
	Mkdir(path string) error
	Create(path string, data []byte) error
	Link(from, to string) error
	Symlink(target, path string) error
	Rename(from, to string) error
	RemoveAll(path string) error
	SyncAll(dir string) error
	SyncDir(dir string) error
}

// change is one recorded call of an FS; paths are relative to the store's directory.
type change struct {
	op, from, to string
	data         []byte
}

// Recorder is an FS that carries changes out and remembers them.
type Recorder struct {
	FS
	T     testing.TB
	Base  string // a directory; what is there before the first change has survived every cut
	start Disk
	log   []change
}

// Changes returns how many changes there were.
func (r *Recorder) Changes() int { return len(r.log) }

// Reset forgets all changes: what is there now has survived.
func (r *Recorder) Reset() { r.log = nil }

func (r *Recorder) add(op, from, to string, data []byte) {
	if len(r.log) == 0 {
		r.start = read(r.T, r.Base)
	}
	rel := func(p string) string {
		if out, err := filepath.Rel(r.Base, p); err == nil && filepath.IsAbs(p) {
			return out
		}
		return p
	}
	r.log = append(r.log, change{op, rel(from), rel(to), data})
}

// Mkdir implements FS.
func (r *Recorder) Mkdir(p string) error { r.add("mkdir", "", p, nil); return r.FS.Mkdir(p) }

// Link implements FS.
func (r *Recorder) Link(a, b string) error { r.add("link", a, b, nil); return r.FS.Link(a, b) }

// Create implements FS.
func (r *Recorder) Create(p string, d []byte) error {
	r.add("create", "", p, slices.Clone(d))
	return r.FS.Create(p, d)
}

// Symlink implements FS.
func (r *Recorder) Symlink(target, p string) error {
	r.add("symlink", target, p, nil)
	return r.FS.Symlink(target, p)
}

// Rename implements FS.
func (r *Recorder) Rename(a, b string) error { r.add("rename", a, b, nil); return r.FS.Rename(a, b) }

// RemoveAll implements FS.
func (r *Recorder) RemoveAll(p string) error {
	r.add("remove", "", p, nil)
	return r.FS.RemoveAll(p)
}

// SyncAll implements FS.
func (r *Recorder) SyncAll(p string) error { r.add("syncall", "", p, nil); return r.FS.SyncAll(p) }

// SyncDir implements FS.
func (r *Recorder) SyncDir(p string) error { r.add("syncdir", "", p, nil); return r.FS.SyncDir(p) }

// Disk is what a file system holds: path to content.
type Disk map[string]entry

type entry struct {
	kind fs.FileMode // fs.ModeDir, fs.ModeSymlink or 0
	data string
}

// read takes a picture of everything below base.
func read(t testing.TB, base string) Disk {
	t.Helper()
	d := Disk{}
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

// Put makes base, an empty directory, hold exactly d.
func (d Disk) Put(t testing.TB, base string) {
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
func (d Disk) apply(c change, chance *rand.Rand) {
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

// Crashes returns what the disk may hold when the power goes after n changes.
func (r *Recorder) Crashes(n int, chance *rand.Rand) []Disk {
	log := r.log[:n]
	firm := make([]bool, len(log)) // changes that a sync has made durable
	loose := false
	for i, c := range log {
		for j, earlier := range log[:i] {
			if c.op == "syncall" && strings.HasPrefix(earlier.to, c.to+"/") || c.op == "syncdir" && filepath.Dir(earlier.to) == c.to {
				firm[j] = true
			}
		}
	}
	replay := func(keep func(i int) bool, chance *rand.Rand) Disk {
		d := maps.Clone(r.start)
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
	states := []Disk{
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
