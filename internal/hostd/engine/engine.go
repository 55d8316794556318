// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package engine carries out updates of this host: it looks for one, writes it to the idle slot, and makes that slot
// the next to boot, or not.
//
// One command runs at a time, under a lock that other programs of the host respect. Its outcome is on disk before the
// lock is released, so whoever finds the lock free reads the truth. At every instant, also half-way through any
// command, the running slot can boot again: the idle slot loses its boot flags before its first byte changes, and gets
// one back only after everything in it was verified, once while streaming and once more as read back from the disk.
//
// Memory does not depend on the size of images. After a kill, the next start corrects the status by what is on the
// disk and goes on from there.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/internal/durable"
	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostd/system"
	"github.com/drydock-os/drydock/internal/slot"
)

// Config holds everything an Engine needs. Fields are required unless they name a default.
type Config struct {
	Root   string // below which all files of the host are
	System *system.Identity
	Disk   *system.Disk
	Now    func() time.Time // default: time.Now
	HTTP   *http.Client     // for the repository; default: one made by the update settings (proxy)
	Log    *slog.Logger     // default: discard

	Boot func() *hostapi.Boot // how the running boot does, for readers of the status; default: they are not told
}

// Engine runs update commands. Its methods may be called from several goroutines.
type Engine struct {
	cfg  Config
	jobs chan job // holds at most the one command that has the lock

	progress progress
	rate     atomic.Int64 // bytes per second of downloads, as the settings said last; 0: no limit

	mu        sync.RWMutex
	done      chan struct{} // closed when the running command ends; nil: none runs
	stopped   bool
	unwritten *unwritten // what the status file should say; nil: it does
}

type job struct {
	command hostapi.Command
	status  *hostapi.UpdateStatus
	lock    *heldLock
	done    chan struct{}
}

// New checks cfg and returns an Engine. It touches nothing.
func New(cfg Config) (*Engine, error) {
	if cfg.Root == "" || cfg.System == nil || cfg.Disk == nil {
		return nil, errors.New("update engine: root, system and disk are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Engine{cfg: cfg, jobs: make(chan job, 1)}, nil
}

func (e *Engine) path(name string) string { return filepath.Join(e.cfg.Root, name) }

// Run carries out started commands until ctx ends. A command that runs then is stopped and recorded as failed.
// Call Recover before.
func (e *Engine) Run(ctx context.Context) error {
	for {
		select {
		case j := <-e.jobs:
			e.execute(ctx, j)
			continue
		case <-ctx.Done():
		}
		e.mu.Lock()
		e.stopped = true
		e.mu.Unlock()
		select {
		case j := <-e.jobs: // started in the last moment: fails at once, but leaves a truthful status
			e.execute(ctx, j)
		default:
		}
		return nil
	}
}

// Start starts a command. When it returns nil the update lock is taken; it is held until the outcome is in the status.
// Errors: ErrBusy, ErrNotAllowed, ErrNoUpdate, ErrNothingStaged, ErrStopping, and those of reading the disk.
func (e *Engine) Start(cmd hostapi.Command) error {
	e.mu.Lock() // also keeps our own readers of the status, which share the lock file, out of the way
	defer e.mu.Unlock()
	if e.stopped {
		return ErrStopping
	}
	if e.done != nil {
		return ErrBusy
	}
	held, err := lock(e.path(lockPath), unix.LOCK_EX)
	if err != nil {
		return err
	}
	status, err := e.startable(cmd)
	if err != nil {
		return errors.Join(err, held.Close())
	}
	e.done = make(chan struct{})
	e.progress.start(cmd)
	e.jobs <- job{cmd, status, held, e.done}
	return nil
}

// startable reads the status, making it if this is the first command since boot, and checks that cmd may start.
func (e *Engine) startable(cmd hostapi.Command) (*hostapi.UpdateStatus, error) {
	status, err := e.loadStatus()
	if errors.Is(err, ErrNoStatus) {
		status, err = e.newStatus()
	}
	if err != nil {
		return nil, err
	}
	refused := Allowed(cmd, status)
	blocked, err := e.blocked()
	if err != nil {
		return nil, err
	}
	if err := blocked.refuse(cmd, status); err != nil {
		refused = err
	}
	if err := writeJSON(e.path(statusPath), status); err != nil {
		return nil, fmt.Errorf("writing update status: %w", err)
	}
	e.unwritten = nil
	if refused != nil {
		return nil, refused
	}
	if err := writeJSON(e.path(runningPath), running{cmd}); err != nil {
		return nil, fmt.Errorf("writing update status: %w", err)
	}
	return status, nil
}

// newStatus is the status of a host that has not yet run an update command since boot.
func (e *Engine) newStatus() (*hostapi.UpdateStatus, error) {
	s := &hostapi.UpdateStatus{UpdateState: hostapi.StateIdle, AvailableUpdates: []string{}}
	err := e.cfg.Disk.View(func(_ *gpt.File, t *slot.Table) error {
		next, err := t.Next()
		s.ActivePartition = &hostapi.Partition{Image: e.running(), NextToBoot: err == nil && next == e.cfg.System.Slot}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the slots: %w", err)
	}
	return s, nil
}

// running is the image that runs now.
func (e *Engine) running() hostapi.Image {
	id := e.cfg.System
	return hostapi.Image{Arch: id.Arch, Version: id.Version.String(), Variant: id.Release.Variant}
}

// execute runs one command, records how it ended, and only then releases the lock.
func (e *Engine) execute(ctx context.Context, j job) {
	began := time.Now()
	e.cfg.Log.Info("update command started", "command", string(j.command))
	found, err := e.do(ctx, j.command, j.status)
	Advance(j.command, j.status, err == nil, found)
	result := &hostapi.CommandResult{
		Type: j.command, Status: hostapi.StatusSuccess,
		Timestamp: e.cfg.Now().UTC().Format(timestampFormat),
	}
	attrs := []any{"command", string(j.command), "status", "", "duration_seconds", time.Since(began).Seconds()}
	if err != nil {
		result.Status, result.ExitStatus, result.Stderr = hostapi.StatusFailed, 1, oneLine(err)
		if advice := durable.Advice(err); advice != "" {
			result.Stderr += ": " + advice
		}
		result.Interrupted = ctx.Err() != nil
		attrs = append(attrs, "error", result.Stderr)
	}
	attrs[3] = string(result.Status)
	j.status.MostRecentCommand = result
	kept := e.record(j.status)
	e.mu.Lock()
	e.unwritten = kept
	if err := j.lock.Close(); err != nil {
		e.cfg.Log.Error("update lock not released", "error", err)
	}
	e.done = nil
	e.progress.end()
	e.mu.Unlock()
	close(j.done)
	if err != nil {
		e.cfg.Log.Warn("update command finished", attrs...)
	} else {
		e.cfg.Log.Info("update command finished", attrs...)
	}
}

// timestampFormat always has nanoseconds, so that two results within a second differ.
const timestampFormat = "2006-01-02T15:04:05.000000000Z07:00"

// oneLine is the text of err without line breaks, for readers that show it in a table.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

func (e *Engine) do(ctx context.Context, cmd hostapi.Command, s *hostapi.UpdateStatus) (*Offer, error) {
	if err := ctx.Err(); err != nil {
		return nil, errors.New("the host daemon was stopped before the command began")
	}
	switch cmd {
	case hostapi.CommandRefresh:
		return e.refresh(ctx)
	case hostapi.CommandPrepare:
		return nil, e.prepare(ctx, *s.ChosenUpdate)
	case hostapi.CommandActivate:
		return nil, e.arm()
	case hostapi.CommandDeactivate:
		return nil, e.disarm()
	}
	return nil, fmt.Errorf("unknown command %q", cmd)
}

// flip changes the boot flags as seen from the running slot.
func (e *Engine) flip(change func(*slot.Table, slot.Slot) error) error {
	return e.cfg.Disk.Change(func(_ *gpt.File, t *slot.Table) error { return change(t, e.cfg.System.Slot) })
}

// Status returns the present status. ErrBusy while a command runs here or in another process; ErrNoStatus before the
// first command since boot.
func (e *Engine) Status() (*hostapi.UpdateStatus, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.done != nil {
		return nil, ErrBusy
	}
	shared, err := lock(e.path(lockPath), unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	s, err := e.loadStatus()
	if err == nil {
		err = e.add(s)
	}
	return s, errors.Join(err, shared.Close())
}

// add completes a status by what is kept elsewhere.
func (e *Engine) add(s *hostapi.UpdateStatus) error {
	blocked, err := e.blocked()
	s.BlockedUpdates = blocked
	if e.cfg.Boot != nil {
		s.Boot = e.cfg.Boot()
	}
	return err
}

// WaitStatus is Status, but waits until no command runs or ctx ends; then the answer is ErrBusy.
func (e *Engine) WaitStatus(ctx context.Context) (*hostapi.UpdateStatus, error) {
	pause := 50 * time.Millisecond
	for {
		s, err := e.Status()
		if !errors.Is(err, ErrBusy) {
			return s, err
		}
		e.mu.RLock()
		done := e.done
		e.mu.RUnlock()
		var other <-chan time.Time
		if done == nil { // another process has the lock, whose release makes no event
			timer := time.NewTimer(pause)
			defer timer.Stop()
			other, pause = timer.C, min(2*pause, time.Second)
		}
		select {
		case <-ctx.Done():
			return nil, ErrBusy
		case <-done:
		case <-other:
		}
	}
}
