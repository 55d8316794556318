// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/Masterminds/semver/v3"
)

// What is in this file is for those who bring a store to another version; the functions, while nobody has it open. All
// changes go through the FS that they are given.

// Locate returns the version of the store in dir and the directory that has its data. It returns fs.ErrNotExist and
// ErrCorrupt.
func Locate(dir string) (*semver.Version, string, error) {
	p, err := find(dir)
	if err != nil {
		return nil, "", err
	}
	v, err := semver.StrictNewVersion(p.link[1:])
	return v, p.dir(), err
}

// Lock keeps everybody else from opening the store until the returned file is closed. It returns ErrLocked.
func Lock(dir string) (*os.File, error) { return lockDir(dir) }

// DataDirName returns a new name for a directory with data of a version.
func DataDirName(v *semver.Version) string { return newName("v" + v.String()) }

// Point makes the store be the data in the directory of that name, of version v. At each instant, the links lead to the
// data of before or to the new one.
func Point(f FS, dir string, v *semver.Version, name string) error {
	for _, link := range chain(v) {
		if err := point(f, dir, link, name); err != nil {
			return err
		}
		if err := f.SyncDir(dir); err != nil {
			return err
		}
		name = link
	}
	return nil
}

// previousLink names the data that the present ones were made from. The original does not know it, nor look at it.
const previousLink = "previous"

// Keep remembers which data the store's next ones are made from, for GoBack.
func Keep(f FS, dir, name string) error {
	if err := point(f, dir, previousLink, name); err != nil {
		return err
	}
	return f.SyncDir(dir)
}

// GoBack makes the store be the data that its present ones were made from, if those are still there and were of version
// v. It reports whether they were.
func GoBack(f FS, dir string, v *semver.Version) (bool, error) {
	name, err := os.Readlink(filepath.Join(dir, previousLink))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// Data may be of an older version by name; which they are of now, the version's own link tells.
	of, err := os.Readlink(filepath.Join(dir, "v"+v.String()))
	if errors.Is(err, fs.ErrNotExist) || err == nil && of != name {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if info, err := os.Lstat(filepath.Join(dir, name)); !dataDir.MatchString(name) || err != nil || !info.IsDir() {
		return false, nil // migrating is what remains
	}
	return true, Point(f, dir, v, name)
}

// Prune removes data and links that the store does not need: those of other versions.
func (s *Store) Prune() error {
	s.mu.Lock() // a commit makes new data
	defer s.mu.Unlock()
	v, err := semver.StrictNewVersion(s.at.link[1:])
	if err != nil {
		return fmt.Errorf("removing settings of other versions: %w", err)
	}
	needed := append(chain(v), s.at.name)
	entries, err := os.ReadDir(s.at.base)
	if err != nil {
		return fmt.Errorf("removing settings of other versions: %w", err)
	}
	var wrong error
	for _, e := range entries {
		isLink := e.Type()&os.ModeSymlink != 0
		if !slices.Contains(needed, e.Name()) && (isLink || dataDir.MatchString(e.Name())) {
			wrong = errors.Join(wrong, s.cfg.FS.RemoveAll(filepath.Join(s.at.base, e.Name())))
		}
	}
	if err := errors.Join(wrong, s.cfg.FS.SyncDir(s.at.base)); err != nil {
		return fmt.Errorf("removing settings of other versions: %w", err)
	}
	return nil
}
