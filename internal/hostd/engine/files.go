// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/internal/durable"
	"github.com/drydock-os/drydock/internal/hostapi"
)

// Places below the host's root. The first three are shared with other programs of the host.
const (
	lockPath     = "run/lock/thar-be-updates.lock"
	statusPath   = "run/cache/thar-be-updates/status.json"
	settingsPath = "etc/updog.toml"
	runningPath  = "run/cache/thar-be-updates/running.json" // the command that runs now
	bootIDPath   = "run/cache/thar-be-updates/boot_id"      // to which boot the status belongs
	stagedPath   = "var/lib/drydock/staged.json"            // what was written to the idle slot
	attemptPath  = "var/lib/drydock/attempt.json"           // which system the next boot is to try
	blockedPath  = "var/lib/drydock/blocked.json"           // which systems did not stay up
	metadataPath = "var/lib/drydock/repository"             // trusted metadata, a folder per repository
)

const maxStateFile = 1 << 20

// lock takes the update lock, shared or exclusive, without waiting. The lock goes with the file's closing, also when
// the process dies.
func lock(path string, how int) (*heldLock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("opening update lock: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if how == unix.LOCK_SH && errors.Is(err, unix.EROFS) { // which is no reason to keep the status from readers
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, fmt.Errorf("opening update lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrBusy
		}
		return nil, fmt.Errorf("taking update lock: %w", err)
	}
	return &heldLock{f}, nil
}

// heldLock is the update lock while it is held.
type heldLock struct{ file *os.File }

// Close releases the lock. Closing the file alone is not enough: a program that the daemon is just starting, to apply
// settings, holds a copy of it until it runs.
func (l *heldLock) Close() error {
	return errors.Join(unix.Flock(int(l.file.Fd()), unix.LOCK_UN), l.file.Close())
}

// readJSON reads a file that writeJSON wrote. It reports whether there is one.
func readJSON(path string, v any) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxStateFile))
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return true, nil
}

// writeJSON replaces a file whole.
func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return durable.WriteFile(path, append(data, '\n'), 0o644)
}

// removeFile removes a file for good, if it is there.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// running is what runningPath holds.
type running struct {
	Command hostapi.Command `json:"command"`
}
