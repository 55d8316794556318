// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agent

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drydock-os/drydock/internal/agentapi"
)

// puts counts the reports of a state.
func (w *world) puts(state agentapi.State) (n int) {
	for _, call := range w.journal {
		if call == "put "+string(state) {
			n++
		}
	}
	return n
}

// A report that the apiserver understands and refuses is not sent for ever: the attempt has failed, and the node says so.
func TestARefusedReportEndsTheAttempt(t *testing.T) {
	for _, code := range []int{http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.refuse = func(s agentapi.Status) error {
					if s.CurrentState == agentapi.StagedAndPerformedUpdate {
						return &agentapi.StatusError{Code: code, Body: "no such slot"}
					}
					return nil
				}
				w.live(t, time.Hour)
				s := w.now()
				if s.CurrentState != agentapi.Idle || s.CrashCount != 1 || s.StateTransitionFailureTimestamp == nil || s.CurrentVersion != "1.20.0" {
					t.Errorf("the attempt has not ended as failed: %+v", s)
				}
				if !strings.Contains(s.LastError, "reporting the state StagedAndPerformedUpdate") || !strings.Contains(s.LastError, "no such slot") {
					t.Errorf("the error hides the cause: %q", s.LastError)
				}
				if n := w.puts(agentapi.StagedAndPerformedUpdate); n != reportTries || w.drains != 0 || w.cordoned {
					t.Errorf("reported %d times, %d drains, cordoned %t", n, w.drains, w.cordoned)
				}
			})
		})
	}
}

func TestARefusalByAccidentCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		left := reportTries - 1
		w.refuse = func(s agentapi.Status) error {
			if s.CurrentState == agentapi.StagedAndPerformedUpdate && left > 0 {
				left--
				return &agentapi.StatusError{Code: http.StatusConflict}
			}
			return nil
		}
		w.live(t, time.Hour)
		if s := w.now(); s.CurrentVersion != "1.21.0" || s.CrashCount != 0 || countPrepares(w.journal) != 1 {
			t.Errorf("prepared %d times, %+v", countPrepares(w.journal), s)
		}
	})
}

func TestARefusedMessageIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.refuse = func(s agentapi.Status) error {
			if s.TargetVersion == "1.21.0" {
				return &agentapi.StatusError{Code: http.StatusBadRequest}
			}
			return nil
		}
		w.live(t, time.Hour)
		s, checks := w.now(), 0
		for _, call := range w.journal {
			if call == "refresh" {
				checks++
			}
		}
		if s.CurrentState != agentapi.Idle || s.CrashCount != 0 || s.TargetVersion != "1.20.0" {
			t.Errorf("a report that tells of no other state became a failure: %+v", s)
		}
		if n := w.puts(agentapi.Idle); n != 1+reportTries*checks || checks < 25 || checks > 35 {
			t.Errorf("%d reports after %d looks for updates", n, checks)
		}
	})
}

// When not even the failure is taken, the controller's limits end the attempt; the agent waits for that, and for people.
func TestNothingIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.refuse = func(s agentapi.Status) error {
			if s.CurrentState != agentapi.Idle && w.spec.State != agentapi.Idle {
				return &agentapi.StatusError{Code: http.StatusUnprocessableEntity}
			}
			return nil
		}
		time.AfterFunc(time.Hour, func() { w.want(agentapi.Idle, "1.21.0") })
		w.live(t, time.Hour+time.Minute)
		if staged, failed := w.puts(agentapi.StagedAndPerformedUpdate), w.puts(agentapi.ErrorReset); staged > 40 || failed > 40 || w.drains != 0 {
			t.Errorf("within an hour reported %d and %d times, %d drains", staged, failed, w.drains)
		}
		if n := countPrepares(w.journal); n != 1 {
			t.Errorf("downloaded %d times", n)
		}
		if s := w.now(); s.CurrentState != agentapi.Idle {
			t.Errorf("did not follow the controller: %+v", s)
		}
	})
}

// A token that is not accepted, and a server that wants to be left alone for a while, are waited for.
func TestReportsWaitForTheApiserver(t *testing.T) {
	for _, tc := range []struct {
		err         *agentapi.StatusError
		least, most int // reports within ten minutes
	}{
		{&agentapi.StatusError{Code: http.StatusUnauthorized}, 10, 25},
		{&agentapi.StatusError{Code: http.StatusForbidden}, 10, 25},
		{&agentapi.StatusError{Code: http.StatusTooManyRequests, RetryAfter: time.Minute}, 5, 11},
		{&agentapi.StatusError{Code: http.StatusTooManyRequests, RetryAfter: 18 * time.Hour}, 3, 6},
		{&agentapi.StatusError{Code: http.StatusServiceUnavailable}, 100, 300},
	} {
		t.Run(fmt.Sprint(tc.err.Code, " ", tc.err.RetryAfter), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				over := time.Now().Add(10 * time.Minute)
				tries := 0
				w.refuse = func(s agentapi.Status) error {
					if s.CurrentState == agentapi.StagedAndPerformedUpdate && time.Now().Before(over) {
						tries++
						return tc.err
					}
					return nil
				}
				w.live(t, time.Hour)
				if s := w.now(); s.CurrentVersion != "1.21.0" || s.CrashCount != 0 || countPrepares(w.journal) != 1 {
					t.Errorf("prepared %d times, %+v", countPrepares(w.journal), s)
				}
				if tries < tc.least || tries > tc.most {
					t.Errorf("%d reports within ten minutes, want %d to %d", tries, tc.least, tc.most)
				}
			})
		})
	}
}
