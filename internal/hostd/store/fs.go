// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/internal/durable"
)

// FS is how a store changes its file system. Every change below its directory goes through it, so that a test can cut
// the power after each of them. Nothing is durable before one of the two syncs.
type FS interface {
	Mkdir(path string) error
	Create(path string, data []byte) error // a new file
	Link(from, to string) error            // a second name for a file, or a copy of it
	Symlink(target, path string) error
	Rename(from, to string) error // replaces what is there
	RemoveAll(path string) error
	SyncAll(dir string) error // makes everything below dir durable that is new, but not the name of dir itself
	SyncDir(dir string) error // makes names in dir durable
}

// DiskFS is the FS of the operating system.
type DiskFS struct{}

// Settings have secrets among them, so nobody but the owner reads them. Those who may go through the API.
const (
	dirMode  = 0o700
	fileMode = 0o600
)

func (DiskFS) Mkdir(path string) error           { return os.Mkdir(path, dirMode) }
func (DiskFS) Symlink(target, path string) error { return os.Symlink(target, path) }
func (DiskFS) Rename(from, to string) error      { return os.Rename(from, to) }
func (DiskFS) RemoveAll(path string) error       { return os.RemoveAll(path) }
func (DiskFS) SyncDir(dir string) error          { return durable.SyncDir(dir) }

func (DiskFS) Create(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// Link copies where the file system knows no hard links, or the file has as many as it can have.
func (d DiskFS) Link(from, to string) error {
	err := os.Link(from, to)
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EMLINK) && !errors.Is(err, unix.EXDEV) {
		return err
	}
	data, err := readFile(from)
	if err != nil {
		return err
	}
	return d.Create(to, data)
}

// syncers is how many files are synced at a time. Most file systems then share flushes between them: a hundred small files
// take 4 ms instead of 35 on ext4. One syncfs would be faster still on an idle disk, but waits for everybody else's data.
const syncers = 16

func (DiskFS) SyncAll(dir string) error {
	var group errgroup.Group
	group.SetLimit(syncers)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() && !e.Type().IsRegular() {
			return err
		}
		// A file with a second name is one of the data before, which are durable. With most settings unchanged, syncing
		// all of them again is most of a commit.
		if info, err := e.Info(); err != nil {
			return err
		} else if !e.IsDir() && info.Sys().(*syscall.Stat_t).Nlink > 1 {
			return nil
		}
		group.Go(func() error { return durable.SyncDir(path) }) // files are synced the same way
		return nil
	})
	return errors.Join(err, group.Wait())
}
