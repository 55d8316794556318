// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/notice"
	"github.com/drydock-os/drydock/internal/plan"
)

// dies is what a leader leaves: the account in its Lease.
func (f *fixture) dies() account { return parseAccount(f.ledger.account().String()) }

// leads makes a replica the next leader, and returns what it tells of its first look.
func (f *fixture) leads(before account) []notice.Notice {
	f.t.Helper()
	f.ledger.inherit(before)
	f.reconcile()
	return f.notices()
}

// written lets the events of these notices be written.
func written(notices []notice.Notice) []notice.Notice {
	for _, n := range notices {
		n.Written()
	}
	return notices
}

// told are the reasons of notices by node.
func told(notices []notice.Notice) []string {
	reasons := []string{}
	for _, n := range notices {
		reasons = append(reasons, n.Node+" "+n.Reason)
	}
	return reasons
}

// TestATransitionThatWasNotToldIsToldByTheNextLeader, whether that has watched along or has only just started.
func TestATransitionThatWasNotToldIsToldByTheNextLeader(t *testing.T) {
	for name, along := range map[string]bool{"it has watched along": true, "it has just started": false} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, 1, node("a"), node("b"), shadow("a"), shadow("b"))
			next := onServer(t, 1, f.server)
			if along {
				next.watch()
			}
			f.reconcile()
			lost := f.notices()
			if diff := cmp.Diff([]string{"a UpdateAvailable"}, told(lost)); diff != "" {
				t.Fatalf("told (-want +got):\n%s", diff)
			}
			next.clock = next.clock.Add(5 * time.Second)
			again := next.leads(f.dies())
			if diff := cmp.Diff([]string{"a UpdateAvailable"}, told(again)); diff != "" {
				t.Fatalf("told by the next (-want +got):\n%s", diff)
			}
			a, b := lost[0], again[0]
			if !a.Known || !b.Known || a.Subject != b.Subject || a.Same != b.Same || a.Action != b.Action || a.Warning != b.Warning || a.Note != b.Note || !a.At.Equal(b.At) {
				t.Errorf("%+v by one and %+v by the next are two events", a, b)
			}
			// Nor is it lost when that one dies as well.
			third := onServer(t, 1, f.server)
			if got := told(third.leads(next.dies())); len(got) != 1 {
				t.Errorf("the third leader tells %v", got)
			}
		})
	}
}

// TestWhatWasToldIsNotToldAgain: it would be refused by the server, for two requests each.
func TestWhatWasToldIsNotToldAgain(t *testing.T) {
	f := newFixture(t, 1, node("a"), node("b"), shadow("a"), shadow("b"))
	next := onServer(t, 1, f.server)
	f.reconcile()
	next.watch()
	written(f.notices())
	f.watch()
	f.report("a", v2.StagedAndPerformedUpdate) // the agent goes on while nobody leads
	if diff := cmp.Diff([]string{"a UpdateStaged"}, told(next.leads(f.dies()))); diff != "" {
		t.Errorf("told by the next leader (-want +got):\n%s", diff)
	}
}

// TestSeveralTransitionsOfANodeAreTold: whoever watches along has seen them all.
func TestSeveralTransitionsOfANodeAreTold(t *testing.T) {
	f := newFixture(t, 1, node("a"), shadow("a"))
	next := onServer(t, 1, f.server)
	next.watch()
	begun := f.dies()
	f.reconcile()
	for _, state := range []v2.State{v2.StagedAndPerformedUpdate, v2.RebootedIntoUpdate, v2.MonitoringUpdate} {
		next.watch()
		f.report("a", state)
		f.clock = f.clock.Add(time.Second)
		f.reconcile()
	}
	f.notices()
	if got := f.dies(); got.upTo != begun.upTo && begun.upTo != "" {
		t.Errorf("nothing was told, and the account has come from %s to %s", begun.upTo, got.upTo)
	}
	want := []string{"a UpdateAvailable", "a UpdateStaged", "a NodeRebooted", "a UpdateVerified"}
	if diff := cmp.Diff(want, told(next.leads(f.dies()))); diff != "" {
		t.Errorf("told by the next leader (-want +got):\n%s", diff)
	}
}

// TestAWriteWithoutAnAnswerIsNotToldTooEarly: the account does not pass a move that may have been made, whatever is
// told meanwhile.
func TestAWriteWithoutAnAnswerIsNotToldTooEarly(t *testing.T) {
	f := newFixture(t, 2, node("a"), node("b"), shadow("a"), shadow("b"))
	for range 3 {
		f.report("b", v2.Idle) // the pretended server counts the versions of each object alone
	}
	f.onPatch = func(name string, write func() error) error {
		if err := write(); err != nil || name != "brs-b" {
			return err
		}
		return errors.New("connection reset")
	}
	f.reconcileWithError()
	written(f.notices()) // a
	f.watch()
	next := onServer(t, 2, f.server)
	if diff := cmp.Diff([]string{"b UpdateAvailable"}, told(next.leads(f.dies()))); diff != "" {
		t.Errorf("told by the next leader (-want +got):\n%s", diff)
	}
	// If it lives on, it finds out.
	f.onPatch = nil
	f.reconcile()
	if diff := cmp.Diff([]string{"b UpdateAvailable"}, told(written(f.notices()))); diff != "" {
		t.Errorf("told by itself (-want +got):\n%s", diff)
	}
	if got := told(onServer(t, 2, f.server).leads(f.dies())); len(got) != 0 {
		t.Errorf("all is told, and the next leader tells %v", got)
	}
}

// reconcileWithError looks at the fleet when a write fails.
func (f *fixture) reconcileWithError() {
	f.t.Helper()
	for range 2 {
		f.watch()
		if _, err := f.Reconcile(f.t.Context(), fleet); err != nil {
			return
		}
	}
	f.t.Fatal("no error")
}

// TestWhatHappenedLongAgoIsNoNews: nobody led for an hour, and a Lease of an older release has no account.
func TestWhatHappenedLongAgoIsNoNews(t *testing.T) {
	f := newFixture(t, 1, node("a"), shadow("a"))
	f.reconcile()
	next := onServer(t, 1, f.server)
	next.clock = f.clock.Add(time.Hour)
	if got := told(next.leads(account{})); len(got) != 0 {
		t.Errorf("tells %v", got)
	}
}

// TestOnlyRefusalsThatAreNewAreTold, although each leader has to find out anew who waits.
func TestOnlyRefusalsThatAreNewAreTold(t *testing.T) {
	var objects []client.Object
	for i := range 40 {
		name := "n" + string(rune('a'+i/10)) + string(rune('a'+i%10))
		n := node(name)
		n.Spec.Unschedulable = true
		objects = append(objects, n, shadow(name))
	}
	f := newFixture(t, 1, objects...)
	f.reconcile()
	unwritten := f.dies()
	if got := written(f.notices()); len(got) != 40 {
		t.Fatalf("told %v, want the cordon of each node", told(got))
	}
	if got := onServer(t, 1, f.server).leads(unwritten); len(got) != 40 || !got[0].Known {
		t.Errorf("nothing was written, and the next leader tells %v", told(got))
	}
	if got := onServer(t, 1, f.server).leads(f.dies()); len(got) != 0 {
		t.Errorf("all was told, and the next leader tells %v", told(got))
	}
	brs := &v2.BottlerocketShadow{}
	f.get("nab", brs)
	brs.Status.TargetVersion = "1.22.0"
	if err := f.server.Status().Update(t.Context(), brs); err != nil {
		t.Fatal(err)
	}
	got := told(onServer(t, 1, f.server).leads(f.dies()))
	if !strings.Contains(strings.Join(got, ","), "nab NodeCordoned") || len(got) > 12 {
		t.Errorf("one node waits for another version, and the next leader tells %v", got)
	}
}

func TestAnAccountIsRead(t *testing.T) {
	full := account{upTo: "1234", known: true}
	full.refusals.add("a", refusal{plan.BackOff, "1.21.0"})
	for _, a := range []account{full, {upTo: "7"}, {upTo: "1", known: true}} {
		if got := parseAccount(a.String()); got != a {
			t.Errorf("%q is read as %+v, want %+v", a, got, a)
		}
	}
	for text, want := range map[string]account{
		"": {}, " ": {}, "x": {}, "-1": {}, "07": {}, "12 ": {upTo: "12"}, "12 zz": {upTo: "12"},
		"12 " + strings.Repeat("z", 128): {upTo: "12"}, "x " + strings.Repeat("0", 128): {},
	} {
		if got := parseAccount(text); got != want {
			t.Errorf("%q is read as %+v, want %+v", text, got, want)
		}
	}
}

// TestALedgerIsAfterWhatItCannotCompare: in doubt something is told again.
func TestALedgerIsAfterWhatItCannotCompare(t *testing.T) {
	for _, tc := range []struct {
		version, than string
		want          bool
	}{{"10", "9", true}, {"9", "10", false}, {"9", "9", false}, {"9", "", true}, {"a", "9", true}} {
		if got := after(tc.version, tc.than); got != tc.want {
			t.Errorf("%q after %q: %t", tc.version, tc.than, got)
		}
	}
}

// TestAFollowerRemembersNoEndOfChanges: a leader of another release keeps no account.
func TestAFollowerRemembersNoEndOfChanges(t *testing.T) {
	m := newMirror()
	for i := range 1000 {
		s := shadow("a")
		s.ResourceVersion = strconv.Itoa(i + 1)
		s.Spec.StateTransitionTimestamp = new(time.Unix(int64(i), 0).UTC().Format(time.RFC3339))
		m.shadowShown(s)
	}
	if n := len(m.specsAfter("")); n > leastSpecs+4 {
		t.Errorf("%d are remembered", n)
	}
}
