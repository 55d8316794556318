// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agent

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/hostapi"
)

// live keeps an agent running in the world for d, starting a new one at once when the host rebooted or
// before killed it. It returns how many agents there were.
func (w *world) live(t *testing.T, d time.Duration, change ...func(*Config)) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	agents := 0
	for ctx.Err() == nil {
		life, kill := context.WithCancel(ctx)
		w.mu.Lock()
		w.onReboot = kill
		w.mu.Unlock()
		cfg := Config{Host: host{w}, Cluster: cluster{w}}
		for _, c := range change {
			c(&cfg)
		}
		a, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		agents++
		if err := a.Run(life); err != nil {
			t.Errorf("agent ended with %v", err)
		}
		if life.Err() == nil {
			t.Error("agent ended without being asked to")
		}
		kill()
	}
	return agents
}

func TestAnUpdateFromNothingToIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		start := time.Now()
		var done time.Duration
		w.before = func(string, int) {
			if s := w.now(); done == 0 && s.CurrentVersion == "1.21.0" && s.CurrentState == agentapi.Idle {
				done = time.Since(start)
			}
		}
		w.live(t, 10*time.Minute)
		want := agentapi.Status{CurrentVersion: "1.21.0", TargetVersion: "1.21.0", CurrentState: agentapi.Idle, BootID: "boot-2", Slot: "B",
			UpdateCheck: agentapi.Check{LastSuccess: "2000-01-01T00:00:01Z"}}
		if diff := cmp.Diff(want, w.now()); diff != "" {
			t.Error(diff)
		}
		if w.drains != 1 || w.reboots != 1 || w.cordoned {
			t.Errorf("%d drains, %d reboots, cordoned %v", w.drains, w.reboots, w.cordoned)
		}
		wantMessages := []string{
			"", "1.21.0 is available", "downloading 1.21.0", "1.21.0 is staged, waiting for the reboot",
			"running 1.21.0", "watching 1.21.0", "", // drain and reboot were too quick to be worth a write
		}
		if diff := cmp.Diff(wantMessages, w.messages); diff != "" {
			t.Error(diff)
		}
		// refresh 1 s, download 20 s, activate 1 s: whatever is more is ours.
		if own := done - 22*time.Second; own > 0 {
			t.Errorf("the agent added %v of its own", own)
		}
	})
}

// A kill before any call: the next agent goes on, and the node is never drained or rebooted more often than
// that kill explains.
func TestKilledAtEveryPoint(t *testing.T) {
	total := 0
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.live(t, time.Minute)
		total = w.calls
	})
	for k := 1; k <= total; k++ {
		t.Run(fmt.Sprint("before call ", k), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				victim := ""
				w.before = func(call string, n int) {
					if n == k {
						victim = call
						w.mu.Lock()
						kill := w.onReboot
						w.mu.Unlock()
						kill()
					}
				}
				w.live(t, 5*time.Minute)
				s := w.now()
				if s.CurrentVersion != "1.21.0" || s.CurrentState != agentapi.Idle || s.CrashCount != 0 || w.cordoned {
					t.Errorf("killed at %q: %+v, cordoned %v\n%v", victim, s, w.cordoned, w.journal)
				}
				if w.reboots != 1 || w.drains > 2 {
					t.Errorf("killed at %q: %d drains, %d reboots\n%v", victim, w.drains, w.reboots, w.journal)
				}
				if n := countPrepares(w.journal); n > 2 {
					t.Errorf("killed at %q: prepared %d times", victim, n)
				}
			})
		})
	}
}

func countPrepares(journal []string) int {
	n := 0
	for _, call := range journal {
		if call == string(hostapi.CommandPrepare) {
			n++
		}
	}
	return n
}

func TestFailuresEndInErrorResetWithTheCause(t *testing.T) {
	for _, tc := range []struct {
		name    string
		arrange func(*world)
		cause   string
		drains  int
		reboots int
	}{
		{"a failed download never reaches the drain", func(w *world) { w.broken[hostapi.CommandPrepare] = "digest mismatch" }, "staging 1.21.0: prepare failed on the host: digest mismatch", 0, 0},
		{"a failed activation never reaches the drain", func(w *world) { w.broken[hostapi.CommandActivate] = "disk is read-only" }, "activate failed on the host: disk is read-only", 0, 0},
		{"a blocked drain", func(w *world) {
			w.drainErr = []error{&agentapi.StatusError{Code: 504, Body: "node n is not empty: default/web-1: The disruption budget web needs 2"}}
		}, "disruption budget web", 1, 0},
		{"a version that does not boot costs one drain", func(w *world) { w.bad["1.21.0"] = true }, "the node fell back: it was to boot 1.21.0 and came back with 1.20.0", 1, 1},
		{"a host that does not go down", func(w *world) { w.noReboot = true }, "still up 5m0s after it was asked to reboot", 1, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				tc.arrange(w)
				w.live(t, 30*time.Minute)
				s := w.now()
				if s.CurrentState != agentapi.Idle || s.CrashCount != 1 || s.StateTransitionFailureTimestamp == nil || s.CurrentVersion != "1.20.0" {
					t.Errorf("status %+v", s)
				}
				if !strings.Contains(s.LastError, tc.cause) {
					t.Errorf("last error is %q, want %q in it", s.LastError, tc.cause)
				}
				if !slices.ContainsFunc(w.messages, func(m string) bool { return strings.HasPrefix(m, "failed: ") && strings.Contains(m, tc.cause) }) {
					t.Errorf("no message names the cause: %q", w.messages)
				}
				if w.drains != tc.drains || w.reboots != tc.reboots || w.cordoned {
					t.Errorf("%d drains, want %d; %d reboots, want %d; cordoned %v", w.drains, tc.drains, w.reboots, tc.reboots, w.cordoned)
				}
			})
		})
	}
}

// A host that runs the wanted version without having rebooted into its other slot did not do what was asked of it.
func TestARebootCountsWhenBootSlotAndVersionAgree(t *testing.T) {
	for _, tc := range []struct {
		name    string
		arrange func(*world)
		cause   string
	}{
		{"the same boot", func(w *world) { w.sameBoot = true }, "runs 1.21.0, where it ran 1.20.0, but it has not rebooted"},
		{"the same slot", func(w *world) { w.sameSlot = true }, "came back with 1.21.0, but from slot A, where 1.20.0 was"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				tc.arrange(w)
				w.live(t, 30*time.Minute)
				if s := w.now(); s.CurrentState != agentapi.Idle || s.CrashCount != 1 || !strings.Contains(s.LastError, tc.cause) || w.cordoned {
					t.Errorf("status %+v, cordoned %v; want %q", s, w.cordoned, tc.cause)
				}
			})
		})
	}
}

func TestSuccessForgetsEarlierFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.broken[hostapi.CommandPrepare] = "no space"
		w.live(t, time.Minute)
		if w.now().CrashCount != 1 {
			t.Fatalf("status %+v", w.now())
		}
		delete(w.broken, hostapi.CommandPrepare)
		w.want(agentapi.StagedAndPerformedUpdate, "1.21.0")
		w.live(t, 5*time.Minute)
		want := agentapi.Status{CurrentVersion: "1.21.0", TargetVersion: "1.21.0", CurrentState: agentapi.Idle, BootID: "boot-2", Slot: "B",
			UpdateCheck: agentapi.Check{LastSuccess: "2000-01-01T00:00:01Z"}}
		if diff := cmp.Diff(want, w.now()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestD24StagingUsesWhatTheHostHas(t *testing.T) {
	ready := hostapi.UpdateStatus{
		UpdateState: hostapi.StateReady, ChosenUpdate: &hostapi.Image{Version: "1.21.0"},
		StagingPartition:  &hostapi.Partition{Image: hostapi.Image{Version: "1.21.0"}, NextToBoot: true},
		MostRecentCommand: &hostapi.CommandResult{Type: hostapi.CommandDeactivate, Status: hostapi.StatusSuccess},
	}
	other := ready
	other.StagingPartition = &hostapi.Partition{Image: hostapi.Image{Version: "1.20.5"}, NextToBoot: true}
	staged := ready
	staged.UpdateState = hostapi.StateStaged
	for _, tc := range []struct {
		name    string
		arrange func(*world)
		want    []string // host commands
		err     string
	}{
		{"armed already", func(w *world) { w.asked, w.update = true, ready }, nil, ""},
		{"staged already", func(w *world) { w.asked, w.update = true, staged }, []string{"activate"}, ""},
		{"armed with another version", func(w *world) { w.asked, w.update = true, other }, []string{"deactivate", "prepare", "activate"}, ""},
		{"nothing asked since the boot", func(*world) {}, []string{"refresh", "prepare", "activate"}, ""},
		{"runs already", func(w *world) { w.running = "1.21.0" }, nil, ""},
		{"the offer has moved", func(w *world) { w.offered = "1.22.0" }, []string{"refresh"}, "the host would install 1.22.0"},
		{"the offer is gone", func(w *world) { w.offered = "" }, []string{"refresh"}, "the host finds no update to 1.21.0 now"},
		{"somebody's command is under way", func(w *world) {
			w.asked, w.update, w.busyUntil = true, staged, time.Now().Add(10*time.Minute)
		}, []string{"activate"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				tc.arrange(w)
				a, err := New(Config{Host: host{w}, Cluster: cluster{w}})
				if err != nil {
					t.Fatal(err)
				}
				err = a.stage(t.Context(), "1.21.0")
				if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
					t.Errorf("error %v, want %q", err, tc.err)
				}
				var got []string
				for _, call := range w.journal {
					if call != "os" && call != "status" {
						got = append(got, call)
					}
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// A drain that is cut, because its replica was replaced, goes on elsewhere.
func TestACutDrainIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.drainErr = []error{&agentapi.StatusError{Code: 503}, io.ErrUnexpectedEOF, errDown}
		w.live(t, 10*time.Minute)
		if s := w.now(); s.CurrentVersion != "1.21.0" || s.CrashCount != 0 || w.drains != 4 {
			t.Errorf("%d drains, %+v", w.drains, s)
		}
	})
}

func TestADrainHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		for range 100000 {
			w.drainErr = append(w.drainErr, errDown)
		}
		w.live(t, 30*time.Minute)
		if s := w.now(); s.CrashCount != 1 || !strings.Contains(s.LastError, "draining: connection refused") || w.cordoned || w.reboots != 0 {
			t.Errorf("cordoned %v, %d reboots, %+v", w.cordoned, w.reboots, s)
		}
	})
}

// Why a drain was given up is read in events, also by people who know no HTTP.
func TestAFailedDrainIsToldInTheWordsOfTheApiserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.drainErr = []error{&agentapi.StatusError{Method: "POST", Path: "/drain", Code: 504, Body: "node a is not empty after 10m0s: shop/b"}}
		w.live(t, time.Minute)
		if s := w.now(); s.LastError != "draining: node a is not empty after 10m0s: shop/b" {
			t.Errorf("last error %q", s.LastError)
		}
	})
}

// A person sets the spec back to Idle in mid-update: the work stops at once and the node is put back.
func TestIdleIsWantedInMidUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.before = func(call string, _ int) {
			if call == "drain" {
				w.mu.Lock()
				w.paused = true
				w.mu.Unlock()
				w.want(agentapi.Idle, "1.21.0")
				synctest.Wait()
			}
		}
		w.live(t, 10*time.Minute)
		if s := w.now(); s.CurrentState != agentapi.Idle || s.CrashCount != 0 || w.cordoned || w.reboots != 0 || w.uncordons == 0 {
			t.Errorf("cordoned %v, %d reboots, %d uncordons, %+v", w.cordoned, w.reboots, w.uncordons, s)
		}
	})
}

// The controller is down after a failure: the agent neither repeats the action nor leaves the node cordoned.
func TestD38ErrorResetWaitsForTheController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.drainErr = []error{&agentapi.StatusError{Code: 409, Body: "refused"}}
		w.before = func(call string, _ int) {
			if call == "drain" {
				w.mu.Lock()
				w.paused = true
				w.mu.Unlock()
			}
		}
		w.live(t, time.Hour)
		if s := w.now(); s.CurrentState != agentapi.ErrorReset || s.CrashCount != 1 || w.drains != 1 || w.cordoned {
			t.Errorf("%d drains, cordoned %v, %+v", w.drains, w.cordoned, s)
		}
	})
}

func TestLoadBalancersComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var excluded, drained time.Time
		w.before = func(call string, _ int) {
			switch call {
			case "exclude":
				excluded = time.Now()
			case "drain":
				drained = time.Now()
			}
		}
		w.live(t, 10*time.Minute, func(c *Config) { c.LBWait = 90 * time.Second })
		if got := drained.Sub(excluded); excluded.IsZero() || got != 90*time.Second {
			t.Errorf("drained %v after the exclusion", got)
		}
		if w.excluded || w.now().CurrentVersion != "1.21.0" {
			t.Errorf("excluded %v, %+v", w.excluded, w.now())
		}
	})
}

// A repository that cannot be reached shows in the message; the node stays Idle and looks again.
func TestAFailedCheckIsVisible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.broken[hostapi.CommandRefresh] = "timestamp.json: no route to host"
		w.live(t, 5*time.Minute)
		s := w.now()
		if s.CurrentState != agentapi.Idle || s.CrashCount != 0 || !strings.Contains(s.Message, "no route to host") {
			t.Errorf("status %+v", s)
		}
		delete(w.broken, hostapi.CommandRefresh)
		w.live(t, 10*time.Minute)
		if w.now().CurrentVersion != "1.21.0" {
			t.Errorf("status %+v", w.now())
		}
	})
}

func TestAnIdleNodeIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.offered = ""
		w.live(t, time.Minute)
		w.journal = nil
		w.live(t, time.Hour)
		checks := 0
		for _, call := range w.journal {
			switch call {
			case "refresh":
				checks++
			case "create", "put Idle", "drain":
				t.Errorf("%s without a reason", call)
			}
		}
		if checks < 25 || checks > 35 {
			t.Errorf("%d checks in an hour", checks)
		}
	})
}

// The object is deleted in mid-update: a new one is made and the node is put back into service.
func TestTheShadowIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.noReboot = true
		w.before = func(call string, _ int) {
			if call == "reboot" {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.paused, w.spec, w.status = true, nil, nil
				w.revision++
				close(w.wake)
				w.wake = make(chan struct{})
			}
		}
		w.live(t, time.Hour)
		if s := w.now(); s.CurrentState != agentapi.Idle || s.CurrentVersion != "1.20.0" || w.cordoned {
			t.Errorf("cordoned %v, %+v", w.cordoned, s)
		}
	})
}

// Nothing is lost or repeated while the apiserver is away; the report of a step waits.
func TestD25TheApiserverIsAwayAfterAStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.before = func(call string, _ int) {
			if call == "put StagedAndPerformedUpdate" && w.apiDown == nil && !w.now().Equal(agentapi.Status{}) && w.drains == 0 {
				w.mu.Lock()
				w.apiDown = errDown
				w.mu.Unlock()
				time.AfterFunc(20*time.Minute, func() {
					w.mu.Lock()
					w.apiDown = nil
					w.before = nil
					w.mu.Unlock()
				})
			}
		}
		w.live(t, time.Hour)
		if s := w.now(); s.CurrentVersion != "1.21.0" || s.CrashCount != 0 || countPrepares(w.journal) != 1 {
			t.Errorf("prepared %d times, %+v", countPrepares(w.journal), s)
		}
	})
}

func TestOldNewsFromALaggingReplica(t *testing.T) {
	b := newInbox()
	state := func(s agentapi.State, revision uint64) agentapi.Event {
		return agentapi.Event{Type: agentapi.EventState, Spec: &agentapi.Spec{State: s}, UID: "u", Revision: revision}
	}
	b.put(state(agentapi.RebootedIntoUpdate, 10))
	b.put(state(agentapi.Idle, 9))
	if got := b.look().Spec.State; got != agentapi.RebootedIntoUpdate {
		t.Errorf("an older event was believed: %s", got)
	}
	b.wrote(agentapi.Status{CurrentVersion: "1.0.0"}, 12)
	b.put(state(agentapi.RebootedIntoUpdate, 11))
	if b.look().Status == nil {
		t.Error("an event from before the write took the write back")
	}
	e := state(agentapi.Idle, 3)
	e.UID = "v"
	b.put(e)
	if got := b.look().Spec.State; got != agentapi.Idle {
		t.Errorf("a new object was not believed: %s", got)
	}
}

func TestDecide(t *testing.T) {
	for _, tc := range []struct {
		want, reached agentapi.State
		move          move
	}{
		{agentapi.Idle, agentapi.Idle, rest},
		{agentapi.Idle, agentapi.MonitoringUpdate, goIdle},
		{agentapi.Idle, agentapi.ErrorReset, goIdle},
		{agentapi.Idle, agentapi.StagedAndPerformedUpdate, goIdle},
		{agentapi.StagedAndPerformedUpdate, agentapi.Idle, stage},
		{agentapi.StagedAndPerformedUpdate, agentapi.StagedAndPerformedUpdate, rest},
		{agentapi.StagedAndPerformedUpdate, agentapi.ErrorReset, rest},
		{agentapi.RebootedIntoUpdate, agentapi.StagedAndPerformedUpdate, reboot},
		{agentapi.RebootedIntoUpdate, agentapi.ErrorReset, rest},
		{agentapi.MonitoringUpdate, agentapi.RebootedIntoUpdate, observe},
		{agentapi.ErrorReset, agentapi.Idle, rest},
		{"Odd", agentapi.Idle, rest},
	} {
		if got := decide(tc.want, tc.reached); got != tc.move {
			t.Errorf("%s after %s: move %d, want %d", tc.want, tc.reached, got, tc.move)
		}
	}
}
