// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package engine

import (
	"errors"

	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/slot"
)

// Why a command does not start.
var (
	// ErrBusy means that another command holds the update lock.
	ErrBusy = errors.New("update lock held")

	// ErrNotAllowed means that the command does not fit the update state.
	ErrNotAllowed = errors.New("update action not allowed according to update state")

	// ErrNoUpdate means that there is no chosen update to prepare.
	ErrNoUpdate = errors.New("no update was chosen")

	// ErrNothingStaged means that no image is in the idle slot.
	ErrNothingStaged = errors.New("no image is staged")

	// ErrNotBlocked means that a version cannot be unblocked because it is not blocked.
	ErrNotBlocked = errors.New("the version is not blocked")

	// ErrStopping means that the daemon is about to end.
	ErrStopping = errors.New("the host daemon is stopping")

	// ErrNoStatus means that no command has run since boot.
	ErrNoStatus = errors.New("update status is uninitialized")
)

// Allowed says whether a command may start in the present state.
func Allowed(cmd hostapi.Command, s *hostapi.UpdateStatus) error {
	state := s.UpdateState
	switch cmd {
	case hostapi.CommandRefresh:
		return nil
	case hostapi.CommandPrepare:
		if state != hostapi.StateAvailable && state != hostapi.StateStaged {
			return ErrNotAllowed
		}
		if s.ChosenUpdate == nil {
			return ErrNoUpdate
		}
		return nil
	case hostapi.CommandActivate, hostapi.CommandDeactivate:
		want := hostapi.StateStaged
		if cmd == hostapi.CommandDeactivate {
			want = hostapi.StateReady
		}
		if state != want {
			return ErrNotAllowed
		}
		if s.StagingPartition == nil {
			return ErrNothingStaged
		}
		return nil
	}
	return ErrNotAllowed
}

// Offer is what a refresh found.
type Offer struct {
	Available []string // versions, newest first; never nil
	Chosen    *hostapi.Image
	Held      *hostapi.HeldUpdate // why none is chosen although one is published; nil otherwise
}

// Advance moves the status after a command. On failure the state stays, except that a failed refresh forgets that an
// update was available: clients rely on it. What was known of the update is kept, for the next prepare.
func Advance(cmd hostapi.Command, s *hostapi.UpdateStatus, ok bool, found *Offer) {
	switch {
	case cmd == hostapi.CommandRefresh:
		if ok {
			s.AvailableUpdates, s.ChosenUpdate, s.HeldUpdate = found.Available, found.Chosen, found.Held
		}
		if s.UpdateState == hostapi.StateIdle || s.UpdateState == hostapi.StateAvailable {
			s.UpdateState = hostapi.StateIdle
			if ok && s.ChosenUpdate != nil {
				s.UpdateState = hostapi.StateAvailable
			}
		}
	case !ok:
	case cmd == hostapi.CommandPrepare:
		s.UpdateState = hostapi.StateStaged
		s.StagingPartition = &hostapi.Partition{Image: *s.ChosenUpdate}
	case cmd == hostapi.CommandActivate:
		setNext(s, hostapi.StateReady)
	case cmd == hostapi.CommandDeactivate:
		setNext(s, hostapi.StateStaged)
	}
}

// setNext puts a status with a staging partition into Staged or Ready.
func setNext(s *hostapi.UpdateStatus, state hostapi.State) {
	s.UpdateState = state
	s.StagingPartition.NextToBoot = state == hostapi.StateReady
	if s.ActivePartition != nil {
		s.ActivePartition.NextToBoot = state != hostapi.StateReady
	}
}

// reconcile corrects a status that was saved before a command was cut short: the disk is right. staged is the image
// that is known to be in the idle slot, nil if none; idle are that slot's flags, and idleNext says whether it is the
// next to boot.
func reconcile(s *hostapi.UpdateStatus, staged *hostapi.Image, idle slot.Flags, idleNext bool) {
	if s.UpdateState != hostapi.StateStaged && s.UpdateState != hostapi.StateReady {
		return // whatever is in the idle slot will be prepared again
	}
	if staged == nil || s.StagingPartition == nil || !idleNext && idle.Tries == 0 {
		s.StagingPartition = nil
		if s.ActivePartition != nil {
			s.ActivePartition.NextToBoot = !idleNext
		}
		s.UpdateState = hostapi.StateIdle
		if s.ChosenUpdate != nil {
			s.UpdateState = hostapi.StateAvailable
		}
		return
	}
	s.StagingPartition.Image = *staged
	state := hostapi.StateStaged
	if idleNext {
		state = hostapi.StateReady
	}
	setNext(s, state)
}
