// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// payload is the content of a volume: clean relative paths and their files.
type payload map[string]file

type file struct {
	data []byte
	mode fs.FileMode
}

func (p payload) equal(q payload) bool {
	return maps.EqualFunc(p, q, func(a, b file) bool { return a.mode == b.mode && bytes.Equal(a.data, b.data) })
}

// add places a file, unless its path would leave the volume or is one of the names that publish uses.
func (p payload) add(path string, f file) error {
	if !filepath.IsLocal(path) || path == "." || strings.HasPrefix(path, "..") {
		return fmt.Errorf("path %q is not below the volume", path)
	}
	p[filepath.Clean(path)] = f
	return nil
}

// dataLink is the link inside a volume that selects the current generation of its files, as in a cluster:
// programs watch it to learn of changes.
const dataLink = "..data"

// publish makes dir show exactly p, for readers all at once: files are links through ..data, and ..data is
// replaced by a rename. Earlier generations are removed afterwards.
func publish(dir string, p payload, generation int) error {
	name := fmt.Sprintf("..generation-%d", generation)
	target := filepath.Join(dir, name)
	if err := os.RemoveAll(target); err != nil { // left over from a boot that ended half-way
		return fmt.Errorf("publishing volume: %w", err)
	}
	if err := os.MkdirAll(target, 0o755); err != nil {
		return fmt.Errorf("publishing volume: %w", err)
	}
	for path, f := range p {
		full := filepath.Join(target, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return fmt.Errorf("publishing volume: %w", err)
		}
		if err := os.WriteFile(full, f.data, f.mode); err != nil {
			return fmt.Errorf("publishing volume: %w", err)
		}
		if err := os.Chmod(full, f.mode); err != nil { // whatever the umask says
			return fmt.Errorf("publishing volume: %w", err)
		}
	}
	next := filepath.Join(dir, dataLink+"_next")
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("publishing volume: %w", err)
	}
	if err := os.Symlink(name, next); err != nil {
		return fmt.Errorf("publishing volume: %w", err)
	}
	if err := os.Rename(next, filepath.Join(dir, dataLink)); err != nil {
		return fmt.Errorf("publishing volume: %w", err)
	}
	return linkPayload(dir, p, name)
}

// linkPayload gives dir one link for each top-level name of p, and removes what no longer belongs there.
func linkPayload(dir string, p payload, generation string) error {
	want := map[string]bool{}
	for path := range p {
		top, _, _ := strings.Cut(path, "/")
		want[top] = true
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("publishing volume: %w", err)
	}
	have := map[string]bool{}
	for _, e := range entries {
		if n := e.Name(); n == dataLink || n == generation {
			continue
		} else if want[n] {
			have[n] = true
		} else if err := os.RemoveAll(filepath.Join(dir, n)); err != nil {
			return fmt.Errorf("publishing volume: %w", err)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(want)) {
		if !have[n] {
			if err := os.Symlink(filepath.Join(dataLink, n), filepath.Join(dir, n)); err != nil {
				return fmt.Errorf("publishing volume: %w", err)
			}
		}
	}
	return nil
}
