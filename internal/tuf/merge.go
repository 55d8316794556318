// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/internal/durable"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// ErrForeign means that two repositories do not share their roots of trust.
var ErrForeign = errors.New("this is another repository, with other roots of trust")

// Merge moves the repository in from, which must be on the same file system and should have been verified by a Client,
// into the repository in dir, and returns its parts. They replace parts of the same name. Readers of dir see each part
// old or new, never in between; a part of dir that is newer is not replaced: the error is then ErrRollback, and
// nothing was changed. No keys are needed. A dir without a repository becomes one.
func Merge(ctx context.Context, dir, from string) (parts []string, err error) {
	roots, err := loadRoots(from)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("importing: %w", err)
	}
	lock, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("importing: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, fmt.Errorf("importing: %s: %w", dir, ErrLocked)
	}
	if parts, err = Parts(os.DirFS(from)); err != nil {
		return nil, err
	}
	if err := mayMerge(dir, from, roots, parts); err != nil {
		return nil, fmt.Errorf("importing: %w", err)
	}
	// Order: what is referred to comes before what refers to it.
	if err := moveAll(ctx, from, dir, targetsDir, func(name string) bool { return !strings.HasPrefix(name, ".") }); err != nil {
		return nil, err
	}
	for _, root := range roots {
		if err := durable.WriteFile(filepath.Join(dir, root.name), root.data, 0o644); err != nil {
			return nil, fmt.Errorf("importing: %w", err)
		}
	}
	const timestamp = metadata.TIMESTAMP + ".json"
	for _, part := range parts {
		for _, wanted := range []func(string) bool{
			func(name string) bool { return strings.HasSuffix(name, ".root.json") },
			func(name string) bool { return strings.HasSuffix(name, "."+targetsFile) },
			func(name string) bool { return strings.HasSuffix(name, "."+snapshotFile) },
			func(name string) bool { return name == timestamp },
		} {
			if err := moveAll(ctx, from, dir, part, wanted); err != nil {
				return nil, err
			}
		}
	}
	newest := roots[len(roots)-1]
	if err := durable.WriteFile(filepath.Join(dir, "root.json"), newest.data, 0o644); err != nil {
		return nil, fmt.Errorf("importing: %w", err)
	}
	return parts, nil
}

// mayMerge makes sure that nothing in dir goes back or changes owners.
func mayMerge(dir, from string, roots []rootFile, parts []string) error {
	present, err := loadRoots(dir)
	if errors.Is(err, ErrNoRepository) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(roots) < len(present) {
		return fmt.Errorf("root.json: %w: version %d, here is %d", ErrRollback, len(roots), len(present))
	}
	for i := range present {
		if !bytes.Equal(present[i].data, roots[i].data) {
			return fmt.Errorf("%s: %w", present[i].name, ErrForeign)
		}
	}
	here, there := &Repository{cfg: RepositoryConfig{Dir: dir}, roots: roots}, &Repository{cfg: RepositoryConfig{Dir: from}, roots: roots}
	for _, part := range parts {
		old, err := here.load(part)
		if err != nil {
			return err
		}
		next, err := there.load(part)
		if err != nil {
			return err
		}
		if next.timestamp == old.timestamp {
			// Hosts that have seen one would never accept the other.
			if !sameFile(filepath.Join(dir, part, metadata.TIMESTAMP+".json"), filepath.Join(from, part, metadata.TIMESTAMP+".json")) {
				return fmt.Errorf("%s: %w: version %d is here already, with other content", part, ErrRollback, old.timestamp)
			}
		}
		if next.timestamp < old.timestamp {
			return fmt.Errorf("%s: %w: version %d, here is %d", part, ErrRollback, next.timestamp, old.timestamp)
		}
	}
	return nil
}

func sameFile(a, b string) bool {
	x, errX := os.ReadFile(a)
	y, errY := os.ReadFile(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// moveAll moves the wanted files of a folder below from to the folder of the same name below to.
func moveAll(ctx context.Context, from, to, folder string, wanted func(name string) bool) error {
	entries, err := os.ReadDir(filepath.Join(from, folder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("importing: %w", err)
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !e.Type().IsRegular() || !wanted(e.Name()) })
	if err := os.MkdirAll(filepath.Join(to, folder), 0o755); err != nil {
		return fmt.Errorf("importing: %w", err)
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(from, folder, e.Name()), filepath.Join(to, folder, e.Name())); err != nil {
			return fmt.Errorf("importing: %w", err)
		}
	}
	if err := durable.SyncDir(filepath.Join(to, folder)); err != nil {
		return fmt.Errorf("importing: %w", err)
	}
	return nil
}
