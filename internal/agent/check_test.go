// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agent

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/hostapi"
)

// D36: a host that cannot reach its repository says so, since when and until when it could; and a host that can
// writes nothing, however often it looks.
func TestD36FailingChecksShow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.offered = ""
		puts := 0
		w.before = func(call string, _ int) {
			if strings.HasPrefix(call, "put ") {
				puts++
			}
			if puts > 0 && time.Now().Hour() >= 3 { // the worlds of synctest begin at midnight
				w.mu.Lock()
				w.broken[hostapi.CommandRefresh] = "no route to the repository"
				w.mu.Unlock()
			}
		}
		w.live(t, 5*time.Hour)
		got := w.now().UpdateCheck
		since, err := time.Parse(time.RFC3339, got.FailingSince)
		if err != nil || since.Hour() != 3 || !strings.Contains(got.Error, "no route to the repository") {
			t.Errorf("failing: %+v, %v", got, err)
		}
		last, err := time.Parse(time.RFC3339, got.LastSuccess)
		if err != nil || !last.Before(since) || since.Sub(last) > 10*time.Minute {
			t.Errorf("last success: %+v, %v", got, err)
		}
		if puts > 3 {
			t.Errorf("%d writes for one change", puts)
		}
	})
}

// What keeps a host where it is comes with its status, once; and the time of the last good look is renewed a few times
// per day.
func TestD36WhatHoldsTheHostBackShows(t *testing.T) {
	for name, tc := range map[string]struct {
		held    *hostapi.HeldUpdate
		listed  []string
		message string
	}{
		"wave":      {held: &hostapi.HeldUpdate{Version: "1.21.0", Reason: hostapi.HeldByWave, Until: "2026-01-02T03:04:05Z"}, message: "1.21.0 is there; this host waits for its wave until 2026-01-02T03:04:05Z"},
		"lock":      {held: &hostapi.HeldUpdate{Version: "1.21.0", Reason: hostapi.HeldByLock, LockedTo: "1.20.0"}, message: "1.21.0 is there; this host is locked to 1.20.0"},
		"fell back": {held: &hostapi.HeldUpdate{Version: "1.21.0", Reason: hostapi.HeldAsBlocked}, message: "1.21.0 is there; it fell back"},
		"original":  {listed: []string{"1.21.0", "1.20.0"}, message: "1.21.0 is there, but held back"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.offered = ""
				w.update.HeldUpdate, w.update.AvailableUpdates = tc.held, tc.listed
				puts := 0
				w.before = func(call string, _ int) {
					if strings.HasPrefix(call, "put ") {
						puts++
					}
				}
				w.live(t, 23*time.Hour)
				s := w.now()
				if s.CurrentState != agentapi.Idle || !strings.HasPrefix(s.Message, tc.message) || s.HeldUpdate.Version != "1.21.0" {
					t.Errorf("status %+v", s)
				}
				last, err := time.Parse(time.RFC3339, s.UpdateCheck.LastSuccess)
				if err != nil || time.Since(last) > 6*time.Hour+5*time.Minute {
					t.Errorf("last good look %q, %v", s.UpdateCheck.LastSuccess, err)
				}
				if puts > 6 {
					t.Errorf("%d writes in a day of which nothing is to be told", puts)
				}
				w.mu.Lock()
				w.update.HeldUpdate, w.offered = nil, "1.21.0"
				w.mu.Unlock()
				w.live(t, 10*time.Minute)
				if s := w.now(); s.CurrentVersion != "1.21.0" || s.HeldUpdate != (agentapi.Held{}) {
					t.Errorf("after its turn: %+v", s)
				}
			})
		})
	}
}
