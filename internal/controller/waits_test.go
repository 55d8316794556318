// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/fleetview"
	"github.com/drydock-os/drydock/internal/plan"
)

func (f *fixture) get(nodeName string, brs *v2.BottlerocketShadow) {
	f.t.Helper()
	if err := f.server.Get(f.t.Context(), client.ObjectKey{Namespace: testNamespace, Name: v2.ShadowName(nodeName)}, brs); err != nil {
		f.t.Fatal(err)
	}
}

// report is the agent of a node reporting a state.
func (f *fixture) report(nodeName string, state v2.State) {
	f.t.Helper()
	var brs v2.BottlerocketShadow
	f.get(nodeName, &brs)
	brs.Status.CurrentState = state
	if state == v2.RebootedIntoUpdate {
		brs.Status.CurrentVersion = *brs.Spec.Version
	}
	if err := f.server.Status().Update(f.t.Context(), &brs); err != nil {
		f.t.Fatal(err)
	}
}

// finish plays the agent of a started node until its update is done.
func (f *fixture) finish(nodeName string) {
	f.t.Helper()
	for _, state := range []v2.State{v2.StagedAndPerformedUpdate, v2.RebootedIntoUpdate, v2.MonitoringUpdate, v2.Idle} {
		f.report(nodeName, state)
		if state != v2.Idle {
			f.reconcile()
		}
	}
}

func TestD42AnUpdateThatTakesTooLongIsCalledOff(t *testing.T) {
	f := newFixture(t, 1, node("a"), node("b"), shadow("a"), shadow("b"))
	f.cfg.Timeouts = plan.Timeouts{Staged: 12 * time.Minute, Idle: 2 * time.Minute}
	f.reconcile()
	if d := f.reconcile(); d != 12*time.Minute { // the write itself leads to this look
		t.Errorf("looks again after %v, want when the limit of the state is over", d)
	}
	f.drainEvents()
	f.clock = f.clock.Add(12 * time.Minute)
	f.reconcile()
	var brs v2.BottlerocketShadow
	f.get("a", &brs)
	if want := `{"count":1,"at":"2026-03-01T12:12:00Z","state":"StagedAndPerformedUpdate"}`; brs.Spec.State != v2.Idle || brs.Annotations[v2.TimedOutAnnotation] != want {
		t.Errorf("spec %+v and mark %s, want Idle and %s", brs.Spec, brs.Annotations[v2.TimedOutAnnotation], want)
	}
	got := f.drainEvents()
	if len(got) != 1 || !strings.HasPrefix(got[0], "Warning StateTimedOut") || !strings.Contains(got[0], "12m0s") {
		t.Errorf("events %q, want one warning", got)
	}
	f.reconcile()
	if diff := f.started(); !slices.Equal(diff, []string{"b"}) {
		t.Errorf("started %v, want b to have the slot now", diff)
	}
	// The mark goes with the next success.
	f.finish("b")
	f.clock = f.clock.Add(3 * time.Minute)
	f.reconcile()
	f.finish("a")
	f.get("a", &brs)
	if brs.Annotations[v2.TimedOutAnnotation] != "" || brs.Spec.Version != nil || brs.Spec.State != v2.Idle {
		t.Errorf("after a success: %+v %+v, want no trace of the failure", brs.Annotations, brs.Spec)
	}
}

func TestAMarkSurvivesBeingStored(t *testing.T) {
	for _, want := range []plan.TimedOut{{}, {Count: 4294967295, At: "2026-03-01T12:00:00.5Z", State: plan.RebootedIntoUpdate}} {
		brs := shadow("a")
		brs.Annotations = map[string]string{v2.TimedOutAnnotation: fleetview.TimedOutMark(want)}
		if got := fleetview.Shadow(brs).TimedOut; got != want {
			t.Errorf("%+v comes back as %+v", want, got)
		}
	}
	for _, odd := range []string{"yes", "[]", `{"count":-1}`, `{"count":"x"}`} {
		brs := shadow("a")
		brs.Annotations = map[string]string{v2.TimedOutAnnotation: odd}
		if got := fleetview.Shadow(brs).TimedOut; got != (plan.TimedOut{}) {
			t.Errorf("%q is read as %+v", odd, got)
		}
	}
}

func TestD56RefusalsAreToldOnceEach(t *testing.T) {
	cordoned := node("a")
	cordoned.Spec.Unschedulable = true
	f := newFixture(t, 1, cordoned, shadow("a"))
	for range 3 {
		f.reconcile()
	}
	if got := f.drainEvents(); len(got) != 1 || !strings.HasPrefix(got[0], "Normal NodeCordoned") || !strings.Contains(got[0], "somebody else") {
		t.Errorf("events %q, want the cordon to be told once", got)
	}
	f.cfg.MaxConcurrent, f.cfg.UpdateCordoned = 0, true
	f.reconcile()
	if got := f.drainEvents(); len(got) != 1 || !strings.HasPrefix(got[0], "Normal StartsDisabled") {
		t.Errorf("events %q, want the new reason", got)
	}
	f.cfg.MaxConcurrent = 1
	f.reconcile()
	if got := f.drainEvents(); len(got) != 1 || !strings.Contains(got[0], "UpdateAvailable") {
		t.Errorf("events %q, want the start alone", got)
	}
}

// A write whose answer is lost is told once it is known that it was made, and not at all if it was not.
func TestAMoveWhoseAnswerWasLostIsTold(t *testing.T) {
	for _, made := range []bool{true, false} {
		f := newFixture(t, 1, node("a"), shadow("a"))
		f.onPatch = func(_ string, write func() error) error {
			if made {
				if err := write(); err != nil {
					return err
				}
			}
			return errors.New("connection reset")
		}
		f.watch()
		for range 2 { // the first may only mark
			if _, err := f.Reconcile(t.Context(), fleet); err != nil {
				break
			}
			f.watch()
		}
		if got := f.drainEvents(); len(got) != 0 {
			t.Fatalf("told %q though nothing is known", got)
		}
		f.onPatch = nil
		f.clock = f.clock.Add(time.Second) // a move that is decided anew has another time
		f.reconcile()
		f.reconcile()
		if got := f.drainEvents(); len(got) != 1 || !strings.HasPrefix(got[0], "Normal UpdateAvailable") {
			t.Errorf("made %t: events %q, want the start, once", made, got)
		}
	}
}

// Waiting for a slot is no news while nodes are being updated, and one when only unavailable nodes hold the slots.
func TestNoSlotIsARefusalWhenNobodyMoves(t *testing.T) {
	away := node("a")
	away.Status.Conditions[0].Status = corev1.ConditionFalse
	upToDate := shadow("a")
	upToDate.Status.CurrentVersion = "1.21.0"
	f := newFixture(t, 1, away, upToDate, node("b"), node("c"), shadow("b"), shadow("c"))
	f.cfg.CountUnavailable = true
	f.reconcile()
	got := f.drainEvents()
	if len(got) != 2 || !strings.HasPrefix(got[0], "Normal NoSlot") || !strings.HasPrefix(got[1], "Normal NoSlot") {
		t.Errorf("events %q, want both nodes that wait to be told", got)
	}
	f.cfg.MaxConcurrent = 2
	f.reconcile()
	f.reconcile()
	if got := f.drainEvents(); len(got) != 1 || !strings.HasPrefix(got[0], "Normal UpdateAvailable") {
		t.Errorf("events %q, want the start alone", got)
	}
}

// A new leader cannot know what the one before has told: it tells of each node that waits, and that this is no news. It
// says the same in other words if the host does.
func TestANewLeaderRepeatsNothing(t *testing.T) {
	failing := shadow("b")
	failing.Status.TargetVersion = failing.Status.CurrentVersion
	failing.Status.UpdateCheck = &v2.UpdateCheck{Error: "no answer from 10.0.0.1:40001", FailingSince: "2026-03-01T10:00:00Z"}
	cordoned := node("a")
	cordoned.Spec.Unschedulable = true
	objects := func() []client.Object {
		return []client.Object{cordoned.DeepCopy(), shadow("a"), node("b"), failing.DeepCopy()}
	}
	f := newFixture(t, 1, objects()...)
	f.reconcile()
	first := f.notices()
	failing.Status.UpdateCheck.Error = "no answer from 10.0.0.1:40002"
	f = newFixture(t, 1, objects()...)
	f.reconcile()
	second := f.notices()
	if len(first) != 2 || len(second) != 2 {
		t.Fatalf("told %v, then %v, want both waits each time", first, second)
	}
	for i := range first {
		if a, b := first[i], second[i]; !a.Known || !b.Known || a.Reason != b.Reason || a.Same != b.Same || a.Subject != b.Subject {
			t.Errorf("%+v by one leader and %+v by the next are two events", a, b)
		}
	}
	// What begins later is news.
	f.cfg.UpdateCordoned, f.cfg.MaxConcurrent = true, 0
	f.reconcile()
	if got := f.notices(); len(got) != 1 || got[0].Known || got[0].Reason != string(plan.StartsDisabled) {
		t.Errorf("told %+v, want the new reason as news", got)
	}
}

// D36: what a host knows of its updates reaches the events and the metrics.
func TestD36WhatTheHostSaysOfItsUpdatesIsTold(t *testing.T) {
	held := func(name string, h v2.HeldUpdate) *v2.BottlerocketShadow {
		brs := shadow(name)
		brs.Status.TargetVersion = brs.Status.CurrentVersion
		brs.Status.HeldUpdate = &h
		return brs
	}
	failing := shadow("d")
	failing.Status.TargetVersion = failing.Status.CurrentVersion
	f := newFixture(t, 1, node("a"), node("b"), node("c"), node("d"),
		held("a", v2.HeldUpdate{Version: "1.22.0", Reason: "wave", Until: "2999-01-02T03:04:05Z"}),
		held("b", v2.HeldUpdate{Version: "1.22.0", Reason: "lock", LockedTo: "1.20.0"}),
		held("c", v2.HeldUpdate{Version: "1.22.0", Reason: "blocked"}), failing)
	failing.Status.UpdateCheck = &v2.UpdateCheck{
		Error: "timestamp.json: no route to host", FailingSince: f.clock.Add(-90 * time.Minute).Format(time.RFC3339), LastSuccess: f.clock.Add(-2 * time.Hour).Format(time.RFC3339),
	}
	if err := f.server.Status().Update(t.Context(), failing); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		f.reconcile()
	}
	told := strings.Join(f.drainEvents(), "\n")
	for _, want := range []string{
		"Normal WaveNotReached waits for its wave of 1.22.0 until 2999-01-02T03:04:05Z",
		"Normal VersionLocked is locked to 1.20.0 by settings.updates.version-lock; 1.22.0 is published",
		"Warning VersionBlocked refuses 1.22.0, which fell back there; 'apiclient update unblock 1.22.0' on the host lets it be tried again",
		"Warning CheckFailing cannot look for updates since " + f.clock.Add(-90*time.Minute).UTC().Format(time.RFC3339) + ": timestamp.json: no route to host; the last look that succeeded was at ",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("no event %q in\n%s", want, told)
		}
	}
	if n := strings.Count(told, "Normal "); n != 2 {
		t.Errorf("%d events where one each is enough:\n%s", n, told)
	}
	leading := make(chan struct{})
	close(leading)
	got := values(t, f, leading, "drydock_update_check_failing_seconds")
	for _, want := range []string{`drydock_nodes_waiting{reason="WaveNotReached"} 1`, `drydock_nodes_waiting{reason="VersionLocked"} 1`,
		`drydock_nodes_waiting{reason="VersionBlocked"} 1`, `drydock_nodes_waiting{reason="CheckFailing"} 1`, "drydock_update_check_failing_seconds 5400"} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no line %q in\n%s", want, grep(got, "drydock_"))
		}
	}
}

// values reads metrics as a Prometheus server does, and checks their form.
func values(t *testing.T, f *fixture, leading <-chan struct{}, names ...string) string {
	t.Helper()
	text := scrape(t, f, leading)
	problems, err := testutil.GatherAndLint(newRegistry(f.reconciler, leading), names...)
	if err != nil || len(problems) > 0 {
		t.Errorf("metrics %v: %v, %v", names, problems, err)
	}
	return text
}

func TestD52MetricsOfTheOperator(t *testing.T) {
	f := newFixture(t, plan.Percent(50), node("a"), node("b"), node("c"), shadow("a"), shadow("b"), shadow("c"))
	f.scheduled("* * 14-15 * * *")
	leading := make(chan struct{})
	if got := values(t, f, leading); !strings.Contains(got, "drydock_leader 0\n") || strings.Contains(got, "drydock_slots") {
		t.Errorf("a standby shows:\n%s", got)
	}
	close(leading)
	expect := func(when string, wanted ...string) {
		t.Helper()
		got := values(t, f, leading, "drydock_leader", "drydock_build_info", "drydock_nodes_waiting", "drydock_slots_used", "drydock_slots_limit",
			"drydock_next_window_seconds", "drydock_moves_total", "drydock_updates_total", "drydock_update_failures_total", "drydock_state_duration_seconds", "drydock_decision_seconds")
		for _, want := range wanted {
			if !strings.Contains(got, want+"\n") {
				t.Errorf("%s: no line %q in\n%s", when, want, grep(got, want[:strings.IndexAny(want, "{ ")]))
			}
		}
	}
	f.reconcile()
	expect("outside the window", "drydock_leader 1", `drydock_nodes_waiting{reason="OutsideWindow"} 3`, "drydock_slots_used 0",
		"drydock_slots_limit 1", "drydock_next_window_seconds 7200", "drydock_updates_total 0", "drydock_decision_seconds_count 1",
		`drydock_moves_total{reason="UpdateAvailable"} 0`, `drydock_update_failures_total{reason="AttemptFailed",state="StagedAndPerformedUpdate"} 0`,
		`drydock_update_failures_total{reason="StateTimedOut",state="MonitoringUpdate"} 0`)

	f.clock = f.clock.Add(2 * time.Hour)
	f.reconcile()
	expect("in the window", `drydock_nodes_waiting{reason="NoSlot"} 2`, "drydock_slots_used 1", "drydock_next_window_seconds 0",
		`drydock_moves_total{reason="UpdateAvailable"} 1`)

	f.clock = f.clock.Add(40 * time.Second)
	f.finish("a")
	expect("after an update", "drydock_updates_total 1", `drydock_state_duration_seconds_bucket{state="StagedAndPerformedUpdate",le="60"} 1`,
		`drydock_state_duration_seconds_sum{state="StagedAndPerformedUpdate"} 40`, `drydock_state_duration_seconds_count{state="MonitoringUpdate"} 1`)

	f.reconcile() // starts b
	f.report("b", v2.ErrorReset)
	f.reconcile()
	expect("after a failure", `drydock_update_failures_total{reason="AttemptFailed",state="StagedAndPerformedUpdate"} 1`)

	for _, obj := range []client.Object{node("c"), shadow("c")} {
		if err := f.server.Delete(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
	f.reconcile()
	if got := scrape(t, f, leading); strings.Contains(got, "NoSlot") || !strings.Contains(got, `brupop_hosts_version{bottlerocket_version="1.20.0"} 1`) {
		t.Errorf("after a node was deleted it still shows:\n%s", grep(got, "drydock_nodes_waiting"))
	}
	if text := grep(scrape(t, f, leading), "drydock_build_info"); !strings.Contains(text, `version="1.2.3"`) {
		t.Errorf("build info %q", text)
	}
}

func TestEveryReasonOfAMoveIsCountedFromZero(t *testing.T) {
	source, err := os.ReadFile(filepath.Join("..", "plan", "reasons.go"))
	if err != nil {
		t.Fatal(err)
	}
	var want []plan.MoveReason
	for _, m := range regexp.MustCompile(`MoveReason = "(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		want = append(want, plan.MoveReason(m[1]))
	}
	if diff := cmp.Diff(want, moveReasons); diff != "" {
		t.Errorf("reasons of moves (-want +got):\n%s", diff)
	}
}

func grep(text, prefix string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// TestD40D43D55AQuietFleetCostsNothing looks at nodes that are up to date, recovering and pausing: nothing is
// written, told or logged a second time, and only the end of the pause asks for a further look.
func TestD40D43D55AQuietFleetCostsNothing(t *testing.T) {
	upToDate, failed, pausing := shadow("a"), shadow("b"), shadow("c")
	upToDate.Status.CurrentVersion = "1.21.0"
	failed.Spec.State, failed.Status.CurrentState = v2.StagedAndPerformedUpdate, v2.ErrorReset
	since := "2026-03-01T11:59:00Z"
	pausing.Status.CrashCount, pausing.Status.StateTransitionFailureTimestamp = 3, &since
	f := newFixture(t, 1, node("a"), node("b"), node("c"), upToDate, failed, pausing)
	writes := 0
	f.onPatch = func(_ string, write func() error) error { writes++; return write() }
	var log strings.Builder
	f.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	f.reconcile()
	if writes != 1 || log.Len() == 0 {
		t.Fatalf("%d writes and log %q, want the failed attempt to be called off", writes, log.String())
	}
	f.drainEvents()
	log.Reset()
	for range 100 {
		if d := f.reconcile(); d != 8*time.Minute {
			t.Fatalf("looks again after %v, want when the pause is over", d)
		}
	}
	if told := f.drainEvents(); writes != 1 || len(told) > 0 || log.Len() > 0 {
		t.Errorf("after 100 further looks: %d writes, events %q, log %q", writes, told, log.String())
	}
}
