// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package migrate

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"

	"github.com/drydock-os/drydock/internal/hostd/store"
	"github.com/drydock-os/drydock/internal/manifest"
)

// The test is its own migration when it is called like one: it copies the store and writes down how it was run.
func TestMain(m *testing.M) {
	if len(os.Args) == 6 && os.Args[2] == "--source-datastore" {
		if err := migration(os.Args[0], os.Args[1], os.Args[3], os.Args[5]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func migration(name, direction, source, target string) error {
	if self, err := os.Readlink("/proc/self/exe"); err != nil || !strings.HasPrefix(self, "/memfd:"+name) {
		return fmt.Errorf("runs from %s, %v", self, err)
	}
	if f, err := os.OpenFile("/proc/self/exe", os.O_WRONLY, 0); err == nil {
		return errors.Join(errors.New("can change itself"), f.Close())
	}
	if err := os.CopyFS(target, os.DirFS(source)); err != nil {
		return err
	}
	if strings.Contains(name, "bad") {
		return errors.New("went wrong")
	}
	motd := filepath.Join(target, "live/settings/motd")
	old, err := os.ReadFile(motd)
	if err != nil {
		return err
	}
	text := strings.TrimSuffix(string(old), `"`) + " " + name + direction + `"`
	return os.WriteFile(motd, []byte(text), 0o600)
}

func version(s string) *semver.Version { return semver.MustParse(s) }

func way(from, to string, names ...string) manifest.Migration {
	return manifest.Migration{From: version(from), To: version(to), Names: names}
}

var published = []manifest.Migration{
	way("1.0.0", "1.1.0", "a"), way("1.0.0", "1.2.0", "long1", "long2"), way("1.1.0", "1.2.0", "b"), way("1.2.0", "1.2.1"),
	way("1.2.1", "2.0.0", "c"), way("1.0.0", "9.0.0", "too-far"), way("2.0.0", "3.0.0", "d", "bad"),
}

type repository struct{ program []byte }

func (repository) Manifest() (*manifest.Manifest, error) {
	return &manifest.Manifest{Migrations: published}, nil
}
func (r repository) Program(string) ([]byte, error) { return r.program, nil }

type host struct {
	t    *testing.T
	dir  string
	repo repository
	fs   store.FS
}

func newHost(t *testing.T, v string) host {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	h := host{t, filepath.Join(t.TempDir(), "datastore"), repository{program}, nil}
	k, err := store.ParseKey("settings.motd")
	if err != nil {
		t.Fatal(err)
	}
	data := store.NewData()
	data.Values[k] = store.Value(`"hi"`)
	s, err := store.Create(store.Config{Dir: h.dir, Log: slog.New(slog.DiscardHandler)}, v, data)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h host) migrate(to string) error {
	return Run(h.t.Context(), Config{Dir: h.dir, FS: h.fs, To: version(to), Log: slog.New(slog.DiscardHandler),
		Open: func() (Repository, error) { return h.repo, nil }})
}

// want checks what the store says when it is opened, and how many directories of data there are.
func (h host) want(v, motd string, dirs int) {
	h.t.Helper()
	s, err := store.Open(store.Config{Dir: h.dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		h.t.Fatal(err)
	}
	defer s.Close()
	if got := h.motd(s); s.Version() != v || got != motd {
		h.t.Errorf("version %s says %s, want %s with %s", s.Version(), got, v, motd)
	}
	if found := h.data(); len(found) != dirs {
		h.t.Errorf("%d directories of data, want %d: %q", len(found), dirs, found)
	}
}

func (h host) motd(s *store.Store) string {
	h.t.Helper()
	k, err := store.ParseKey("settings.motd")
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.Trim(string(s.Live().Values[k]), `"`)
}

func TestForwardAndBack(t *testing.T) {
	h := newHost(t, "1.0.0")
	if err := h.migrate("2.0.0"); err != nil {
		t.Fatal(err)
	}
	h.want("2.0.0", "hi long1--forward long2--forward c--forward", 2)
	h.prove(1)
	if err := h.migrate("1.2.1"); err != nil {
		t.Fatal(err)
	}
	h.want("1.2.1", "hi long1--forward long2--forward c--forward c--backward", 2)
	h.prove(1)
	h.want("1.2.1", "hi long1--forward long2--forward c--forward c--backward", 1)
	if links, err := filepath.Glob(filepath.Join(h.dir, "v2*")); err != nil || len(links) > 0 {
		t.Errorf("left behind %q, %v", links, err)
	}
}

// A system that comes back before the new one has proved itself has its settings as it left them. Once is enough: when
// the new system is tried again, it starts from what is set by then, not from what it had itself.
func TestBackBeforeTheNewSystemHasProvedItself(t *testing.T) {
	h := newHost(t, "1.0.0")
	for i := range 2 {
		if err := h.migrate("1.1.0"); err != nil {
			t.Fatal(err)
		}
		h.set("from the new system")
		open := h.repo
		h.repo = repository{} // the old system needs nothing to come back
		if err := h.migrate("1.0.0"); err != nil {
			t.Fatal(err)
		}
		h.want("1.0.0", "hi", 2+i)
		h.repo = open
	}
	h.set("again")
	if err := h.migrate("1.1.0"); err != nil {
		t.Fatal(err)
	}
	h.want("1.1.0", "again a--forward", 2)
	h.prove(1)
	h.want("1.1.0", "again a--forward", 1)
}

// When the data of before are gone, or are not those that the present ones were made from, migrations do it.
func TestBackWithoutTheDataOfBefore(t *testing.T) {
	for name, damage := range map[string]func(h host){
		"removed": func(h host) {
			if err := os.RemoveAll(filepath.Join(h.dir, mustLink(h.t, filepath.Join(h.dir, "previous")))); err != nil {
				h.t.Fatal(err)
			}
		},
		"of another store": func(h host) {
			if err := store.Keep(store.DiskFS{}, h.dir, "v1.0.0_0123456789abcdef"); err != nil {
				h.t.Fatal(err)
			}
		},
		"out of the store": func(h host) {
			for _, link := range []string{"previous", "v1.0.0"} {
				if err := errors.Join(os.Remove(filepath.Join(h.dir, link)), os.Symlink("/tmp", filepath.Join(h.dir, link))); err != nil {
					h.t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, "1.0.0")
			if err := h.migrate("1.1.0"); err != nil {
				t.Fatal(err)
			}
			damage(h)
			if err := h.migrate("1.0.0"); err != nil {
				t.Fatal(err)
			}
			h.want("1.0.0", "hi a--forward a--backward", 2)
		})
	}
}

func mustLink(t *testing.T, path string) string {
	t.Helper()
	target, err := os.Readlink(path)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// set changes the setting behind the store's back.
func (h host) set(motd string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, "current/live/settings/motd"), []byte(`"`+motd+`"`), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h host) data() []string {
	found, _ := filepath.Glob(filepath.Join(h.dir, "v*_*"))
	return found
}

// prove says that the running system has proved itself.
func (h host) prove(dirs int) {
	h.t.Helper()
	s, err := store.Open(store.Config{Dir: h.dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		h.t.Fatal(err)
	}
	if err := errors.Join(s.Prune(), s.Close()); err != nil {
		h.t.Fatal(err)
	}
	if found := h.data(); len(found) != dirs {
		h.t.Errorf("%d directories of data, want %d: %q", len(found), dirs, found)
	}
}

func TestWithoutMigrationsTheOldSettingsStay(t *testing.T) {
	h := newHost(t, "1.2.0")
	if err := h.migrate("1.2.1"); err != nil {
		t.Fatal(err)
	}
	h.want("1.2.1", "hi", 2)
}

func TestAFailureLeavesTheStore(t *testing.T) {
	h := newHost(t, "2.0.0")
	if err := h.migrate("3.0.0"); err == nil || !strings.Contains(err.Error(), "from version 2.0.0 to 3.0.0: bad: exit status 1: went wrong") {
		t.Errorf("got %v", err)
	}
	h.want("2.0.0", "hi", 1)
	if err := h.migrate("4.0.0"); !errors.Is(err, manifest.ErrNoPath) {
		t.Errorf("got %v", err)
	}
	h.repo.program = []byte("no program")
	if err := h.migrate("1.2.1"); err == nil {
		t.Error("ran what is no program")
	}
	h.want("2.0.0", "hi", 1)
}

func TestNothingToDo(t *testing.T) {
	h := newHost(t, "1.0.0")
	h.repo = repository{}
	if err := h.migrate("1.0.0"); err != nil {
		t.Error(err)
	}
	h.dir = t.TempDir()
	if err := h.migrate("1.0.0"); err != nil {
		t.Errorf("no store: %v", err)
	}
}
