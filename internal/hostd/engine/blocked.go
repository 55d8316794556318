// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package engine

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/slot"
)

// attempt says that the next boot is to try a system. It is durable before the boot flags say so, and stays until that
// system has proved itself or the host is back in the one before: whoever boots next can tell what happened.
type attempt struct {
	Image  hostapi.Image `json:"image"`
	Slot   string        `json:"slot"`    // of Image
	BootID string        `json:"boot_id"` // the boot that decided it
	Reason string        `json:"reason,omitempty"`
}

// maxBlocked bounds the list of blocked systems; the oldest is forgotten first.
const maxBlocked = 64

// blockedList holds the systems that did not stay up on this host, oldest first.
type blockedList []hostapi.BlockedUpdate

// BlockedError means that a system is refused because it did not stay up on this host. It is an ErrNotAllowed.
type BlockedError struct{ hostapi.BlockedUpdate }

func (e *BlockedError) Error() string {
	return fmt.Sprintf("version %[1]s is blocked on this host since %[2]s: %[3]s; to try it again: apiclient update unblock %[1]s",
		e.Image.Version, e.Since, e.Reason)
}

// Is makes it an ErrNotAllowed.
func (*BlockedError) Is(target error) bool { return target == ErrNotAllowed }

func (e *Engine) blocked() (list blockedList, err error) {
	if _, err := readJSON(e.path(blockedPath), &list); err != nil {
		return nil, fmt.Errorf("reading blocked versions: %w", err)
	}
	return list, nil
}

// check refuses a blocked image.
func (l blockedList) check(image hostapi.Image) error {
	for _, b := range l {
		if b.Image == image {
			return &BlockedError{b}
		}
	}
	return nil
}

// refuse says why a command must not start because of what it would install. A prepare that has nothing to do gets an
// answer too, when the reason is a blocked version that is on offer.
func (l blockedList) refuse(cmd hostapi.Command, s *hostapi.UpdateStatus) error {
	switch {
	case cmd == hostapi.CommandActivate && s.StagingPartition != nil:
		return l.check(s.StagingPartition.Image)
	case cmd == hostapi.CommandPrepare && s.ChosenUpdate != nil:
		return l.check(*s.ChosenUpdate)
	case cmd == hostapi.CommandPrepare && s.UpdateState == hostapi.StateIdle:
		for _, version := range s.AvailableUpdates { // newest first
			for _, b := range l {
				if b.Image.Version == version {
					return &BlockedError{b}
				}
			}
		}
	}
	return nil
}

// Unblock lets a version be tried again. The error is ErrNotBlocked when there is nothing to do, and ErrBusy while
// an update command runs.
func (e *Engine) Unblock(version string) error {
	e.mu.Lock() // as in Start
	defer e.mu.Unlock()
	if e.done != nil {
		return ErrBusy
	}
	held, err := lock(e.path(lockPath), unix.LOCK_EX)
	if err != nil {
		return err
	}
	return errors.Join(e.unblock(version), held.Close())
}

func (e *Engine) unblock(version string) error {
	list, err := e.blocked()
	if err != nil {
		return err
	}
	rest := slices.DeleteFunc(slices.Clone(list), func(b hostapi.BlockedUpdate) bool { return b.Image.Version == version })
	if len(rest) == len(list) {
		return fmt.Errorf("version %s: %w", version, ErrNotBlocked)
	}
	if err := e.writeBlocked(rest); err != nil {
		return err
	}
	e.cfg.Log.Info("update unblocked", "version", version)
	return nil
}

func (e *Engine) writeBlocked(list blockedList) error {
	if err := writeJSON(e.path(blockedPath), list); err != nil {
		return fmt.Errorf("writing blocked versions: %w", err)
	}
	return nil
}

// arm makes the idle slot the next to boot, after leaving word of what is attempted.
func (e *Engine) arm() error {
	s, err := e.loadStaged()
	if err != nil {
		return fmt.Errorf("reading what is staged: %w", err)
	}
	idle := e.cfg.System.Slot.Other()
	if s != nil && s.Slot == idle.String() {
		list, err := e.blocked()
		if err != nil {
			return err
		}
		if err := list.check(s.Image); err != nil {
			return err
		}
		if err := writeJSON(e.path(attemptPath), attempt{Image: s.Image, Slot: s.Slot, BootID: e.cfg.System.BootID}); err != nil {
			return fmt.Errorf("remembering the attempt: %w", err)
		}
	}
	return e.flip((*slot.Table).UpgradeToInactive)
}

// disarm takes arm back. The record goes last: without the flags it means nothing.
func (e *Engine) disarm() error {
	if err := e.flip((*slot.Table).CancelUpgrade); err != nil {
		return err
	}
	return e.forgetAttempt()
}

func (e *Engine) forgetAttempt() error {
	if err := removeFile(e.path(attemptPath)); err != nil {
		return fmt.Errorf("forgetting the attempt: %w", err)
	}
	return nil
}

// pendingAttempt returns nil when no attempt is under way.
func (e *Engine) pendingAttempt() (*attempt, error) {
	a := &attempt{}
	found, err := readJSON(e.path(attemptPath), a)
	if err != nil {
		return nil, fmt.Errorf("reading the attempt: %w", err)
	}
	if !found {
		return nil, nil
	}
	return a, nil
}

// judge finds out, at the first start after a boot, whether an attempt failed: another slot runs than the one that was
// to be tried, and that one was armed and has not proved itself. Flags that do not say so mean that the attempt never
// began, or was taken back, or that a person went back later.
func (e *Engine) judge() error {
	a, err := e.pendingAttempt()
	if err != nil {
		e.cfg.Log.Warn("attempt dropped", "error", err) // not readable is as good as none
		return e.forgetAttempt()
	}
	active := e.cfg.System.Slot
	if a == nil || a.Slot == active.String() || a.BootID == e.cfg.System.BootID {
		return nil
	}
	var flags slot.Flags
	if err := e.cfg.Disk.View(func(_ *gpt.File, t *slot.Table) error { flags = t.Flags(active.Other()); return nil }); err != nil {
		return fmt.Errorf("reading the slots: %w", err)
	}
	if flags.Priority > 0 && !flags.Successful {
		if err := e.block(a); err != nil {
			return err
		}
		if flags.Tries > 0 { // the boot loader passed it over: it must not be tried by the way, at some later boot
			if err := e.flip((*slot.Table).CancelUpgrade); err != nil {
				return err
			}
		}
	}
	return e.forgetAttempt()
}

// block remembers that an attempt failed. Doing it twice, because the power went, changes nothing.
func (e *Engine) block(a *attempt) error {
	list, err := e.blocked()
	if err != nil {
		e.cfg.Log.Warn("blocked versions dropped", "error", err)
		list = nil
	}
	if list.check(a.Image) != nil {
		return nil
	}
	reason := fmt.Sprintf("slot %s did not stay up and the host fell back to slot %v", a.Slot, e.cfg.System.Slot)
	if a.Reason != "" {
		reason += ": " + a.Reason
	}
	list = append(list, hostapi.BlockedUpdate{
		Image: a.Image, Reason: reason, Since: e.cfg.Now().UTC().Format(time.RFC3339),
	})
	list = list[max(0, len(list)-maxBlocked):]
	if err := e.writeBlocked(list); err != nil {
		return err
	}
	e.cfg.Log.Error("update blocked", "version", a.Image.Version, "slot", a.Slot, "reason", reason)
	return nil
}

// Proved says that the running system has proved itself, so an attempt that led here is over.
func (e *Engine) Proved() error {
	a, err := e.pendingAttempt()
	if err != nil || a == nil || a.Slot != e.cfg.System.Slot.String() {
		return err
	}
	return e.forgetAttempt()
}

// GivingUp leaves word, for the system that the host goes back to, of why the running one did not prove itself.
func (e *Engine) GivingUp(reason string) error {
	a, err := e.pendingAttempt()
	if err != nil || a == nil || a.Slot != e.cfg.System.Slot.String() {
		return err
	}
	a.Reason = reason
	if err := writeJSON(e.path(attemptPath), a); err != nil {
		return fmt.Errorf("noting why the system is given up: %w", err)
	}
	return nil
}
