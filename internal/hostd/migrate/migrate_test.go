// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package migrate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-cmp/cmp"

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

func TestPath(t *testing.T) {
	for _, tc := range []struct {
		from, to string
		want     []string
	}{
		{"1.0.0", "1.1.0", []string{"a"}}, {"1.0.0", "1.2.0", []string{"long1", "long2"}}, {"1.1.0", "1.2.0", []string{"b"}},
		{"1.0.0", "2.0.0", []string{"long1", "long2", "c"}}, {"2.0.0", "1.0.0", []string{"c", "long2", "long1"}},
		{"1.2.0", "1.2.1", nil}, {"1.0.0", "1.0.0", nil},
	} {
		got, err := Path(published, version(tc.from), version(tc.to))
		if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
			t.Errorf("%s to %s: %v\n%s", tc.from, tc.to, err, diff)
		}
	}
	for _, tc := range [][2]string{{"1.0.0", "1.2.5"}, {"0.9.0", "1.0.0"}, {"4.0.0", "3.0.0"}} {
		if got, err := Path(published, version(tc[0]), version(tc[1])); !errors.Is(err, ErrNoPath) {
			t.Errorf("%v: %q, %v", tc, got, err)
		}
	}
}

type repository struct{ program []byte }

func (repository) Migrations(context.Context) ([]manifest.Migration, error) { return published, nil }
func (r repository) Program(_ context.Context, name string) ([]byte, error) { return r.program, nil }

type host struct {
	t    *testing.T
	dir  string
	repo repository
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
	h := host{t, filepath.Join(t.TempDir(), "datastore"), repository{program}}
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
	return Run(h.t.Context(), Config{Dir: h.dir, To: version(to), Log: slog.New(slog.DiscardHandler),
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
	k, err := store.ParseKey("settings.motd")
	if err != nil {
		h.t.Fatal(err)
	}
	if got := string(s.Live().Values[k]); s.Version() != v || got != `"`+motd+`"` {
		h.t.Errorf("version %s says %s, want %s with %s", s.Version(), got, v, motd)
	}
	if found, _ := filepath.Glob(filepath.Join(h.dir, "v*_*")); len(found) != dirs {
		h.t.Errorf("%d directories of data, want %d: %q", len(found), dirs, found)
	}
}

func TestForwardAndBack(t *testing.T) {
	h := newHost(t, "1.0.0")
	if err := h.migrate("2.0.0"); err != nil {
		t.Fatal(err)
	}
	h.want("2.0.0", "hi long1--forward long2--forward c--forward", 2)
	if err := h.migrate("1.2.1"); err != nil {
		t.Fatal(err)
	}
	h.want("1.2.1", "hi long1--forward long2--forward c--forward c--backward", 3)
	if err := Prune(h.dir); err != nil {
		t.Fatal(err)
	}
	h.want("1.2.1", "hi long1--forward long2--forward c--forward c--backward", 1)
	if links, err := filepath.Glob(filepath.Join(h.dir, "v2*")); err != nil || len(links) > 0 {
		t.Errorf("left behind %q, %v", links, err)
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
	if err := h.migrate("4.0.0"); !errors.Is(err, ErrNoPath) {
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
