// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"errors"
	"strings"
	"testing"

	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/slot"
)

// updateTo brings a host from its first start to the reboot into an update.
func (s *site) updateTo(version string) {
	s.t.Helper()
	d := s.start()
	d.log.await(s.t, "boot marked successful")
	if status := d.mustCommand(d.Refresh, hostapi.StateAvailable); status.ChosenUpdate.Version != version {
		s.t.Fatalf("chose %s", status.ChosenUpdate.Version)
	}
	d.mustCommand(d.Prepare, hostapi.StateStaged)
	d.mustCommand(d.Activate, hostapi.StateReady)
	if err := d.stop(); err != nil {
		s.t.Fatal(err)
	}
}

// wantBoot boots and checks which slot that was.
func (s *site) wantBoot(want slot.Slot) {
	s.t.Helper()
	if got := s.bootLoader(); got != want {
		s.t.Fatalf("booted slot %v, want %v", got, want)
	}
}

// A system that never proves itself is tried once, and then no more until somebody says so.
func TestFallbackIsRemembered(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0", "1.21.0")
	s.wantBoot(slot.A)
	s.updateTo("1.21.0")
	s.wantBoot(slot.B) // and it crashes before it can prove itself
	s.wantBoot(slot.A)
	for range 2 { // the memory survives restarts and boots
		d := s.start()
		d.log.await(t, "boot marked successful")
		status := d.mustCommand(d.Refresh, hostapi.StateIdle)
		if status.ChosenUpdate != nil || len(status.BlockedUpdates) != 1 {
			t.Fatalf("chose %+v, blocked %+v", status.ChosenUpdate, status.BlockedUpdates)
		}
		if b := status.BlockedUpdates[0]; b.Image.Version != "1.21.0" || !strings.Contains(b.Reason, "fell back to slot A") {
			t.Errorf("blocked %+v", b)
		}
		err := d.Prepare(t.Context())
		if !errors.Is(err, hostapi.ErrNotAllowed) || !strings.Contains(err.Error(), "apiclient update unblock 1.21.0") {
			t.Errorf("prepare: %v", err)
		}
		if err := d.stop(); err != nil {
			t.Fatal(err)
		}
		s.wantBoot(slot.A)
	}

	// A newer version is not concerned.
	s.publish("1.22.0")
	d := s.start()
	d.log.await(t, "boot marked successful")
	if status := d.mustCommand(d.Refresh, hostapi.StateAvailable); status.ChosenUpdate.Version != "1.22.0" {
		t.Errorf("chose %+v", status.ChosenUpdate)
	}
	if err := d.Unblock(t.Context(), "1.22.0"); !errors.Is(err, hostapi.ErrNotFound) {
		t.Errorf("unblocking what is not blocked: %v", err)
	}
	if err := d.Unblock(t.Context(), "1.21.0"); err != nil {
		t.Fatal(err)
	}
	if status := d.mustCommand(d.Refresh, hostapi.StateAvailable); status.BlockedUpdates != nil {
		t.Errorf("blocked %+v", status.BlockedUpdates)
	}
}

// Told to, the host tries the version again, and this time it works.
func TestUnblockedVersionIsTriedAgain(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0", "1.21.0")
	s.wantBoot(slot.A)
	s.updateTo("1.21.0")
	s.wantBoot(slot.B)
	s.wantBoot(slot.A)
	d := s.start()
	d.log.await(t, "boot marked successful")
	d.mustCommand(d.Refresh, hostapi.StateIdle)
	if err := d.Unblock(t.Context(), "1.21.0"); err != nil {
		t.Fatal(err)
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	s.updateTo("1.21.0")
	s.wantBoot(slot.B)
	d = s.start()
	d.log.await(t, `"boot marked successful","slot":"B"`)
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	// Going back by hand from a system that was good is no fallback.
	if err := s.change(func(table *slot.Table) error { return table.RollbackToInactive(slot.B) }); err != nil {
		t.Fatal(err)
	}
	s.wantBoot(slot.A)
	d = s.start()
	if status := d.mustCommand(d.Refresh, hostapi.StateAvailable); status.BlockedUpdates != nil {
		t.Errorf("blocked %+v", status.BlockedUpdates)
	}
}

// Taken back in time, or never begun because the power went between the record and the flags: no fallback.
func TestAttemptsThatWereNone(t *testing.T) {
	for name, undo := range map[string]func(*slot.Table) error{
		"deactivated, record left": func(table *slot.Table) error { return table.CancelUpgrade(slot.A) },
		"cleared by hand":          func(table *slot.Table) error { return table.ClearInactive(slot.A) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, 1<<20, "1.20.0", "1.21.0")
			s.wantBoot(slot.A)
			s.updateTo("1.21.0")
			if err := s.change(undo); err != nil {
				t.Fatal(err)
			}
			s.wantBoot(slot.A)
			s.updateTo("1.21.0")
		})
	}
}
