// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// limits are those of the contract, but for the reboot.
var limits = Timeouts{Staged: 12 * time.Minute, Rebooted: 30 * time.Minute, Monitoring: 5 * time.Minute, Idle: 2 * time.Minute}

// pair is the node n1 with this shadow, and n2, which wants an update; one of them at a time.
func pair(spec Spec, status *Status) Snapshot {
	s := one(spec, status)
	s.Nodes = append(s.Nodes, Node{Name: "n2", UID: "u2", OptedIn: true})
	s.Shadows = append(s.Shadows, Shadow{Node: "n2", OwnerUID: "u2", Spec: Spec{State: Idle}, Status: reports(Idle)})
	s.Timeouts, s.CountUnavailable = limits, true
	return s
}

// carryOut applies a decision as the controller does.
func carryOut(s *Snapshot, d Decision) {
	for _, m := range d.Moves {
		for i := range s.Shadows {
			if s.Shadows[i].Node == m.Node {
				s.Shadows[i].Spec, s.Shadows[i].TimedOut = m.Spec, m.TimedOut
			}
		}
	}
	for _, r := range d.Removals {
		for i := range s.Shadows {
			if s.Shadows[i].Node == r.Node {
				s.Shadows = append(s.Shadows[:i], s.Shadows[i+1:]...)
				break
			}
		}
	}
}

// answer lets the agent of n2 do what it is asked for.
func answer(s *Snapshot) {
	for i := range s.Shadows {
		if sh := &s.Shadows[i]; sh.Node == "n2" {
			sh.Status.CurrentState = sh.Spec.State
			if sh.Spec.State == rebooted {
				sh.Status.CurrentVersion = sh.Spec.Version
			}
		}
	}
}

// updated lets time pass, with a look whenever the plan asks for one, until n2 is updated, and returns how long
// that took, or false if it never is.
func updated(s Snapshot) (time.Duration, bool) {
	t := now
	for range 100 {
		d := Next(s, t)
		carryOut(&s, d)
		answer(&s)
		if sh := s.Shadows[len(s.Shadows)-1]; sh.Status.CurrentVersion == sh.Status.TargetVersion && sh.Spec.State == Idle {
			return t.Sub(now), true
		}
		switch {
		case len(d.Moves)+len(d.Removals) > 0:
		case d.NextWake.IsZero():
			return 0, false
		default:
			t = d.NextWake
		}
	}
	return 0, false
}

// TestD42NoSlotIsLostToADeadAgent kills the agent in every state that there is, also in those that only people
// and broken storage produce, with every kind of time in the spec; the next node must have its turn.
func TestD42NoSlotIsLostToADeadAgent(t *testing.T) {
	const longest = 30*time.Minute + 2*time.Minute + time.Second // the longest limit, then that of Idle
	for _, state := range []State{Idle, staged, rebooted, monitoring, ErrorReset, "Sideways", ""} {
		for _, reported := range []State{"none", Idle, staged, rebooted, monitoring, ErrorReset, "Sideways"} {
			for _, since := range []string{nowTS, before, "", "soon", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"} {
				for _, version := range []string{"", "1.21.0", "latest"} {
					status := reports(reported)
					if reported == "none" {
						status = nil
					}
					s := pair(Spec{state, since, version}, status)
					took, ok := updated(s)
					if !ok || took > longest {
						t.Errorf("%s/%s since %q, version %q: the other node updated: %v, after %v", state, reported, since, version, ok, took)
					}
				}
			}
		}
	}
}

func TestD42EveryStateHasItsLimitAndExit(t *testing.T) {
	tests := []struct {
		state, reported State
		limit           time.Duration
		reason          WaitReason
	}{
		{staged, Idle, limits.Staged, Staging},
		{rebooted, staged, limits.Rebooted, Rebooting},
		{monitoring, rebooted, limits.Monitoring, Checking},
	}
	for _, tt := range tests {
		s := one(Spec{tt.state, nowTS, "1.21.0"}, reports(tt.reported))
		s.Timeouts = limits
		s.Shadows[0].TimedOut = TimedOut{Count: 1, At: before, State: staged}
		due := now.Add(tt.limit)
		d := Next(s, due.Add(-time.Nanosecond))
		if len(d.Waiting) != 1 || d.Waiting[0].Reason != tt.reason || !d.Waiting[0].Deadline.Equal(due) || !d.NextWake.Equal(due) {
			t.Errorf("%s just before its limit: %+v, want to wait until %v", tt.state, d, due)
		}
		d = Next(s, due)
		ts := due.Format(time.RFC3339Nano)
		if len(d.Moves) != 1 || d.Moves[0].Reason != StateTimedOut || !strings.Contains(d.Moves[0].Detail, tt.limit.String()) {
			t.Fatalf("%s at its limit: %+v, want it called off", tt.state, d)
		}
		if diff := cmp.Diff(Spec{Idle, ts, "1.21.0"}, d.Moves[0].Spec); diff != "" {
			t.Errorf("%s: spec (-want +got):\n%s", tt.state, diff)
		}
		if diff := cmp.Diff(TimedOut{2, ts, tt.state}, d.Moves[0].TimedOut); diff != "" {
			t.Errorf("%s: mark (-want +got):\n%s", tt.state, diff)
		}
	}
}

func TestD42ASilentNodeIsNamedAndReturnsByItself(t *testing.T) {
	s := one(Spec{Idle, nowTS, "1.21.0"}, reports(staged))
	s.Timeouts = limits
	later := now.Add(limits.Idle)
	d := Next(s, later)
	if len(d.Waiting) != 1 || d.Waiting[0].Reason != AgentSilent || d.Slots != 0 {
		t.Fatalf("%+v, want a silent node without a slot", d)
	}
	if got := d.Waiting[0].Sentence(); !strings.Contains(got, "others go on") {
		t.Errorf("%q, want it to say that others go on", got)
	}
	s.Nodes[0].Cordoned, s.Nodes[0].CordonedByUs, s.CountUnavailable = true, true, true
	if d = Next(s, later); len(d.Waiting) != 1 || d.Waiting[0].Reason != AgentSilent || d.Slots != 1 || !strings.Contains(d.Waiting[0].Sentence(), "counts against the limit") {
		t.Errorf("%+v, want it to say that it counts while it is cordoned", d)
	}
	s.Nodes[0].Cordoned, s.Nodes[0].CordonedByUs = false, false
	s.Shadows[0].Status.CurrentState = Idle // the agent is back
	if d = Next(s, later); len(d.Moves) != 1 || d.Moves[0].Reason != UpdateAvailable {
		t.Errorf("%+v, want it to start", d)
	}
}

// TestD42ANodeThatKeepsFallingSilentDoesNotStarveTheOthers covers a node that is first by name.
func TestD42ANodeThatKeepsFallingSilentDoesNotStarveTheOthers(t *testing.T) {
	s := pair(Spec{Idle, nowTS, "1.21.0"}, reports(Idle))
	s.Shadows[0].TimedOut = TimedOut{1, nowTS, staged}
	d := Next(s, now)
	if len(d.Moves) != 1 || d.Moves[0].Node != "n2" || d.Waiting[0].Reason != BackOff || !strings.Contains(d.Waiting[0].Sentence(), "Staged") {
		t.Errorf("%+v, want n2 to start and n1 to pause", d)
	}
	if d = Next(s, now.Add(3*time.Minute)); len(d.Moves) != 1 || d.Moves[0].Node != "n2" {
		t.Errorf("%+v, want n2 to start first after the pause too", d)
	}
}

func TestANodeThatDidNotComeBackStillCounts(t *testing.T) {
	s := pair(Spec{Idle, before, "1.21.0"}, reports(staged))
	s.Shadows[0].TimedOut = TimedOut{1, before, rebooted}
	s.Nodes[0].NotReady = true
	for _, s.CountUnavailable = range []bool{true, false} {
		if d := Next(s, now.Add(48*time.Hour)); len(d.Moves) != 0 || d.Slots != 1 || d.Active != 0 {
			t.Errorf("%+v, want no start while the node is away", d)
		}
	}
	s.Nodes[0].NotReady = false
	if d := Next(s, now.Add(48*time.Hour)); len(d.Moves) != 1 || d.Moves[0].Node != "n2" {
		t.Errorf("%+v, want n2 to start once the node is back, though its agent is not", d)
	}
}

func TestUnavailableNodesCount(t *testing.T) {
	upToDate := &Status{CurrentVersion: "1.21.0", TargetVersion: "1.21.0", CurrentState: Idle}
	tests := []struct {
		name     string
		node     Node
		spec     Spec
		counting bool // whether n1 counts when unavailable nodes do
		always   bool // and when they do not
	}{
		{name: "available", node: Node{}},
		{name: "not Ready", node: Node{NotReady: true}, counting: true},
		{name: "cordoned by somebody", node: Node{Cordoned: true}, counting: true},
		{name: "cordoned by us", node: Node{Cordoned: true, CordonedByUs: true}, counting: true, always: true},
		{name: "being updated and not Ready counts once", node: Node{NotReady: true}, spec: Spec{monitoring, nowTS, "1.21.0"}, counting: true, always: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for counting, want := range map[bool]bool{true: tt.counting, false: tt.always} {
				s := pair(Spec{State: Idle}, upToDate)
				tt.node.Name, tt.node.OptedIn = "n1", true
				s.Nodes[0], s.CountUnavailable = tt.node, counting
				if tt.spec.State != "" {
					s.Shadows[0].Spec = tt.spec
				}
				if d := Next(s, now); (len(d.Moves) == 0) != want || d.Slots != 1 {
					t.Errorf("counting %v: %+v, want n2 to wait: %v", counting, d, want)
				} else if want && !strings.Contains(d.Waiting[1].Sentence(), "the limit of 1 is taken by 1 ") {
					t.Errorf("n2 %s", d.Waiting[1].Sentence())
				}
				s.MaxConcurrent = 2
				if d := Next(s, now); len(d.Moves) != 1 {
					t.Errorf("limit 2: %+v, want n2 to start", d)
				}
			}
		})
	}
}

func TestANodeThatSomebodyCordonedIsNotUpdatedUnlessAllowed(t *testing.T) {
	s := one(Spec{State: Idle}, reports(Idle))
	s.Nodes[0].Cordoned, s.CountUnavailable = true, true
	if d := Next(s, now); len(d.Waiting) != 1 || d.Waiting[0].Reason != NodeCordoned || !strings.Contains(d.Waiting[0].Sentence(), "somebody else") {
		t.Errorf("%+v, want it to be left alone", d)
	}
	s.UpdateCordoned = true
	// It counts already, so that starting it makes no further node unavailable.
	if d := Next(s, now); len(d.Moves) != 1 || d.Slots != 1 || d.Active != 1 {
		t.Errorf("%+v, want it to start in its own slot", d)
	}
	s.MaxConcurrent = 0
	if d := Next(s, now); len(d.Moves) != 0 {
		t.Errorf("%+v, want no start while starts are disabled", d)
	}
}

// TestD42DeletedObjectsGiveTheirSlotBack deletes the node or the shadow in each state.
func TestD42DeletedObjectsGiveTheirSlotBack(t *testing.T) {
	for _, state := range []State{staged, rebooted, monitoring} {
		s := pair(Spec{state, nowTS, "1.21.0"}, reports(state))
		s.Nodes = s.Nodes[1:]
		if took, ok := updated(s); !ok || took != 0 {
			t.Errorf("node deleted in %s: the other updated: %v, after %v", state, ok, took)
		}
		s = pair(Spec{state, nowTS, "1.21.0"}, reports(state))
		s.Shadows = s.Shadows[1:]
		if took, ok := updated(s); !ok || took != 0 {
			t.Errorf("shadow deleted in %s: the other updated: %v, after %v", state, ok, took)
		}
	}
}

func TestNothingStartsOutsideTheWindowAndWhatHasBegunIsFinished(t *testing.T) {
	opens, closes := now.Add(3*time.Hour), now.Add(time.Hour)
	s := pair(Spec{staged, nowTS, "1.21.0"}, reports(staged))
	s.Window, s.MaxConcurrent = Window{Closed: true, Opens: opens}, 2
	d := Next(s, now)
	if len(d.Moves) != 1 || d.Moves[0].Reason != UpdateStaged {
		t.Errorf("%+v, want n1 to go on", d)
	}
	if w := d.Waiting[0]; w.Reason != OutsideWindow || !w.Until.Equal(opens) || !strings.Contains(w.Sentence(), "2026-03-01T15:00:00Z") || !d.NextWake.Equal(opens) {
		t.Errorf("%+v, want n2 to wait for the window", w)
	}
	s.Window = Window{Closes: closes}
	if d = Next(s, now); len(d.Moves) != 2 {
		t.Errorf("%+v, want n2 to start in the window", d)
	}
	s.MaxConcurrent = 1
	if d = Next(s, now); !d.NextWake.Equal(closes) {
		t.Errorf("wakes at %v, want when the window closes", d.NextWake)
	}
	s.Window = Window{Closed: true}
	if d = Next(s, now); !strings.Contains(d.Waiting[0].Sentence(), "any more") {
		t.Errorf("%s", d.Waiting[0].Sentence())
	}
}
