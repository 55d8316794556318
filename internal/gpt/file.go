// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package gpt

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// File is a disk image file or a block device.
type File struct {
	f    *os.File
	size int64
}

var _ Disk = (*File)(nil)

// OpenFile opens the disk image or block device at path, which must exist. With write it takes an
// exclusive advisory lock (flock) for as long as the File is open and returns an error that wraps
// ErrInUse, without waiting, when another File has it: two writers would undo each other's changes.
func OpenFile(path string, write bool) (_ *File, err error) {
	flag := os.O_RDONLY
	if write {
		flag = os.O_RDWR
	}
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return nil, fmt.Errorf("opening disk: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("opening disk %s: %w", path, errors.Join(err, f.Close()))
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if m := info.Mode(); !m.IsRegular() && m&(fs.ModeDevice|fs.ModeCharDevice) != fs.ModeDevice {
		return nil, errors.New("neither a regular file nor a block device")
	}
	if write {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		if err != nil {
			return nil, fmt.Errorf("locking: %w", err)
		}
	}
	size, err := f.Seek(0, io.SeekEnd) // unlike Stat, this also knows the size of a device
	if err != nil {
		return nil, err
	}
	return &File{f: f, size: size}, nil
}

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

// WriteAt implements io.WriterAt. It refuses to write beyond the end, where it would make an image file
// grow and a partition table end up in the middle of it.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || int64(len(p)) > f.size-off {
		return 0, fmt.Errorf("writing %d bytes at offset %d: the disk ends at %d", len(p), off, f.size)
	}
	return f.f.WriteAt(p, off)
}

// Sync makes everything written so far survive a power cut.
func (f *File) Sync() error { return f.f.Sync() }

// Size returns the size of the disk in bytes, as it was when it was opened.
func (f *File) Size() int64 { return f.size }

// Close releases the lock and the file. It does not sync.
func (f *File) Close() error {
	// Closing alone is not enough: a program that this process is just starting holds a copy of the file until it runs.
	// Without a lock there is nothing to release, which is no error.
	return errors.Join(syscall.Flock(int(f.f.Fd()), syscall.LOCK_UN), f.f.Close())
}
