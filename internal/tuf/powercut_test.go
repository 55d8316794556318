// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

var errPowerCut = errors.New("power cut")

// cutFiles loses power after a number of changes. The one that it comes to then may have got as far as a temporary file.
type cutFiles struct {
	diskFiles
	left     int  // changes that succeed
	half     bool // leave a temporary file behind
	forgets  bool // removals are not on the disk yet when the power goes
	complete bool // it did not come to that
	writes   []string
}

func (c *cutFiles) cut() bool {
	c.left--
	c.complete = c.left >= 0
	return c.left < 0
}

func (c *cutFiles) Write(path string, from io.Reader) error {
	if c.cut() {
		if c.half && c.left == -1 {
			_ = os.WriteFile(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".123.tmp"), []byte("{"), 0o600)
		}
		return errPowerCut
	}
	c.writes = append(c.writes, filepath.Base(path))
	return c.diskFiles.Write(path, from)
}

func (c *cutFiles) Remove(path string) error {
	if c.cut() {
		return errPowerCut
	}
	if c.forgets {
		return nil
	}
	return c.diskFiles.Remove(path)
}

func copyFolders(t *testing.T, f Folders) Folders {
	t.Helper()
	c := folders(t)
	if err := errors.Join(os.CopyFS(c.Metadata, os.DirFS(f.Metadata)), os.CopyFS(c.Targets, os.DirFS(f.Targets))); err != nil {
		t.Fatal(err)
	}
	return c
}

// Wherever the power goes while a repository is saved, whoever opens what is there finds the old one or the new one,
// whichever root it trusts, and saving again completes the new one. Every key is another one in the new one.
func TestPowerCutWhileSaving(t *testing.T) {
	w := newWorld(t, InitOptions{})
	roots := [][]byte{w.root}
	w.publish(start, map[string]string{"manifest.json": "old", "a": "old", "gone": "old"})
	before := folders(t)
	if err := w.mustRefresh().Save(t.Context(), before, []string{"manifest.json", "a"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		rotate(w, Roles()...)
	}
	for _, name := range []string{"2.root.json", "3.root.json"} {
		data, err := os.ReadFile(filepath.Join(w.dir, part, name))
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, data)
	}
	w.publish(start.Add(time.Hour), map[string]string{"manifest.json": "new", "a": "new", "b": "new"})
	save := func(to Folders, with files) error {
		c := w.mustRefresh()
		if with != nil {
			c.store.files = with
		}
		return c.Save(t.Context(), to, []string{"manifest.json", "a", "b"})
	}
	// says returns what a reader finds: all of it, of one publication.
	says := func(root []byte, from Folders) (string, error) {
		s, err := OpenSaved(root, from)
		if err != nil {
			return "", err
		}
		var found string
		for _, name := range []string{"manifest.json", "a"} {
			data, err := s.Read(name, 100)
			if err != nil {
				return "", err
			}
			if found != "" && found != string(data) {
				return "", errors.New("a mix")
			}
			found = string(data)
		}
		if data, err := s.Read("b", 100); found == "new" && (err != nil || string(data) != "new") {
			return "", errors.Join(errors.New("b is missing"), err)
		}
		return found, nil
	}
	seen := map[string]int{}
	for _, disk := range []cutFiles{{}, {half: true}, {forgets: true}} {
		for n, complete := 0, false; !complete; n++ {
			f := copyFolders(t, before)
			c := disk
			c.left = n
			err := save(f, &c)
			complete = c.complete
			if complete != (err == nil) || !complete && !errors.Is(err, errPowerCut) {
				t.Fatalf("cut after %q: %v", c.writes, err)
			}
			switched := len(c.writes) > 0 && c.writes[len(c.writes)-1] == timestampFile
			for i, root := range roots {
				got, err := says(root, f)
				// An older image only has to find what it could read before.
				if err != nil && (i == 0 || switched) || err == nil && (got == "new") != switched {
					t.Errorf("root %d, cut after %q: %q, %v", i+1, c.writes, got, err)
				}
				seen[got]++
			}
			if err := save(f, nil); err != nil {
				t.Fatalf("saving again, cut after %q: %v", c.writes, err)
			}
			for i, root := range roots {
				if got, err := says(root, f); got != "new" || err != nil {
					t.Errorf("root %d, saved again after a cut after %q: %q, %v", i+1, c.writes, got, err)
				}
			}
			for _, dir := range []string{f.Metadata, f.Targets} {
				entries, err := os.ReadDir(dir)
				if err != nil || len(entries) > 6 {
					t.Errorf("cut after %q: %d files in %s, %v", c.writes, len(entries), filepath.Base(dir), err)
				}
				for _, e := range entries {
					if strings.HasSuffix(e.Name(), ".tmp") {
						t.Errorf("cut after %q: left behind %s", c.writes, e.Name())
					}
				}
			}
		}
	}
	if seen["old"] < 10 || seen["new"] < 10 {
		t.Errorf("seen %v", seen)
	}
}

// Wherever the power goes while a client takes in new metadata: the next refresh succeeds, and what it once had to accept
// nothing older than stays the least that it accepts.
func TestPowerCutWhileRefreshing(t *testing.T) {
	w := newWorld(t, InitOptions{})
	w.publish(start, map[string]string{"manifest.json": "old"})
	w.mustRefresh()
	before, old := w.store, t.TempDir()
	if err := os.CopyFS(old, os.DirFS(w.dir)); err != nil {
		t.Fatal(err)
	}
	oldFiles := http.FileServer(http.Dir(old))
	rotate(w, metadata.ROOT)
	w.publish(start.Add(time.Hour), map[string]string{"manifest.json": "new"})
	refused := 0
	for _, half := range []bool{false, true} {
		remembers := false
		for n, complete := 0, false; !complete; n++ {
			w.store = t.TempDir()
			if err := os.CopyFS(w.store, os.DirFS(before)); err != nil {
				t.Fatal(err)
			}
			cut := &cutFiles{left: n, half: half}
			c := w.client()
			c.store.files = cut
			err := c.Refresh(t.Context())
			complete = cut.complete
			if complete != (err == nil) || !complete && !errors.Is(err, errPowerCut) {
				t.Fatalf("cut after %q: %v", cut.writes, err)
			}
			w.setTamper(func(rw http.ResponseWriter, r *http.Request) bool {
				oldFiles.ServeHTTP(rw, r)
				return true
			})
			switch err := w.client().Refresh(t.Context()); {
			case errors.Is(err, ErrRollback):
				remembers = true
				refused++
			case err != nil || remembers:
				t.Errorf("an older repository, cut after %q: %v", cut.writes, err)
			}
			w.setTamper(nil)
			if got, err := w.mustRefresh().Read(t.Context(), "manifest.json", 100); err != nil || string(got) != "new" {
				t.Errorf("refreshed again after a cut after %q: %q, %v", cut.writes, got, err)
			}
		}
	}
	if refused < 4 {
		t.Errorf("an older repository was refused %d times", refused)
	}
}
