// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/fleetview"
	"github.com/drydock-os/drydock/internal/plan"
)

func TestSpecPatch(t *testing.T) {
	for want, spec := range map[string]plan.Spec{
		`{"apiVersion":"brupop.bottlerocket.aws/v2","kind":"BottlerocketShadow","metadata":{"resourceVersion":"7"},"spec":{"state":"StagedAndPerformedUpdate","state_transition_timestamp":"2026-03-01T12:00:00Z","version":"1.21.0"}}`: {State: plan.StagedAndPerformedUpdate, Since: "2026-03-01T12:00:00Z", Version: "1.21.0"},
		`{"apiVersion":"brupop.bottlerocket.aws/v2","kind":"BottlerocketShadow","metadata":{"resourceVersion":"7"},"spec":{"state":"Idle","state_transition_timestamp":null,"version":null}}`:                                           {State: plan.Idle},
	} {
		brs := &v2.BottlerocketShadow{}
		brs.ResourceVersion = "7"
		got, err := specPatch(brs, plan.Move{Spec: spec})
		if err != nil || string(got) != want {
			t.Errorf("patch %s, %v, want %s", got, err, want)
		}
	}
}

func TestALookMovesWhatMayMove(t *testing.T) {
	f := newFixture(t, 1, node("a"), node("b"), shadow("a"), shadow("b"))
	f.reconcile()
	if diff := cmp.Diff([]string{"a"}, f.started()); diff != "" {
		t.Fatalf("started (-want +got):\n%s", diff)
	}
	var brs v2.BottlerocketShadow
	if err := f.server.Get(t.Context(), client.ObjectKey{Namespace: testNamespace, Name: "brs-a"}, &brs); err != nil {
		t.Fatal(err)
	}
	if fleetview.Text(brs.Spec.Version) != "1.21.0" || fleetview.Text(brs.Spec.StateTransitionTimestamp) != "2026-03-01T12:00:00Z" {
		t.Errorf("spec %+v, want the version and the time of the start", brs.Spec)
	}
	got := f.drainEvents()
	if len(got) != 1 || !strings.Contains(got[0], "UpdateAvailable") || !strings.Contains(got[0], "1.20.0 to 1.21.0") {
		t.Errorf("events %q, want one that tells of the start", got)
	}
	f.reconcile()
	if more := f.drainEvents(); len(more) != 0 {
		t.Errorf("nothing has changed, but events tell %q", more)
	}
}

// TestD41OwnWritesCountAtOnce is the fault where a slow watch let more nodes start than allowed.
func TestD41OwnWritesCountAtOnce(t *testing.T) {
	f := newFixture(t, 1, node("a"), node("b"), shadow("a"), shadow("b"))
	f.uncertain = false
	f.lag()
	for range 3 {
		f.reconcile()
	}
	if diff := cmp.Diff([]string{"a"}, f.started()); diff != "" {
		t.Errorf("started (-want +got):\n%s", diff)
	}
}

// elsewhere starts a node as another replica does.
func (f *fixture) elsewhere(nodeName string) {
	f.t.Helper()
	var brs v2.BottlerocketShadow
	f.get(nodeName, &brs)
	brs.Spec.State = v2.StagedAndPerformedUpdate
	if err := f.server.Update(f.t.Context(), &brs); err != nil {
		f.t.Fatal(err)
	}
}

// TestANewLeaderCountsWhatItsPredecessorWrote: it does nothing before its watch shows what was written before.
func TestANewLeaderCountsWhatItsPredecessorWrote(t *testing.T) {
	f := newFixture(t, 1, node("a"), node("b"), shadow("a"), shadow("b"))
	f.lag()
	f.elsewhere("b")
	woken := 0
	f.mirror.onWake(func() { woken++ })
	for range 3 {
		f.reconcile()
	}
	if diff := cmp.Diff([]string{"b"}, f.started()); diff != "" || f.marks != 1 {
		t.Fatalf("%d marks; before the watch shows the mark, started (-want +got):\n%s", f.marks, diff)
	}
	f.lags, woken = false, 0
	f.watch()
	if woken == 0 {
		t.Error("nothing wakes the controller when the watch shows the mark")
	}
	f.reconcile()
	if diff := cmp.Diff([]string{"b"}, f.started()); diff != "" || f.uncertain || f.marks != 1 {
		t.Errorf("%d marks, uncertain %v; started (-want +got):\n%s", f.marks, f.uncertain, diff)
	}
}

// TestANewLeaderReadsWhatItsWatchDoesNotShow: a watch that stands still holds it up for a moment only.
func TestANewLeaderReadsWhatItsWatchDoesNotShow(t *testing.T) {
	f := newFixture(t, 1, node("a"), node("b"), shadow("a"), shadow("b"))
	f.lag()
	f.elsewhere("b")
	f.reconcile()
	f.clock = f.clock.Add(markPatience)
	f.reconcile()
	if diff := cmp.Diff([]string{"b"}, f.started()); diff != "" || f.uncertain {
		t.Errorf("uncertain %v; started (-want +got):\n%s", f.uncertain, diff)
	}
}

// TestANewLeaderWithoutAnythingToMarkReadsWhatThereIs, whether its watch shows nothing or only what is gone.
func TestANewLeaderWithoutAnythingToMarkReadsWhatThereIs(t *testing.T) {
	gone := shadow("0")
	for name, f := range map[string]*fixture{
		"nothing": newFixture(t, 1, node("a"), node("b")),
		"gone":    newFixture(t, 1, node("a"), node("b"), gone),
	} {
		f.lag()
		_ = f.server.Delete(t.Context(), gone)
		for _, brs := range []*v2.BottlerocketShadow{shadow("a"), shadow("b")} {
			if err := f.server.Create(t.Context(), brs); err != nil {
				t.Fatal(err)
			}
		}
		f.elsewhere("b")
		f.reconcile()
		if diff := cmp.Diff([]string{"b"}, f.started()); diff != "" || f.uncertain || f.marks != len(f.mirror.shadows)-2 {
			t.Errorf("%s: %d marks, uncertain %v; started (-want +got):\n%s", name, f.marks, f.uncertain, diff)
		}
	}
}

func TestAWriteWithoutAnAnswerMayHaveHappened(t *testing.T) {
	f := newFixture(t, 1, node("a"), node("b"), shadow("a"), shadow("b"))
	f.uncertain = false
	f.lag()
	f.onPatch = func(_ string, write func() error) error {
		return errors.Join(context.DeadlineExceeded, write())
	}
	if _, err := f.Reconcile(t.Context(), fleet); err == nil {
		t.Fatal("the lost answer is no error")
	}
	f.onPatch = nil
	f.reconcile()
	if diff := cmp.Diff([]string{"a"}, f.started()); diff != "" || !f.uncertain {
		t.Fatalf("certain although the watch lags, or started (-want +got):\n%s", diff)
	}
	f.lags = false
	f.reconcile()
	if diff := cmp.Diff([]string{"a"}, f.started()); diff != "" || f.uncertain {
		t.Errorf("uncertain %v; started (-want +got):\n%s", f.uncertain, diff)
	}
}

// TestNothingIsWrittenUnderALeaseThatMayBeOver: whoever waits may lead then.
func TestNothingIsWrittenUnderALeaseThatMayBeOver(t *testing.T) {
	f := newFixture(t, 1, node("a"), shadow("a"), shadow("gone"))
	f.uncertain = false
	held := f.clock
	f.heldUntil = func() time.Time { return held }
	f.watch()
	if _, err := f.Reconcile(t.Context(), fleet); !errors.Is(err, errNotHeld) {
		t.Errorf("error %v, want %v", err, errNotHeld)
	}
	if len(f.started()) > 0 || f.uncertain {
		t.Errorf("started %v, uncertain %v", f.started(), f.uncertain)
	}
	f.get("gone", &v2.BottlerocketShadow{})
	held = held.Add(time.Second)
	f.reconcile()
	if diff := cmp.Diff([]string{"a"}, f.started()); diff != "" {
		t.Errorf("started (-want +got):\n%s", diff)
	}
}

func TestAnOvertakenDecisionIsNoError(t *testing.T) {
	f := newFixture(t, 1, node("a"), shadow("a"))
	f.onPatch = func(string, func() error) error {
		return apierrors.NewConflict(v2.GroupVersion.WithResource("bottlerocketshadows").GroupResource(), "brs-a", errors.New("changed"))
	}
	f.reconcile()
	f.onPatch = nil
	f.reconcile()
	if diff := cmp.Diff([]string{"a"}, f.started()); diff != "" {
		t.Errorf("started (-want +got):\n%s", diff)
	}
}

func TestOneNodeThatCannotBeWrittenHoldsUpNoOther(t *testing.T) {
	f := newFixture(t, 3, node("a"), node("b"), node("c"), shadow("a"), shadow("b"), shadow("c"))
	f.onPatch = func(name string, write func() error) error {
		if name == "brs-b" {
			return errors.New("no way")
		}
		return write()
	}
	f.uncertain = false
	f.watch()
	if _, err := f.Reconcile(t.Context(), fleet); err == nil || !strings.Contains(err.Error(), "moving node b") {
		t.Errorf("error %v, want one that names node b", err)
	}
	if diff := cmp.Diff([]string{"a", "c"}, f.started()); diff != "" {
		t.Errorf("started (-want +got):\n%s", diff)
	}
}

func TestThePauseAfterAFailureWakesTheController(t *testing.T) {
	brs := shadow("a")
	failed := "2026-03-01T11:59:00Z"
	brs.Status.CrashCount, brs.Status.StateTransitionFailureTimestamp = 1, &failed
	f := newFixture(t, 1, node("a"), brs)
	if d := f.reconcile(); d != 2*time.Minute {
		t.Errorf("looks again after %v, want 2m, when three minutes have passed since the failure", d)
	}
}

func TestD45ShadowsOfAbsentNodesAreRemoved(t *testing.T) {
	optedOut := node("opted-out")
	optedOut.Labels = nil
	replaced := node("replaced")
	replaced.UID = "another"
	stuck := shadow("gone")
	stuck.Spec.State = v2.RebootedIntoUpdate
	foreign := shadow("x")
	foreign.Name = "somebody-elses"
	f := newFixture(t, 1, node("kept"), optedOut, replaced, shadow("kept"), shadow("opted-out"), shadow("replaced"), stuck, foreign)
	f.reconcile()
	var list v2.BottlerocketShadowList
	if err := f.server.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, brs := range list.Items {
		left = append(left, brs.Name)
	}
	if diff := cmp.Diff([]string{"brs-kept", "somebody-elses"}, left); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	f.reconcile()
	if diff := cmp.Diff([]string{"kept"}, f.started()); diff != "" {
		t.Errorf("started (-want +got):\n%s", diff)
	}
}

// TestANodeThatTheCacheDoesNotKnowYetKeepsItsShadow covers the race between the two watches.
func TestANodeThatTheCacheDoesNotKnowYetKeepsItsShadow(t *testing.T) {
	f := newFixture(t, 1, node("new"), shadow("new"))
	shadows := map[string]*v2.BottlerocketShadow{"new": shadow("new")}
	if err := f.remove(t.Context(), shadows, []plan.Removal{{Node: "new", Reason: plan.NodeGone}}); err != nil {
		t.Fatal(err)
	}
	if err := f.server.Get(t.Context(), client.ObjectKey{Namespace: testNamespace, Name: "brs-new"}, &v2.BottlerocketShadow{}); err != nil {
		t.Errorf("the shadow is gone: %v", err)
	}
}

func TestARememberedShadowThatWasDeletedHoldsNoSlot(t *testing.T) {
	f := newFixture(t, 1, node("a"), node("b"), shadow("a"), shadow("b"))
	f.uncertain = false
	f.lag()
	f.reconcile() // starts a; remembered, because the cache lags
	if err := f.server.Delete(t.Context(), shadow("a")); err != nil {
		t.Fatal(err)
	}
	f.lags = false
	f.reconcile()
	if diff := cmp.Diff([]string{"b"}, f.started()); diff != "" {
		t.Errorf("started (-want +got):\n%s", diff)
	}
}

func TestD66NodesAreCachedWithoutBallast(t *testing.T) {
	n := node("a")
	n.Annotations = map[string]string{"huge": strings.Repeat("x", 1000), v2.CordonedByAnnotation: v2.CordonOwner}
	n.Labels["zone"] = "a"
	n.Spec.Unschedulable = true
	n.Status.Images = make([]corev1.ContainerImage, 50)
	n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: corev1.NodeDiskPressure})
	got, err := slimNode(n)
	if err != nil {
		t.Fatal(err)
	}
	slim := got.(*corev1.Node)
	if fleetview.Node(slim) != fleetview.Node(n) {
		t.Errorf("the plan sees %+v of the slim node, %+v of the whole", fleetview.Node(slim), fleetview.Node(n))
	}
	if len(slim.Annotations) != 1 || len(slim.Labels) != 1 || len(slim.Status.Images) != 0 || len(slim.Status.Conditions) != 1 {
		t.Errorf("ballast is left: %+v", slim)
	}
}
