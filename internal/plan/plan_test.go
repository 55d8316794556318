// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	now    = time.Date(2026, 3, 1, 12, 0, 0, 500, time.UTC)
	nowTS  = "2026-03-01T12:00:00.0000005Z"
	before = "2026-03-01T11:59:00+00:00"
)

const (
	staged     = StagedAndPerformedUpdate
	rebooted   = RebootedIntoUpdate
	monitoring = MonitoringUpdate
)

// one is a fleet of the node n1 with this shadow.
func one(spec Spec, status *Status) Snapshot {
	return Snapshot{
		Nodes:         []Node{{Name: "n1", UID: "u1", OptedIn: true}},
		Shadows:       []Shadow{{Node: "n1", OwnerUID: "u1", Spec: spec, Status: status}},
		MaxConcurrent: 1,
	}
}

func reports(state State) *Status {
	return &Status{CurrentVersion: "1.20.0", TargetVersion: "1.21.0", CurrentState: state}
}

func failedAt(ts string, crashes uint32) *Status {
	st := reports(Idle)
	st.FailedAt, st.CrashCount = ts, crashes
	return st
}

// offeredNothing is a node that runs what its host chooses.
func offeredNothing(c Check, h Held) Snapshot {
	return one(Spec{State: Idle}, &Status{CurrentVersion: "1.21.0", TargetVersion: "1.21.0", CurrentState: Idle, Check: c, Held: h})
}

// TestRows walks through the transition table of the contract, one node at a time.
func TestRows(t *testing.T) {
	upToDate := &Status{CurrentVersion: "1.21.0", TargetVersion: "1.21.0", CurrentState: Idle}
	working := func(s State) Spec { return Spec{State: s, Since: before, Version: "1.21.0"} }
	notReady := func(s Snapshot) Snapshot { s.Nodes[0].NotReady = true; return s }
	badVersion := reports(Idle)
	badVersion.TargetVersion = "v1.21"

	tests := []struct {
		name string
		s    Snapshot
		move MoveReason
		spec Spec // wanted when move is set
		wait WaitReason
		who  Actor
	}{
		{name: "row 2: no status yet", s: one(Spec{State: Idle}, nil), wait: NoReport, who: NodeAgent},
		{name: "row 3: up to date", s: one(Spec{State: Idle}, upToDate), wait: UpToDate, who: Publisher},
		{name: "row 3: its wave has not come", s: offeredNothing(Check{}, Held{Version: "1.22.0", Reason: "wave", Until: "2999-01-01T00:00:00Z"}), wait: WaveNotReached, who: Clock},
		{name: "row 3: its wave has come", s: offeredNothing(Check{}, Held{Version: "1.22.0", Reason: "wave", Until: before}), wait: WaveNotReached, who: NodeAgent},
		{name: "row 3: locked", s: offeredNothing(Check{}, Held{Version: "1.22.0", Reason: "lock", LockedTo: "1.21.0"}), wait: VersionLocked, who: Administrator},
		{name: "row 3: fell back here", s: offeredNothing(Check{}, Held{Version: "1.22.0", Reason: "blocked"}), wait: VersionBlocked, who: Administrator},
		{name: "row 3: the host does not say", s: offeredNothing(Check{}, Held{Version: "1.22.0", Reason: "unknown"}), wait: HeldBack, who: Administrator},
		{name: "row 3: nobody knows, D36", s: offeredNothing(Check{Error: "no route", FailingSince: before, LastSuccess: "long ago"}, Held{Version: "1.22.0", Reason: "lock"}), wait: CheckFailing, who: Administrator},
		{name: "row 4: finished", s: one(working(Idle), upToDate), move: UpdateComplete, spec: Spec{State: Idle}},
		{name: "row 4: a time alone is no reason to write", s: one(Spec{State: Idle, Since: before}, upToDate), wait: UpToDate, who: Publisher},
		{name: "row 5: update available", s: one(Spec{State: Idle}, reports(Idle)), move: UpdateAvailable, spec: Spec{State: staged, Since: nowTS, Version: "1.21.0"}},
		{name: "row 5: newer version right after an update", s: one(Spec{State: Idle, Since: before, Version: "1.20.0"}, reports(Idle)), move: UpdateAvailable, spec: Spec{State: staged, Since: nowTS, Version: "1.21.0"}},
		{name: "row 5: not Ready", s: notReady(one(Spec{State: Idle}, reports(Idle))), wait: NodeNotReady, who: Administrator},
		{name: "row 5: failed a minute ago", s: one(Spec{State: Idle}, failedAt(before, 1)), wait: BackOff, who: Clock},
		{name: "row 5: failed long ago", s: one(Spec{State: Idle}, failedAt("2020-01-01T00:00:00Z", 4_000_000_000)), move: UpdateAvailable, spec: Spec{State: staged, Since: nowTS, Version: "1.21.0"}},
		{name: "row 6: staging", s: one(working(staged), reports(Idle)), wait: Staging, who: NodeAgent},
		{name: "row 7: staged", s: one(working(staged), reports(staged)), move: UpdateStaged, spec: Spec{State: rebooted, Since: nowTS, Version: "1.21.0"}},
		{name: "row 7: the version stays though a newer one is out", s: one(Spec{State: staged, Since: before, Version: "1.20.5"}, reports(staged)), move: UpdateStaged, spec: Spec{State: rebooted, Since: nowTS, Version: "1.20.5"}},
		{name: "row 8: rebooting", s: notReady(one(working(rebooted), reports(staged))), wait: Rebooting, who: NodeAgent},
		{name: "row 10: rebooted", s: one(working(rebooted), reports(rebooted)), move: NodeRebooted, spec: Spec{State: monitoring, Since: nowTS, Version: "1.21.0"}},
		{name: "row 11: checking", s: one(working(monitoring), reports(rebooted)), wait: Checking, who: NodeAgent},
		{name: "row 12: checked", s: one(working(monitoring), reports(monitoring)), move: UpdateVerified, spec: Spec{State: Idle, Since: nowTS}},
		{name: "row 12: checked, but not Ready", s: notReady(one(working(monitoring), reports(monitoring))), wait: NodeNotReady, who: Administrator},
		{name: "row 13: finishing", s: one(working(Idle), reports(monitoring)), wait: Finishing, who: NodeAgent},
		{name: "row 16: failed while staging", s: one(working(staged), reports(ErrorReset)), move: AttemptFailed, spec: Spec{State: Idle, Since: nowTS, Version: "1.21.0"}},
		{name: "row 16: written once, not every pass", s: one(working(Idle), reports(ErrorReset)), wait: Recovering, who: NodeAgent},
		{name: "row 20: a person wrote ErrorReset", s: one(working(ErrorReset), reports(Idle)), move: SpecRepaired, spec: Spec{State: Idle, Since: nowTS, Version: "1.21.0"}},
		{name: "bad data: unknown spec state", s: one(Spec{State: "Sideways"}, reports(Idle)), wait: InvalidData, who: Administrator},
		{name: "bad data: unknown status state", s: one(Spec{State: Idle}, reports("")), wait: InvalidData, who: Administrator},
		{name: "bad data: version", s: one(Spec{State: Idle}, badVersion), wait: InvalidData, who: Administrator},
		{name: "bad data: failure time", s: one(Spec{State: Idle}, failedAt("yesterday", 1)), wait: InvalidData, who: Administrator},
		{name: "bad data: it failed in the future", s: one(Spec{State: Idle}, failedAt("2999-01-01T00:00:00Z", 1)), wait: InvalidData, who: Administrator},
		{name: "bad data: staged without a version", s: one(Spec{State: staged}, reports(staged)), wait: InvalidData, who: Administrator},
		{name: "bad data: a strange spec time harms nothing", s: one(Spec{State: staged, Since: "soon", Version: "1.21.0"}, reports(Idle)), wait: Staging, who: NodeAgent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := Next(tt.s, now)
			if tt.move == "" {
				if len(d.Moves) != 0 || len(d.Waiting) != 1 {
					t.Fatalf("decision %+v, want one wait", d)
				}
				if w := d.Waiting[0]; w.Reason != tt.wait || w.Who != tt.who || w.Sentence() == "" {
					t.Errorf("waits for %s of %s (%s), want %s of %s", w.Reason, w.Who, w.Sentence(), tt.wait, tt.who)
				}
				return
			}
			if len(d.Moves) != 1 || len(d.Waiting) != 0 {
				t.Fatalf("decision %+v, want one move", d)
			}
			m := d.Moves[0]
			if diff := cmp.Diff(tt.spec, m.Spec); diff != "" || m.Reason != tt.move || m.To != tt.spec.State || m.Detail == "" {
				t.Errorf("move %s %q to %s, want %s; spec (-want +got):\n%s", m.Reason, m.Detail, m.To, tt.move, diff)
			}
		})
	}
}

func TestD44BackOffGrowsToADayAndNeverOverflows(t *testing.T) {
	for n, minutes := range map[uint32]int{
		0: 2, 1: 3, 2: 5, 3: 9, 4: 17, 5: 33, 6: 65, 7: 129, 8: 257, 9: 513, 10: 1025,
		11: 1441, 12: 1441, 31: 1441, 32: 1441, 63: 1441, 64: 1441, 4294967295: 1441,
	} {
		due := now.Add(time.Duration(minutes) * time.Minute)
		s := one(Spec{State: Idle}, failedAt(nowTS, n))
		d := Next(s, due.Add(-time.Nanosecond))
		if len(d.Moves) != 0 || !d.NextWake.Equal(due) {
			t.Errorf("%d failures: moves %v and wake-up %v just before %d minutes, want none and %v", n, d.Moves, d.NextWake, minutes, due)
		}
		if d := Next(s, due); len(d.Moves) != 1 {
			t.Errorf("%d failures: no start after %d minutes: %+v", n, minutes, d)
		}
	}
}

func TestD67WhoStartsFirst(t *testing.T) {
	s := Snapshot{OwnNode: "a"}
	for name, crashes := range map[string]uint32{"a": 0, "b": 2, "c": 0, "d": 1, "e": 0} {
		st := failedAt("2020-01-01T00:00:00Z", crashes)
		s.Nodes = append(s.Nodes, Node{Name: name, OptedIn: true})
		s.Shadows = append(s.Shadows, Shadow{Node: name, Spec: Spec{State: Idle}, Status: st})
	}
	for limit, want := range map[Limit]string{0: "", 1: "c", 2: "ce", 3: "cde", 4: "bcde", 5: "abcde", Unlimited: "bcde"} { // without a limit, one node stays for the pods of the others
		s.MaxConcurrent = limit
		d := Next(s, now)
		var got strings.Builder
		for _, m := range d.Moves {
			got.WriteString(m.Node)
		}
		if got.String() != want || d.Slots != len(want) {
			t.Errorf("limit %v starts %q with %d slots, want %q", limit, got.String(), d.Slots, want)
		}
		for _, w := range d.Waiting {
			if wantReason := map[bool]WaitReason{true: StartsDisabled, false: NoSlot}[limit == 0]; w.Reason != wantReason {
				t.Errorf("limit %v: %s waits for %s, want %s", limit, w.Node, w.Reason, wantReason)
			}
		}
	}
}

// TestD41AStuckNodeUsesOnlyItsOwnSlot is the fault where one node that never comes back stopped the fleet.
func TestD41AStuckNodeUsesOnlyItsOwnSlot(t *testing.T) {
	stuck := map[string]Shadow{
		"gone quiet":      {Spec: Spec{State: rebooted, Since: before, Version: "1.21.0"}, Status: reports(staged)},
		"unreadable":      {Spec: Spec{State: "??"}, Status: reports(Idle)},
		"status lost":     {Spec: Spec{State: staged, Version: "1.21.0"}},
		"cordon left":     {Spec: Spec{State: Idle}, Status: reports(Idle)},
		"staged, no spec": {Spec: Spec{State: Idle}, Status: reports(staged)},
	}
	for name, shadow := range stuck {
		t.Run(name, func(t *testing.T) {
			shadow.Node = "n1"
			s := Snapshot{
				Nodes:         []Node{{Name: "n1", OptedIn: true, CordonedByUs: name == "cordon left"}, {Name: "n2", OptedIn: true}},
				Shadows:       []Shadow{shadow, {Node: "n2", Spec: Spec{State: Idle}, Status: reports(Idle)}},
				MaxConcurrent: 1,
			}
			if d := Next(s, now); len(d.Moves) != 0 || d.Slots != 1 {
				t.Errorf("limit 1: %+v, want no start", d)
			}
			s.MaxConcurrent = 2
			if d := Next(s, now); len(d.Moves) != 1 || d.Moves[0].Node != "n2" || d.Slots != 2 {
				t.Errorf("limit 2: %+v, want n2 to start", d)
			}
		})
	}
}

func TestShadowsWithoutACareAreRemoved(t *testing.T) {
	spec := Spec{State: rebooted, Version: "1.21.0"}
	s := Snapshot{
		Nodes: []Node{
			{Name: "kept", UID: "1", OptedIn: true},
			{Name: "opted-out", UID: "2"},
			{Name: "recreated", UID: "3b", OptedIn: true},
			{Name: "silent", OptedIn: true},
			{Name: "never-in"},
		},
		Shadows: []Shadow{
			{Node: "kept", OwnerUID: "1", Spec: spec, Status: reports(staged)},
			{Node: "opted-out", OwnerUID: "2", Spec: spec, Status: reports(staged)},
			{Node: "recreated", OwnerUID: "3a", Spec: spec, Status: reports(staged)},
			{Node: "gone", OwnerUID: "4", Spec: spec, Status: reports(staged)},
		},
		MaxConcurrent: 1,
	}
	d := Next(s, now)
	want := []Removal{{"gone", NodeGone}, {"opted-out", NodeOptedOut}, {"recreated", NodeReplaced}}
	if diff := cmp.Diff(want, d.Removals); diff != "" {
		t.Errorf("removals (-want +got):\n%s", diff)
	}
	if len(d.Waiting) != 2 || d.Waiting[0].Reason != Rebooting || d.Waiting[1].Reason != NoShadow {
		t.Errorf("waiting: %+v, want kept to reboot and silent to lack a shadow", d.Waiting)
	}
	if d.Slots != 4 {
		t.Errorf("%d slots, want 4: a slot is free only once its shadow is gone", d.Slots)
	}
}

func BenchmarkNext(b *testing.B) {
	for _, n := range []int{1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := Snapshot{MaxConcurrent: 25}
			for i := range n {
				name := fmt.Sprintf("ip-10-0-%d-%d.eu-west-1.compute.internal", i/250, i%250)
				s.Nodes = append(s.Nodes, Node{Name: name, UID: name, OptedIn: true})
				s.Shadows = append(s.Shadows, Shadow{Node: name, OwnerUID: name, Spec: Spec{State: Idle}, Status: reports(Idle)})
			}
			b.ReportAllocs()
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				if d := Next(s, now); len(d.Moves) != 25 {
					b.Fatal(len(d.Moves))
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100])/1e6, "p99-ms")
		})
	}
}

// What people read has to be a sentence, whatever it is made of.
func TestSentences(t *testing.T) {
	notReady := func(s Snapshot) Snapshot { s.Nodes[0].NotReady = true; return s }
	watched := notReady(one(Spec{monitoring, before, "1.21.0"}, reports(monitoring)))
	if got, want := Next(watched, now).Waiting[0].Sentence(), "runs 1.21.0, but is not Ready"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	watched.Timeouts.Monitoring = time.Second
	if got, want := Next(watched, now).Moves[0].Detail, "called off after 1s: the node runs 1.21.0, but is not Ready"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := Next(notReady(one(Spec{State: Idle}, reports(Idle))), now).Waiting[0].Sentence(), "wants 1.21.0, but is not Ready"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	unversioned := reports(ErrorReset)
	unversioned.LastError = "no version"
	if got, want := Next(one(Spec{State: staged, Since: before}, unversioned), now).Moves[0].Detail, "update failed: no version"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
