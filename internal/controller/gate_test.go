// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/plan"
	"github.com/drydock-os/drydock/internal/window"
)

// scheduled gives the fixture, whose clock stands at Sunday noon, a schedule.
func (f *fixture) scheduled(expression string) {
	f.t.Helper()
	s, err := window.New(window.Config{Expression: expression})
	if err != nil {
		f.t.Fatal(err)
	}
	f.cfg.Schedule, f.gate.schedule = s, s
}

func TestAWindowLetsNodesStartWhileItIsOpen(t *testing.T) {
	f := newFixture(t, 1, node("a"), node("b"), shadow("a"), shadow("b"))
	f.scheduled("* * 14-15 * * *")
	if d := f.reconcile(); d != time.Hour || len(f.started()) != 0 {
		t.Fatalf("looks again after %v with %v started, want nothing, and a look at least every hour", d, f.started())
	}
	f.clock = f.clock.Add(90 * time.Minute)
	if d := f.reconcile(); d != 30*time.Minute {
		t.Errorf("looks again after %v, want when the window opens", d)
	}
	f.clock = f.clock.Add(30 * time.Minute)
	f.reconcile()
	if diff := cmp.Diff([]string{"a"}, f.started()); diff != "" {
		t.Errorf("started (-want +got):\n%s", diff)
	}
	f.clock = f.clock.Add(2 * time.Hour)
	f.report("a", v2.StagedAndPerformedUpdate)
	f.reconcile()
	var brs v2.BottlerocketShadow
	f.get("a", &brs)
	if brs.Spec.State != v2.RebootedIntoUpdate {
		t.Errorf("after the window the update stands at %s, want it to go on", brs.Spec.State)
	}
	f.cfg.MaxConcurrent = 2
	f.reconcile()
	if diff := cmp.Diff([]string{"a"}, f.started()); diff != "" {
		t.Errorf("started (-want +got):\n%s", diff)
	}
}

// TestARolloutThatHasBegunStartsNobodyAfterItsWindow is the fault where only the start of a rollout asks for the window: the
// nodes after the first then begin whenever their turn comes.
func TestARolloutThatHasBegunStartsNobodyAfterItsWindow(t *testing.T) {
	f := newFixture(t, 1, node("a"), node("b"), node("c"), shadow("a"), shadow("b"), shadow("c"))
	f.scheduled("* * 14-15 * * *")
	f.clock = f.clock.Add(3*time.Hour + 59*time.Minute)
	f.reconcile()
	if diff := cmp.Diff([]string{"a"}, f.started()); diff != "" {
		t.Fatalf("started (-want +got):\n%s", diff)
	}
	f.clock = f.clock.Add(time.Minute) // the window is over, and the slot becomes free
	f.finish("a")
	for range 22 {
		f.reconcile()
		if len(f.started()) != 0 {
			t.Fatalf("%v started at %v, outside of the window", f.started(), f.clock)
		}
		f.clock = f.clock.Add(time.Hour)
	}
	f.reconcile()
	if diff := cmp.Diff([]string{"b"}, f.started()); diff != "" {
		t.Errorf("started when the window opened again (-want +got):\n%s", diff)
	}
}

// TestANewReleaseIsOnlyAnOffer is the fault where a release makes every node of the fleet outdated at once, and all are
// replaced together, at any time of the day.
func TestANewReleaseIsOnlyAnOffer(t *testing.T) {
	const nodes, limit = 10, 2
	var objects []client.Object
	var names []string
	for i := range nodes {
		name := fmt.Sprintf("n%d", i)
		names = append(names, name)
		brs := shadow(name)
		brs.Status.CurrentVersion = "1.21.0"
		objects = append(objects, node(name), brs)
	}
	f := newFixture(t, limit, objects...)
	f.scheduled("* * 14-15 * * *")
	f.clock = f.clock.Add(2*time.Hour + 30*time.Minute)
	f.reconcile()
	if len(f.started()) != 0 {
		t.Fatalf("%v started though nothing is offered", f.started())
	}
	f.clock = f.clock.Add(2 * time.Hour)
	for _, name := range names { // the release: all see it within the same moment
		var brs v2.BottlerocketShadow
		f.get(name, &brs)
		brs.Status.TargetVersion = "1.22.0"
		if err := f.server.Status().Update(t.Context(), &brs); err != nil {
			t.Fatal(err)
		}
	}
	f.reconcile()
	if len(f.started()) != 0 {
		t.Fatalf("%v started outside of the window", f.started())
	}
	f.clock = f.clock.Add(22 * time.Hour)
	for range 5 {
		f.reconcile()
		if n := len(f.started()); n != limit {
			t.Fatalf("%d nodes started, the limit is %d", n, limit)
		}
	}
	f.finish(f.started()[0])
	f.reconcile()
	if n := len(f.started()); n != limit {
		t.Errorf("%d nodes are in an update, the limit is %d", n, limit)
	}
}

// TestAOneShotRunLastsUntilNothingIsLeft goes through two nodes, one at a time, from one match.
func TestAOneShotRunLastsUntilNothingIsLeft(t *testing.T) {
	f := newFixture(t, 1, node("a"), node("b"), shadow("a"), shadow("b"))
	f.scheduled("0 0 13 * * *")
	f.reconcile()
	if len(f.started()) != 0 {
		t.Fatalf("%v started before the time", f.started())
	}
	f.clock = f.clock.Add(time.Hour)
	for _, name := range []string{"a", "b"} {
		f.reconcile()
		if diff := cmp.Diff([]string{name}, f.started()); diff != "" {
			t.Fatalf("started (-want +got):\n%s", diff)
		}
		f.clock = f.clock.Add(time.Hour)
		f.finish(name)
	}
	f.reconcile()
	late := shadow("c")
	if err := f.server.Create(t.Context(), node("c")); err != nil {
		t.Fatal(err)
	}
	if err := f.server.Create(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	if d := f.reconcile(); len(f.started()) != 0 || d == 0 {
		t.Errorf("%v started after the run, next look after %v", f.started(), d)
	}
	if d := f.reconcile(); d != time.Hour {
		t.Errorf("next look after %v, want in an hour at most", d)
	}
}

// TestARunWaitsForTheOwnNode, which lets others go first for a while although it could start.
func TestARunWaitsForTheOwnNode(t *testing.T) {
	s, err := window.New(window.Config{Expression: "0 0 13 * * *"})
	if err != nil {
		t.Fatal(err)
	}
	g := gate{schedule: s, known: true, running: true}
	g.saw(plan.Decision{Waiting: []plan.Wait{{Node: "own", Reason: plan.OwnNodeLast}}})
	if !g.running {
		t.Error("the run ended before the own node has started")
	}
	g.saw(plan.Decision{Waiting: []plan.Wait{{Node: "own", Reason: plan.UpToDate}}})
	if g.running {
		t.Error("the run goes on with nothing to do")
	}
}

// TestANewLeaderGoesOnWithTheRun is a restart in the middle of a one-shot run.
func TestANewLeaderGoesOnWithTheRun(t *testing.T) {
	under := shadow("a")
	under.Spec.State = v2.StagedAndPerformedUpdate
	f := newFixture(t, 2, node("a"), node("b"), under, shadow("b"))
	f.scheduled("0 0 11 * * *")
	f.reconcile()
	if diff := cmp.Diff([]string{"a", "b"}, f.started()); diff != "" {
		t.Errorf("started (-want +got):\n%s", diff)
	}
	f = newFixture(t, 2, node("a"), node("b"), shadow("a"), shadow("b"))
	f.scheduled("0 0 11 * * *")
	f.reconcile()
	if len(f.started()) != 0 {
		t.Errorf("%v started though no run was under way", f.started())
	}
}

// TestAHandWrittenSpecDoesNotBeginARun keeps the gate closed though a person made a node busy.
func TestAHandWrittenSpecDoesNotBeginARun(t *testing.T) {
	f := newFixture(t, 2, node("a"), node("b"), shadow("a"), shadow("b"))
	f.scheduled("0 0 11 * * *")
	f.reconcile()
	var brs v2.BottlerocketShadow
	f.get("a", &brs)
	brs.Spec.State = v2.StagedAndPerformedUpdate
	if err := f.server.Update(t.Context(), &brs); err != nil {
		t.Fatal(err)
	}
	f.reconcile()
	f.reconcile()
	if diff := cmp.Diff([]string{"a"}, f.started()); diff != "" {
		t.Errorf("started (-want +got):\n%s", diff)
	}
}

func TestThePlanForPeopleHasTheSettings(t *testing.T) {
	f := newFixture(t, 3)
	f.scheduled("* * 14-15 * * *")
	f.cfg.CountUnavailable, f.cfg.UpdateCordoned, f.cfg.NodeName = true, true, "own"
	f.cfg.Timeouts = plan.Timeouts{Idle: time.Minute}
	want := plan.Snapshot{
		MaxConcurrent: 3, CountUnavailable: true, UpdateCordoned: true, OwnNode: "own", Timeouts: plan.Timeouts{Idle: time.Minute},
		Window: plan.Window{Closed: true, Opens: time.Date(2026, 3, 1, 14, 0, 0, 0, time.UTC)},
	}
	if diff := cmp.Diff(want, f.cfg.Snapshot(f.clock)); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
}
