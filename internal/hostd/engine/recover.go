// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package engine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/internal/durable"
	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/slot"
)

// Recover prepares the files of the engine after a start. The status of an earlier boot is dropped. If this daemon, or
// another program, was killed in the middle of a command, the status is corrected by what is on the disk, and the
// command is recorded as failed. When another process runs a command right now, everything is left to it.
func (e *Engine) Recover() error {
	held, err := lock(e.path(lockPath), unix.LOCK_EX)
	if errors.Is(err, ErrBusy) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(e.recoverLocked(), held.Close())
}

func (e *Engine) recoverLocked() error {
	e.sweep()
	if err := e.judge(); err != nil {
		return err
	}
	boot := []byte(e.cfg.System.BootID)
	if of, err := os.ReadFile(e.path(bootIDPath)); err != nil || !bytes.Equal(of, boot) {
		for _, name := range []string{statusPath, runningPath} {
			if err := removeFile(e.path(name)); err != nil {
				return fmt.Errorf("dropping the update status of an earlier boot: %w", err)
			}
		}
		if err := os.MkdirAll(filepath.Dir(e.path(bootIDPath)), 0o755); err != nil {
			return fmt.Errorf("preparing the update status: %w", err)
		}
		return durable.WriteFile(e.path(bootIDPath), boot, 0o644)
	}
	status, err := e.loadStatus()
	if errors.Is(err, ErrNoStatus) {
		return nil
	}
	if err != nil {
		// Unreadable is as good as none: every command writes a new one.
		e.cfg.Log.Warn("update status dropped", "error", err)
		return removeFile(e.path(statusPath))
	}
	var r running
	interrupted, err := readJSON(e.path(runningPath), &r)
	if err != nil {
		interrupted = false // we do not know which command it was; the status is still checked
	}
	if err := e.reconcile(status); err != nil {
		return err
	}
	if interrupted {
		const reason = "the host daemon ended while the command ran"
		status.MostRecentCommand = &hostapi.CommandResult{
			Type: r.Command, Status: hostapi.StatusFailed, ExitStatus: 1, Stderr: reason,
			Timestamp: e.cfg.Now().UTC().Format(timestampFormat), Interrupted: true,
		}
		e.cfg.Log.Warn("update command finished", "command", string(r.Command), "status", string(hostapi.StatusFailed),
			"duration_seconds", 0.0, "error", reason)
	}
	e.unwritten = e.record(status)
	return nil
}

// sweptAge is how old a file must be to be no longer in the middle of its writing, by somebody without the lock.
const sweptAge = time.Hour

// sweep removes what writing has left behind when the power went.
func (e *Engine) sweep() {
	dirs, err := filepath.Glob(filepath.Join(e.path(metadataPath), "*"))
	for _, dir := range append(dirs, filepath.Dir(e.path(stagedPath))) {
		err = errors.Join(err, durable.Sweep(dir, e.cfg.Now().Add(-sweptAge)))
	}
	if err != nil {
		e.cfg.Log.Warn("leftovers of a power cut stay", "error", err)
	}
}

func (e *Engine) reconcile(s *hostapi.UpdateStatus) error {
	var image *hostapi.Image
	if staged, err := e.loadStaged(); err == nil && staged != nil {
		image = &staged.Image
	}
	err := e.cfg.Disk.View(func(_ *gpt.File, t *slot.Table) error {
		idle := e.cfg.System.Slot.Other()
		next, err := t.Next()
		reconcile(s, image, t.Flags(idle), err == nil && next == idle)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the slots: %w", err)
	}
	return nil
}
