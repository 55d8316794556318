// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/Masterminds/semver/v3"
	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/manifest"
)

// Wish is what a person at the keyboard wants other than what the settings say. The zero value wants nothing else.
type Wish struct {
	Variant     string          // move to another variant; default: the running one
	IgnoreWaves bool            // do not wait for the turn of this host
	Version     *semver.Version // exactly this version; default: as the settings choose
}

func (w Wish) change(h *manifest.Host) {
	if w.Variant != "" {
		h.Variant = w.Variant
	}
	h.IgnoreWaves = h.IgnoreWaves || w.IgnoreWaves
}

// Look asks the repository and returns all updates that this host may move to, newest first, and the one that it
// should move to, nil when it should stay. It changes nothing on the disk.
func (e *Engine) Look(ctx context.Context, w Wish) (all []manifest.Update, chosen *manifest.Update, err error) {
	o, err := e.consult(ctx, w.change)
	if err != nil {
		return nil, nil, err
	}
	defer o.close()
	if w.Version == nil {
		return o.applicable, manifest.Choose(o.host, o.applicable), nil
	}
	for i := range o.applicable {
		if o.applicable[i].Version.Equal(w.Version) {
			return o.applicable, &o.applicable[i], nil
		}
	}
	return o.applicable, nil, nil
}

// Write writes an update to the idle slot, as the prepare command does. It is for programs other than the daemon: the
// daemon's status is corrected by what is on the disk afterwards. The error is ErrBusy while a command runs anywhere.
func (e *Engine) Write(ctx context.Context, image hostapi.Image, w Wish) error {
	return e.direct(func() error { return e.prepare(ctx, image, w.change) })
}

// Update is Write and Apply without anybody in between: what becomes the next to boot is what was written.
func (e *Engine) Update(ctx context.Context, image hostapi.Image, w Wish) error {
	return e.direct(func() error {
		if err := e.prepare(ctx, image, w.change); err != nil {
			return err
		}
		return e.arm()
	})
}

// Apply makes the idle slot the next to boot, and Revert takes that back. Both are for programs other than the daemon,
// as Write is, and need no network.
func (e *Engine) Apply() error {
	return e.direct(e.arm)
}

// Revert is described with Apply.
func (e *Engine) Revert() error {
	return e.direct(e.disarm)
}

// direct runs f under the update lock.
func (e *Engine) direct(f func() error) error {
	held, err := lock(e.path(lockPath), unix.LOCK_EX)
	if err != nil {
		return err
	}
	return errors.Join(f(), e.correct(), held.Close())
}

// correct brings the status, if there is one, in line with the disk.
func (e *Engine) correct() error {
	s, err := e.loadStatus()
	if errors.Is(err, ErrNoStatus) {
		return nil
	}
	if err == nil {
		err = e.reconcile(s)
	}
	if err == nil {
		err = writeJSON(e.path(statusPath), s)
	}
	if err != nil {
		return fmt.Errorf("correcting the update status: %w", err)
	}
	return nil
}
