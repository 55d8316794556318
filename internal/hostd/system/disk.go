// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package system

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/slot"
)

// Disk is the system disk. Within this process only one call changes it at a time; other processes are kept out by
// the lock of gpt.OpenFile for as long as a change lasts.
type Disk struct {
	path string
	mu   sync.Mutex
}

// NewDisk returns the disk (a device or an image file) at path. It does not open it.
func NewDisk(path string) *Disk { return &Disk{path: path} }

// View calls f with the disk open for reading.
func (d *Disk) View(f func(*gpt.File, *slot.Table) error) error { return d.with(false, f) }

// Change calls f with the disk open for writing.
func (d *Disk) Change(f func(*gpt.File, *slot.Table) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.with(true, f)
}

func (d *Disk) with(write bool, f func(*gpt.File, *slot.Table) error) (err error) {
	file, err := gpt.OpenFile(d.path, write)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	table, err := slot.Open(file, file.Size())
	if err != nil {
		return err
	}
	return f(file, table)
}

// StartWriting has the system begin to write bytes that are still in its cache, and does not wait. It promises nothing:
// only a sync does.
func (d *Disk) StartWriting(offset, length int64) {
	f, err := os.Open(d.path)
	if err != nil {
		return
	}
	defer f.Close()
	_ = unix.SyncFileRange(int(f.Fd()), offset, length, unix.SYNC_FILE_RANGE_WRITE)
}

// Forget drops cached bytes of the disk, so that reading them again asks the device. What was not synced before is
// kept. It is a best effort: where the kernel does not do it, reading back proves less, but nothing breaks.
func (d *Disk) Forget(offset, length int64) {
	f, err := os.Open(d.path)
	if err != nil {
		return
	}
	defer f.Close()
	_ = unix.Fadvise(int(f.Fd()), offset, length, unix.FADV_DONTNEED)
}
