// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package store

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/internal/durable"
)

// FS is how a store changes its file system. Every change goes through it, so that a test can cut the power after each
// of them. Nothing is durable before one of the two syncs.
type FS interface {
	Mkdir(path string) error
	Create(path string, data []byte) error // a new file
	Link(from, to string) error            // a second name for a file, or a copy of it
	Symlink(target, path string) error
	Rename(from, to string) error // replaces what is there
	RemoveAll(path string) error
	SyncAll(dir string) error // makes everything on the file system of dir durable
	SyncDir(dir string) error // makes names in dir durable
}

// diskFS is the FS of the operating system.
type diskFS struct{}

const (
	dirMode  = 0o755
	fileMode = 0o644
)

func (diskFS) Mkdir(path string) error           { return os.Mkdir(path, dirMode) }
func (diskFS) Symlink(target, path string) error { return os.Symlink(target, path) }
func (diskFS) Rename(from, to string) error      { return os.Rename(from, to) }
func (diskFS) RemoveAll(path string) error       { return os.RemoveAll(path) }
func (diskFS) SyncDir(dir string) error          { return durable.SyncDir(dir) }

func (diskFS) Create(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// Link copies where the file system knows no hard links, or the file has as many as it can have.
func (fs diskFS) Link(from, to string) error {
	err := os.Link(from, to)
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EMLINK) && !errors.Is(err, unix.EXDEV) {
		return err
	}
	data, err := readFile(from)
	if err != nil {
		return err
	}
	return fs.Create(to, data)
}

// SyncAll is one flush for hundreds of small files, where syncing each by itself would be hundreds of flushes.
func (diskFS) SyncAll(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing the file system: %w", err)
	}
	if err := errors.Join(unix.Syncfs(int(d.Fd())), d.Close()); err != nil {
		return fmt.Errorf("syncing the file system of %s: %w", dir, err)
	}
	return nil
}
