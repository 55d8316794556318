// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"
)

// The updater of go-tuf reads metadata by its own code: what we publish must be good for others too, with keys of each
// kind and after they were changed.
func TestRepositoryIsReadableByGoTUF(t *testing.T) {
	for _, o := range []InitOptions{{KeyCount: 3, Threshold: 2}, {KeyType: ECDSA}, {KeyType: RSA}} {
		w := newWorld(t, o)
		p := w.publish(start, map[string]string{"manifest.json": "content"})
		readByGoTUF(w, p.Targets[0].Length)
		rotate(w, Roles()...)
		readByGoTUF(w, p.Targets[0].Length)
		w.publish(start, nil)
		readByGoTUF(w, p.Targets[0].Length)
		w.mustRefresh() // and by ourselves
	}
}

func readByGoTUF(w *world, length int64) {
	t := w.t
	t.Helper()
	cfg, err := config.New(w.server.URL+"/"+part, w.root)
	if err != nil {
		t.Fatal(err)
	}
	cfg.LocalMetadataDir, cfg.LocalTargetsDir, cfg.RemoteTargetsURL = t.TempDir(), t.TempDir(), w.server.URL+"/targets"
	up, err := updater.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	up.UnsafeSetRefTime(w.now)
	info, err := up.GetTargetInfo("manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, data, err := up.DownloadTarget(info, "", ""); err != nil || string(data) != "content" {
		t.Errorf("downloaded %q, %v", data, err)
	}
	if info.Length != length {
		t.Errorf("length %d, published %d", info.Length, length)
	}
}

func TestThresholdIsEnforced(t *testing.T) {
	w := newWorld(t, InitOptions{KeyCount: 3, Threshold: 2})
	w.publish(start, nil)
	for _, key := range []string{"targets-1.pem", "targets-2.pem"} {
		if err := os.Remove(filepath.Join(w.keys, key)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenRepository(RepositoryConfig{Dir: w.dir, KeysDir: w.keys, Now: start}); !errors.Is(err, ErrNoKey) {
		t.Errorf("publishing with one of two needed keys: %v", err)
	}
}

func TestInitRefuses(t *testing.T) {
	for name, o := range map[string]InitOptions{
		"threshold above keys": {KeyCount: 1, Threshold: 2, Now: start},
		"negative threshold":   {KeyCount: 1, Threshold: -1, Now: start},
		"too many keys":        {KeyCount: 99, Threshold: 1, Now: start},
		"no time":              {},
		"expired":              {Expires: -time.Hour, Now: start},
	} {
		dir, keys := t.TempDir(), t.TempDir()
		if _, err := Init(t.Context(), dir, keys, o); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if files := append(list(t, dir), list(t, keys)...); len(files) != 0 {
			t.Errorf("%s: left %v behind", name, files)
		}
	}
	w := newWorld(t, InitOptions{})
	before := list(t, w.keys)
	if _, err := Init(t.Context(), w.dir, filepath.Join(t.TempDir(), "k"), InitOptions{Now: start}); !errors.Is(err, ErrInitialized) {
		t.Errorf("second repository: %v", err)
	}
	if _, err := Init(t.Context(), t.TempDir(), w.keys, InitOptions{Now: start}); !errors.Is(err, ErrInitialized) {
		t.Errorf("second use of keys: %v", err)
	}
	if diff := cmp.Diff(before, list(t, w.keys)); diff != "" {
		t.Errorf("keys changed:\n%s", diff)
	}
	for _, key := range before {
		if info, err := os.Stat(filepath.Join(w.keys, key)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", key, info.Mode(), err)
		}
	}
}

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestOpenRepositoryRefuses(t *testing.T) {
	w, other := newWorld(t, InitOptions{}), newWorld(t, InitOptions{})
	open := func(dir, keys string, now time.Time) error {
		r, err := OpenRepository(RepositoryConfig{Dir: dir, KeysDir: keys, Now: now})
		if err == nil {
			defer r.Close()
			_, second := OpenRepository(RepositoryConfig{Dir: dir, KeysDir: keys, Now: now})
			return second
		}
		return err
	}
	for _, tc := range []struct {
		name, dir, keys string
		now             time.Time
		want            string
	}{
		{"two publishers", w.dir, w.keys, start, "another program is publishing"},
		{"no repository", t.TempDir(), w.keys, start, ErrNoRepository.Error()},
		{"no keys", w.dir, t.TempDir(), start, ErrNoKey.Error()},
		{"keys of another repository", w.dir, other.keys, start, ErrNoKey.Error()},
		{"root expired", w.dir, w.keys, start.Add(400 * 24 * time.Hour), ErrExpired.Error()},
	} {
		if err := open(tc.dir, tc.keys, tc.now); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got error %v, want one about %q", tc.name, err, tc.want)
		}
	}
}

func TestPublishLeavesNoTraceOfBadSources(t *testing.T) {
	w := newWorld(t, InitOptions{})
	w.publish(start, map[string]string{"manifest.json": "one"})
	r, err := OpenRepository(RepositoryConfig{Dir: w.dir, KeysDir: w.keys, Now: start.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	before := list(t, filepath.Join(w.dir, part))
	for _, s := range []Source{{Name: "x", Path: "/does/not/exist"}, {Name: "../x", Data: []byte("x")}, {Name: "", Data: []byte("x")}} {
		if _, err := r.Publish(t.Context(), part, []Source{s}); err == nil {
			t.Errorf("%+v was published", s)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Publish(ctx, part, []Source{{Name: "x", Path: filepath.Join(w.dir, "root.json")}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if diff := cmp.Diff(before, list(t, filepath.Join(w.dir, part))); diff != "" {
		t.Errorf("metadata changed:\n%s", diff)
	}
	if data, err := r.ReadTarget(part, "manifest.json"); err != nil || string(data) != "one" {
		t.Errorf("manifest reads %q, %v", data, err)
	}
}
