// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package durable

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// cut is the moment at which the power goes: the file is half written.
type cut struct{ dir, found string }

func (c *cut) Read([]byte) (int, error) {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		c.found = e.Name()
	}
	return 0, io.ErrUnexpectedEOF
}

func TestSweepRemovesWhatAPowerCutLeft(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	put := func(name string, age time.Duration) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte("half"), 0o600), os.Chtimes(path, now.Add(-age), now.Add(-age))); err != nil {
			t.Fatal(err)
		}
	}
	during := &cut{dir: dir}
	if err := WriteFrom(filepath.Join(dir, "timestamp.json"), during, 0o600); err == nil || during.found == "" {
		t.Fatalf("writing: %v, temporary file %q", err, during.found)
	}
	put(during.found, 2*time.Hour)
	put(".seen.12345.tmp", time.Minute) // somebody may write it just now
	for _, other := range []string{"timestamp.json", ".hidden", ".notes.tmp", "notes.1.tmp", ".1.tmp.bak"} {
		put(other, 48*time.Hour)
	}
	if err := os.Mkdir(filepath.Join(dir, ".folder.1.tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(dir, now.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	want := []string{".1.tmp.bak", ".folder.1.tmp", ".hidden", ".notes.tmp", ".seen.12345.tmp", "notes.1.tmp", "timestamp.json"}
	if !slices.Equal(left, want) {
		t.Errorf("left: %q, want %q", left, want)
	}
	if err := Sweep(filepath.Join(dir, "nothing"), now); err != nil {
		t.Errorf("where nothing is: %v", err)
	}
}
