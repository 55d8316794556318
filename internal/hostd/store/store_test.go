// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func mustKey(t testing.TB, name string) Key {
	t.Helper()
	k, err := ParseKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// values makes a map of alternating names and JSON texts.
func values(t testing.TB, pairs ...string) map[Key]Value {
	t.Helper()
	m := map[Key]Value{}
	for i := 0; i < len(pairs); i += 2 {
		m[mustKey(t, pairs[i])] = Value(pairs[i+1])
	}
	return m
}

func flat(m map[Key]Value) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		out[k.String()] = string(v)
	}
	return out
}

func newStore(t testing.TB, cfg Config) *Store {
	t.Helper()
	live := NewData()
	live.Values = values(t, "services.motd.restart-commands", `[]`)
	live.SetMetadata(mustKey(t, "settings.motd"), AffectedServices, Value(`["motd"]`))
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "datastore")
	}
	s, err := Create(cfg, "1.26.1", live)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func commit(t testing.TB, s *Store, pairs ...string) {
	t.Helper()
	if err := s.Put("default", values(t, pairs...)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit("default"); err != nil {
		t.Fatal(err)
	}
}

func TestLayoutOnDisk(t *testing.T) {
	s := newStore(t, Config{})
	commit(t, s, "settings.motd", `"hi\n"`, `settings.kubernetes.node-labels."a.b/c"`, `"x"`, "settings.ntp.time-servers", `["a","b"]`)
	if err := s.Put("test transaction", values(t, "settings.motd", `"later"`)); err != nil {
		t.Fatal(err)
	}
	base := s.cfg.Dir
	got := map[string]string{}
	for _, link := range []string{"current", "v1", "v1.26"} {
		target, err := os.Readlink(filepath.Join(base, link))
		if err != nil {
			t.Fatal(err)
		}
		got[link] = target
	}
	target, err := os.Readlink(filepath.Join(base, "v1.26.1"))
	if err != nil || !dataDir.MatchString(target) {
		t.Errorf("v1.26.1 -> %q, %v", target, err)
	}
	err = walk(filepath.Join(base, target), func(name string) error {
		data, err := os.ReadFile(filepath.Join(base, "current", name))
		got[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"current": "v1", "v1": "v1.26", "v1.26": "v1.26.1",
		"live/settings/motd":                             `"hi\n"`,
		"live/settings/motd.affected-services":           `["motd"]`,
		"live/settings/kubernetes/node-labels/a%2Eb%2Fc": `"x"`,
		"live/settings/ntp/time-servers":                 `["a","b"]`,
		"live/services/motd/restart-commands":            `[]`,
		"pending/test%20transaction/settings/motd":       `"later"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("on disk (-want +got):\n%s", diff)
	}
	if info, err := os.Lstat(filepath.Join(base, "current", "live")); err != nil || !info.IsDir() {
		t.Errorf("live is no directory: %v", err)
	}
	if info, err := os.Stat(filepath.Join(base, target)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("others may look at secrets: %v %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(base)
	if err != nil || len(entries) != 5 {
		t.Errorf("%d entries, want the four links and one directory: %v %v", len(entries), entries, err)
	}
}

func TestStoreOfTheOriginalIsRead(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "v1.0.0_AbCdEfGhIjKlMnOp")
	for name, content := range map[string]string{
		"live/settings/motd":                           `"hello"`,
		"live/settings/updates/seed":                   `7`,
		"live/settings/updates/seed.setting-generator": `"bork seed"`,
		"live/os/arch":                                 `"x86_64"`, // left by an old migration
		"live/settings/bad%2name":                      `"x"`,
		"live/settings/.hidden":                        `"x"`,
		"live/settings/broken":                         ``,
		"live/settings/object":                         `{"a":1}`,
		"live/settings/b%6Fth":                         `"x"`, // not how a name is written
		"pending/default/settings/motd":                `"new"`,
	} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"current": "v1", "v1": "v1.0", "v1.0": "v1.0.0", "v1.0.0": filepath.Base(dir), "v1.0.0_AbCdEfGhIjKlMnOp/live/settings/link": "motd"} {
		if err := os.Symlink(target, filepath.Join(base, link)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(Config{Dir: base})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Version() != "1.0.0" {
		t.Errorf("version %q", s.Version())
	}
	want := map[string]string{"settings.motd": `"hello"`, "settings.updates.seed": "7", "os.arch": `"x86_64"`}
	if diff := cmp.Diff(want, flat(s.Live().Values)); diff != "" {
		t.Errorf("live (-want +got):\n%s", diff)
	}
	if v, ok := s.Live().Inherited(mustKey(t, "settings.updates.seed"), SettingGenerator); !ok || string(v) != `"bork seed"` {
		t.Errorf("generator %s %v", v, ok)
	}
	if _, err := s.Commit("default"); err != nil {
		t.Fatal(err)
	}
	for _, kept := range []string{"live/settings/bad%2name", "live/settings/broken"} {
		if _, err := os.Lstat(filepath.Join(base, "current", kept)); err != nil {
			t.Errorf("a commit lost a file: %v", err)
		}
	}
}

func TestTransactions(t *testing.T) {
	s := newStore(t, Config{})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Put("a", values(t, "settings.motd", `"a"`, "settings.x", `1`)))
	must(s.Put("a", values(t, "settings.motd", `"a2"`)))
	must(s.Put("b", values(t, "settings.motd", `"b"`)))
	must(s.Put("c", nil))
	names, err := s.Transactions()
	if diff := cmp.Diff([]string{"a", "b"}, names); err != nil || diff != "" {
		t.Errorf("transactions: %v %s", err, diff)
	}
	got, err := s.Pending("a")
	if diff := cmp.Diff(map[string]string{"settings.motd": `"a2"`, "settings.x": "1"}, flat(got)); err != nil || diff != "" {
		t.Errorf("pending: %v %s", err, diff)
	}
	if _, ok := s.Live().Values[mustKey(t, "settings.motd")]; ok {
		t.Error("a pending value counts")
	}
	keys, err := s.Commit("a")
	if diff := cmp.Diff([]string{"settings.motd", "settings.x"}, spell(keys)); err != nil || diff != "" {
		t.Errorf("commit: %v %s", err, diff)
	}
	if _, err := s.Commit("a"); !errors.Is(err, ErrNothingPending) {
		t.Errorf("second commit: %v", err)
	}
	if got, err := s.Pending("b"); err != nil || len(got) != 1 {
		t.Errorf("the other transaction: %v %v", got, err)
	}
	if _, err := s.Commit("b"); err != nil || string(s.Live().Values[mustKey(t, "settings.motd")]) != `"b"` {
		t.Errorf("last commit does not win: %v", err)
	}
	must(s.Put("d", values(t, "settings.motd", `"d"`)))
	if keys, err := s.Drop("d"); err != nil || len(keys) != 1 {
		t.Errorf("drop: %v %v", keys, err)
	}
	if keys, err := s.Drop("d"); err != nil || len(keys) != 0 {
		t.Errorf("drop of nothing: %v %v", keys, err)
	}
	must(s.Put("e", values(t, "settings.motd", `"e"`)))
	must(s.DropAll())
	must(s.DropAll())
	if names, err := s.Transactions(); err != nil || len(names) != 0 {
		t.Errorf("after dropping all: %v %v", names, err)
	}
	for _, bad := range []string{"", strings.Repeat("x", 256), strings.Repeat(" ", 86)} {
		_, commitErr := s.Commit(bad)
		_, dropErr := s.Drop(bad)
		_, pendingErr := s.Pending(bad)
		for _, err := range []error{commitErr, dropErr, pendingErr, s.Put(bad, values(t, "settings.motd", `"x"`))} {
			if !errors.Is(err, ErrTransaction) {
				t.Errorf("transaction %q: %v", bad, err)
			}
		}
	}
}

func spell(keys []Key) []string {
	var out []string
	for _, k := range keys {
		out = append(out, k.String())
	}
	return out
}

func TestOnlySettingsAreCommitted(t *testing.T) {
	s := newStore(t, Config{})
	if err := s.Put("x", values(t, "services.motd.restart-commands", `["rm"]`)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit("x"); !errors.Is(err, ErrNothingPending) {
		t.Errorf("commit of a service: %v", err)
	}
}

func TestReopen(t *testing.T) {
	s := newStore(t, Config{})
	commit(t, s, "settings.motd", `"kept"`)
	if err := s.Put("open", values(t, "settings.motd", `"pending"`)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: s.cfg.Dir}); !errors.Is(err, ErrLocked) {
		t.Errorf("second process: %v", err)
	}
	live := flat(s.Live().Values)
	s.Close()
	orphan := filepath.Join(s.cfg.Dir, "v1.26.1_0123456789abcdef")
	other := filepath.Join(s.cfg.Dir, "v1.25.0_0123456789abcdef")
	temporary := filepath.Join(s.cfg.Dir, ".new.0123456789abcdef")
	if err := errors.Join(os.Mkdir(orphan, 0o755), os.Mkdir(other, 0o755), os.Symlink("v1", temporary)); err != nil {
		t.Fatal(err)
	}
	again, err := Open(Config{Dir: s.cfg.Dir})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if diff := cmp.Diff(live, flat(again.Live().Values)); diff != "" {
		t.Errorf("live after reopening:\n%s", diff)
	}
	if got, err := again.Pending("open"); err != nil || len(got) != 1 {
		t.Errorf("pending after reopening: %v %v", got, err)
	}
	for name, want := range map[string]bool{orphan: false, temporary: false, other: true} {
		if _, err := os.Lstat(name); (err == nil) != want {
			t.Errorf("%s exists: %v, want %v", filepath.Base(name), err == nil, want)
		}
	}
}

func TestDamagedStores(t *testing.T) {
	for name, damage := range map[string]func(base, data string) error{
		"no live directory": func(_, data string) error { return os.RemoveAll(filepath.Join(data, "live")) },
		"no data directory": func(_, data string) error { return os.RemoveAll(data) },
		"link in a circle": func(base, _ string) error {
			return errors.Join(os.Remove(filepath.Join(base, "v1.26.1")), os.Symlink("current", filepath.Join(base, "v1.26.1")))
		},
		"link out of the store": func(base, _ string) error {
			return errors.Join(os.Remove(filepath.Join(base, "v1.26.1")), os.Symlink("../elsewhere", filepath.Join(base, "v1.26.1")))
		},
		"link to a file": func(_, data string) error {
			return errors.Join(os.RemoveAll(data), os.WriteFile(data, nil, 0o600))
		},
	} {
		s := newStore(t, Config{})
		s.Close()
		if err := damage(s.cfg.Dir, s.at.dir()); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(Config{Dir: s.cfg.Dir}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	if _, err := Open(Config{Dir: t.TempDir()}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty directory: %v", err)
	}
	if _, err := Create(Config{Dir: t.TempDir()}, "v1", NewData()); err == nil {
		t.Error("a version with v was accepted")
	}
	s := newStore(t, Config{})
	s.Close()
	if _, err := Create(Config{Dir: s.cfg.Dir}, "1.26.1", NewData()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("creating over a store: %v", err)
	}
}

// failFS fails every change but RemoveAll once left of them have been made, as a full or dying disk does.
type failFS struct {
	FS
	left int
	err  error
}

func (f *failFS) do(op, name string, change func() error) error {
	if f.left--; f.left < 0 {
		return &fs.PathError{Op: op, Path: name, Err: f.err}
	}
	return change()
}

func (f *failFS) Mkdir(p string) error {
	return f.do("mkdir", p, func() error { return f.FS.Mkdir(p) })
}
func (f *failFS) Create(p string, d []byte) error {
	return f.do("create", p, func() error { return f.FS.Create(p, d) })
}
func (f *failFS) Link(a, b string) error {
	return f.do("link", b, func() error { return f.FS.Link(a, b) })
}
func (f *failFS) Symlink(a, b string) error {
	return f.do("symlink", b, func() error { return f.FS.Symlink(a, b) })
}
func (f *failFS) Rename(a, b string) error {
	return f.do("rename", b, func() error { return f.FS.Rename(a, b) })
}
func (f *failFS) SyncAll(p string) error {
	return f.do("sync", p, func() error { return f.FS.SyncAll(p) })
}
func (f *failFS) SyncDir(p string) error {
	return f.do("sync", p, func() error { return f.FS.SyncDir(p) })
}

func TestNothingIsLostWhenTheDiskFails(t *testing.T) {
	for n := 0; ; n++ {
		disk := &failFS{FS: DiskFS{}, left: 1 << 30, err: unix.ENOSPC}
		s := newStore(t, Config{FS: disk})
		commit(t, s, "settings.motd", `"old"`, "settings.a.b", `1`)
		if err := s.Put("next", values(t, "settings.motd", `"new"`)); err != nil {
			t.Fatal(err)
		}
		disk.left = n
		putErr := s.Put("next", values(t, "settings.motd", `"newer"`, "settings.a.c", `2`))
		_, err := s.Commit("next")
		if err == nil && putErr == nil {
			if n < 10 {
				t.Errorf("only %d changes went through the file system", n)
			}
			return
		}
		if putErr != nil && !errors.Is(putErr, unix.ENOSPC) || err != nil && !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("change %d: %v, %v", n, putErr, err)
		}
		if got := string(s.Live().Values[mustKey(t, "settings.motd")]); got != `"old"` {
			t.Errorf("change %d failed, but the value is %s", n, got)
		}
		pending, pendingErr := s.Pending("next")
		want := map[string]string{"settings.motd": `"newer"`, "settings.a.c": "2"}
		failed, _ := errors.AsType[*fs.PathError](putErr)
		if putErr != nil {
			want = map[string]string{"settings.motd": `"new"`}
		}
		// Renaming needs no space, so a full disk does not fail there; a dying one may.
		if diff := cmp.Diff(want, flat(pending)); pendingErr != nil || diff != "" && (failed == nil || failed.Op != "rename") {
			t.Errorf("change %d: pending: %v %s", n, pendingErr, diff)
		}
		// Space is there again: the same commit works.
		disk.left = 1 << 30
		if _, err := s.Commit("next"); err != nil {
			t.Errorf("change %d: commit afterwards: %v", n, err)
		}
		s.Close()
		again, err := Open(Config{Dir: s.cfg.Dir})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(flat(s.Live().Values), flat(again.Live().Values)); diff != "" {
			t.Errorf("change %d: on disk (-memory +disk):\n%s", n, diff)
		}
		again.Close()
	}
}

func TestReadersAndWritersAtOnce(t *testing.T) {
	s := newStore(t, Config{})
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			tx := fmt.Sprintf("t%d", i)
			for j := range 5 {
				v := fmt.Sprintf("%d", 10*i+j)
				if err := s.Put(tx, values(t, "settings.a", v, "settings.b", v)); err != nil {
					t.Error(err)
				}
				if _, err := s.Commit(tx); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for range 100 {
				live := s.Live().Values
				if a, b := live[Key{"settings.a"}], live[Key{"settings.b"}]; string(a) != string(b) {
					t.Errorf("read half a commit: %s and %s", a, b)
				}
			}
		})
	}
	all.Wait()
}

func TestAReadOnlyDiskIsReadable(t *testing.T) {
	s := newStore(t, Config{})
	commit(t, s, "settings.motd", `"old"`)
	s.Close()
	s, err := Open(Config{Dir: s.cfg.Dir, FS: &failFS{FS: DiskFS{}, err: unix.EROFS}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := string(s.Live().Values[mustKey(t, "settings.motd")]); got != `"old"` {
		t.Errorf("motd is %s", got)
	}
	if err := s.Put("x", values(t, "settings.motd", `"new"`)); !errors.Is(err, unix.EROFS) {
		t.Errorf("writing: %v", err)
	}
	if names, err := s.Transactions(); err != nil || len(names) != 0 {
		t.Errorf("transactions: %v %v", names, err)
	}
	if _, err := s.Drop("x"); err != nil {
		t.Errorf("dropping nothing: %v", err)
	}
}
