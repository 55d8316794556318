// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

func TestWriteFileReplacesWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "status.json")
	for _, content := range []string{"first", "", strings.Repeat("long", 100_000)} {
		if err := WriteFile(path, []byte(content), 0o604); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != content {
			t.Fatalf("read back %d bytes (%v), want %d", len(got), err, len(content))
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o604 {
		t.Errorf("mode %v (%v), want the one asked for whatever the umask", info.Mode(), err)
	}
}

func TestWriteFileLeavesNothingBehindOnFailure(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(target, "sub"), 0o755); err != nil { // a rename onto it must fail
		t.Fatal(err)
	}
	err := WriteFile(target, []byte("x"), 0o600)
	if err == nil || !strings.Contains(err.Error(), target) {
		t.Errorf("error %v does not name the file", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left in the directory: %v (%v)", entries, err)
	}
}

func TestWriteFromASourceThatBreaks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	if err := WriteFrom(path, strings.NewReader("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := WriteFrom(path, io.MultiReader(strings.NewReader("new"), iotest.ErrReader(broken)), 0o600); err != broken { //nolint:errorlint // as it is
		t.Errorf("got error %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "old" {
		t.Errorf("afterwards the file holds %q, %v", got, err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind %v, %v", left, err)
	}
}

func TestMissingDirectory(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	if err := WriteFile(filepath.Join(missing, "f"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("WriteFile: %v", err)
	}
	if err := SyncDir(missing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SyncDir: %v", err)
	}
}
