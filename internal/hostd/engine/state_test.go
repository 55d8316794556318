// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package engine

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/slot"
)

var (
	old    = hostapi.Image{Arch: "x86_64", Version: "1.0.0", Variant: "metal"}
	newer  = hostapi.Image{Arch: "x86_64", Version: "1.1.0", Variant: "metal"}
	newest = hostapi.Image{Arch: "x86_64", Version: "1.2.0", Variant: "metal"}
)

// statusIn is the status of a host that came to a state in the usual way.
func statusIn(state hostapi.State) *hostapi.UpdateStatus {
	s := &hostapi.UpdateStatus{
		UpdateState: state, AvailableUpdates: []string{},
		ActivePartition: &hostapi.Partition{Image: old, NextToBoot: state != hostapi.StateReady},
	}
	if state != hostapi.StateIdle {
		s.ChosenUpdate = &newer
	}
	if state == hostapi.StateStaged || state == hostapi.StateReady {
		s.StagingPartition = &hostapi.Partition{Image: newer, NextToBoot: state == hostapi.StateReady}
	}
	return s
}

// The whole table: every command in every state, with success and with failure.
func TestTransitions(t *testing.T) {
	const idle, available, stagedState, ready = hostapi.StateIdle, hostapi.StateAvailable, hostapi.StateStaged, hostapi.StateReady
	for _, tc := range []struct {
		cmd           hostapi.Command
		from          hostapi.State
		refused       error
		good, notGood hostapi.State
	}{
		{hostapi.CommandRefresh, idle, nil, available, idle},
		{hostapi.CommandRefresh, available, nil, available, idle},
		{hostapi.CommandRefresh, stagedState, nil, stagedState, stagedState},
		{hostapi.CommandRefresh, ready, nil, ready, ready},
		{hostapi.CommandPrepare, idle, ErrNotAllowed, "", ""},
		{hostapi.CommandPrepare, available, nil, stagedState, available},
		{hostapi.CommandPrepare, stagedState, nil, stagedState, stagedState},
		{hostapi.CommandPrepare, ready, ErrNotAllowed, "", ""},
		{hostapi.CommandActivate, idle, ErrNotAllowed, "", ""},
		{hostapi.CommandActivate, available, ErrNotAllowed, "", ""},
		{hostapi.CommandActivate, stagedState, nil, ready, stagedState},
		{hostapi.CommandActivate, ready, ErrNotAllowed, "", ""},
		{hostapi.CommandDeactivate, idle, ErrNotAllowed, "", ""},
		{hostapi.CommandDeactivate, available, ErrNotAllowed, "", ""},
		{hostapi.CommandDeactivate, stagedState, ErrNotAllowed, "", ""},
		{hostapi.CommandDeactivate, ready, nil, stagedState, ready},
		{"unknown", available, ErrNotAllowed, "", ""},
	} {
		s := statusIn(tc.from)
		if err := Allowed(tc.cmd, s); !errors.Is(err, tc.refused) {
			t.Errorf("%s in %s: %v, want %v", tc.cmd, tc.from, err, tc.refused)
		}
		if tc.refused != nil {
			continue
		}
		for ok, want := range map[bool]hostapi.State{true: tc.good, false: tc.notGood} {
			got := statusIn(tc.from)
			Advance(tc.cmd, got, ok, &Offer{Available: []string{}, Chosen: &newer})
			expected := statusIn(want)
			if got.ChosenUpdate != nil {
				expected.ChosenUpdate = got.ChosenUpdate // a failed refresh keeps what it knew
			}
			if diff := cmp.Diff(expected, got); diff != "" {
				t.Errorf("%s in %s, success %v (-want +got):\n%s", tc.cmd, tc.from, ok, diff)
			}
		}
	}
}

func TestMissingPieces(t *testing.T) {
	s := statusIn(hostapi.StateAvailable)
	s.ChosenUpdate = nil
	if err := Allowed(hostapi.CommandPrepare, s); !errors.Is(err, ErrNoUpdate) {
		t.Errorf("prepare without a chosen update: %v", err)
	}
	for cmd, state := range map[hostapi.Command]hostapi.State{
		hostapi.CommandActivate: hostapi.StateStaged, hostapi.CommandDeactivate: hostapi.StateReady,
	} {
		s := statusIn(state)
		s.StagingPartition = nil
		if err := Allowed(cmd, s); !errors.Is(err, ErrNothingStaged) {
			t.Errorf("%s with nothing staged: %v", cmd, err)
		}
	}
}

func TestRefreshThatFindsNothing(t *testing.T) {
	s := statusIn(hostapi.StateAvailable)
	Advance(hostapi.CommandRefresh, s, true, &Offer{Available: []string{"1.0.0"}})
	if s.UpdateState != hostapi.StateIdle || s.ChosenUpdate != nil {
		t.Errorf("state %s, chosen %+v", s.UpdateState, s.ChosenUpdate)
	}
}

// What the disk says counts more than a status saved before a kill.
func TestReconcile(t *testing.T) {
	cleared, valid := slot.Flags{}, slot.Flags{Tries: 1}
	for _, tc := range []struct {
		name     string
		from     hostapi.State
		staged   *hostapi.Image
		idle     slot.Flags
		idleNext bool
		want     hostapi.State
		image    hostapi.Image
	}{
		{"nothing happened, staged", hostapi.StateStaged, &newer, valid, false, hostapi.StateStaged, newer},
		{"nothing happened, ready", hostapi.StateReady, &newer, valid, true, hostapi.StateReady, newer},
		{"killed in a first prepare", hostapi.StateAvailable, nil, cleared, false, hostapi.StateAvailable, hostapi.Image{}},
		{"killed in a second prepare", hostapi.StateStaged, nil, cleared, false, hostapi.StateAvailable, hostapi.Image{}},
		{"killed before the mark of a second prepare", hostapi.StateStaged, &newest, cleared, false, hostapi.StateAvailable, hostapi.Image{}},
		{"killed after the mark of a second prepare", hostapi.StateStaged, &newest, valid, false, hostapi.StateStaged, newest},
		{"killed after activating", hostapi.StateStaged, &newer, valid, true, hostapi.StateReady, newer},
		{"killed after deactivating", hostapi.StateReady, &newer, valid, false, hostapi.StateStaged, newer},
	} {
		s := statusIn(tc.from)
		reconcile(s, tc.staged, tc.idle, tc.idleNext)
		want := statusIn(tc.want)
		if want.StagingPartition != nil {
			want.StagingPartition.Image = tc.image
		}
		if diff := cmp.Diff(want, s); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}
