// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

func folders(t *testing.T) Folders {
	dir := t.TempDir()
	return Folders{Metadata: filepath.Join(dir, "metadata"), Targets: filepath.Join(dir, "targets")}
}

func (w *world) requested() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.requests)
}

// What was saved is readable years later, without a network and with a clock that nobody has set, from any root that the
// repository has had.
func TestSavedRepositoryIsReadableForEver(t *testing.T) {
	w := newWorld(t, InitOptions{})
	first := w.root
	w.publish(start, map[string]string{"manifest.json": "one", "a": "old a"})
	f := folders(t)
	if err := w.mustRefresh().Save(t.Context(), f, []string{"manifest.json", "a"}); err != nil {
		t.Fatal(err)
	}
	rotate(w, metadata.TIMESTAMP, metadata.ROOT)
	w.publish(start.Add(time.Hour), map[string]string{"manifest.json": "two", "b": "b"})
	second, err := os.ReadFile(filepath.Join(w.dir, part, "2.root.json"))
	if err != nil {
		t.Fatal(err)
	}
	w.root, w.store = second, t.TempDir() // a host whose image has the newer root
	if err := w.mustRefresh().Save(t.Context(), f, []string{"manifest.json", "b"}); err != nil {
		t.Fatal(err)
	}
	w.server.Close()
	for i, root := range [][]byte{first, second} {
		s, err := OpenSaved(root, f)
		if err != nil {
			t.Fatalf("from root %d: %v", i+1, err)
		}
		for name, want := range map[string]string{"manifest.json": "two", "a": "old a", "b": "b"} {
			if got, err := s.Read(name, 100); err != nil || string(got) != want {
				t.Errorf("from root %d: %s is %q, %v", i+1, name, got, err)
			}
		}
		if _, err := s.Read("b", 0); !errors.Is(err, ErrTooLarge) {
			t.Errorf("a target above the limit: %v", err)
		}
		if _, err := s.Read("c", 100); !errors.Is(err, ErrAbsent) {
			t.Errorf("a target that nobody signed: %v", err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(f.Metadata, "*.targets.json")); len(left) != 1 {
		t.Errorf("metadata of older publications stays: %q", left)
	}
	if left, _ := filepath.Glob(filepath.Join(f.Targets, "*.manifest.json")); len(left) != 1 {
		t.Errorf("targets that are not listed any more stay: %q", left)
	}
}

func TestSavingTwiceDownloadsOnce(t *testing.T) {
	w := newWorld(t, InitOptions{})
	w.publish(start, map[string]string{"manifest.json": "one"})
	f, c := folders(t), w.mustRefresh()
	if err := c.Save(t.Context(), f, []string{"manifest.json"}); err != nil {
		t.Fatal(err)
	}
	before := w.requested()
	if err := c.Save(t.Context(), f, []string{"manifest.json"}); err != nil || w.requested() != before {
		t.Errorf("%d more requests, %v", w.requested()-before, err)
	}
}

// A save that fails leaves what was saved before.
func TestSaveThatFails(t *testing.T) {
	w := newWorld(t, InitOptions{})
	w.publish(start, map[string]string{"manifest.json": "one"})
	f := folders(t)
	if err := w.mustRefresh().Save(t.Context(), f, []string{"manifest.json"}); err != nil {
		t.Fatal(err)
	}
	w.publish(start.Add(time.Hour), map[string]string{"manifest.json": "two", "a": "aaaa"})
	w.setTamper(on(".a", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("bbbb")) }))
	if err := w.mustRefresh().Save(t.Context(), f, []string{"manifest.json", "a"}); !errors.Is(err, ErrDigest) {
		t.Errorf("tampered target: %v", err)
	}
	if err := w.mustRefresh().Save(t.Context(), f, []string{"x"}); !errors.Is(err, ErrAbsent) {
		t.Errorf("target that is not listed: %v", err)
	}
	s, err := OpenSaved(w.root, f)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Read("manifest.json", 100); err != nil || string(got) != "one" {
		t.Errorf("after a failure: %q, %v", got, err)
	}
}

func TestSavedFilesAreVerified(t *testing.T) {
	w := newWorld(t, InitOptions{})
	w.publish(start, map[string]string{"manifest.json": "one"})
	other := newWorld(t, InitOptions{})
	f := folders(t)
	if err := w.mustRefresh().Save(t.Context(), f, []string{"manifest.json"}); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSaved(other.root, f); !errors.Is(err, ErrSignature) {
		t.Errorf("with the root of another repository: %v", err)
	}
	if _, err := OpenSaved(w.root, Folders{t.TempDir(), t.TempDir()}); !errors.Is(err, ErrAbsent) {
		t.Errorf("nothing saved: %v", err)
	}
	flip := func(pattern string) string {
		t.Helper()
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %q, %v", pattern, found, err)
		}
		data, err := os.ReadFile(found[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(found[0], bytes.Replace(data, []byte("e"), []byte("f"), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		return found[0]
	}
	flip(filepath.Join(f.Targets, "*.manifest.json"))
	s, err := OpenSaved(w.root, f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read("manifest.json", 100); !errors.Is(err, ErrDigest) {
		t.Errorf("a target was changed: %v", err)
	}
	for _, file := range []string{"*.targets.json", "*.snapshot.json", "timestamp.json"} {
		name := flip(filepath.Join(f.Metadata, file))
		if _, err := OpenSaved(w.root, f); err == nil {
			t.Errorf("%s was changed, and nobody noticed", name)
		}
	}
}
