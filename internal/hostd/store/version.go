// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package store

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/Masterminds/semver/v3"
)

// The functions of this file are for those who bring a store to another version while nobody has it open.

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
func Point(dir string, v *semver.Version, name string) error {
	f := diskFS{}
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

// Prune removes data and links that the store does not need: those of other versions.
func Prune(dir string) error {
	p, err := find(dir)
	if err != nil {
		return err
	}
	v, err := semver.StrictNewVersion(p.link[1:])
	if err != nil {
		return err
	}
	needed := append(chain(v), p.name)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var wrong error
	for _, e := range entries {
		isLink := e.Type()&os.ModeSymlink != 0
		if !slices.Contains(needed, e.Name()) && (isLink || dataDir.MatchString(e.Name())) {
			wrong = errors.Join(wrong, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(wrong, diskFS{}.SyncDir(dir))
}
