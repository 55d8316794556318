// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleet

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	brupopv2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/osimage"
	"github.com/drydock-os/drydock/internal/slot"
	"github.com/drydock-os/drydock/lab/machine"
)

// story tells a tracker what happens to nodes, one second after the other.
type story struct {
	*tracker
	now time.Time
}

func newStory(max, replicas int, nodes ...string) *story {
	s := &story{newTracker(nodes, "1.21.0", max, replicas, 1), time.Unix(1000, 0)}
	for _, n := range nodes {
		s.boot(n, 1, "1.20.0", slot.A)
		s.node(n, "boot-1", true, true)
		s.shadow(n, brupopv2.Idle, brupopv2.Idle, "1.20.0")
	}
	return s
}

func (s *story) tick() time.Time { s.now = s.now.Add(time.Second); return s.now }

func (s *story) boot(node string, number int, version string, in slot.Slot) {
	s.machineEvent(machine.Event{Host: node, Kind: machine.Booted, Time: s.tick(), Boot: machine.Boot{
		Number: number, ID: "boot-" + string(rune('0'+number)), Slot: in, Release: osimage.Release{Version: version},
	}})
}

func (s *story) host(node string, kind machine.Kind, command string, took time.Duration) {
	s.machineEvent(machine.Event{Host: node, Kind: kind, Time: s.tick(), Command: command, Duration: took})
}

func (s *story) node(name, bootID string, ready, schedulable bool) {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Spec.Unschedulable = !schedulable
	n.Status.NodeInfo.BootID = bootID
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status}}
	s.nodeEvent(n, s.tick())
}

func (s *story) shadow(node string, spec, status brupopv2.State, version string) {
	s.shadowEvent(&brupopv2.BottlerocketShadow{
		ObjectMeta: metav1.ObjectMeta{Name: "brs-" + node},
		Spec:       brupopv2.BottlerocketShadowSpec{State: spec},
		Status:     &brupopv2.BottlerocketShadowStatus{CurrentState: status, CurrentVersion: brupopv2.Version(version)},
	}, s.tick())
}

func (s *story) pod(name, node string, ready, gone bool) {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: workloadNamespace, Name: name, Labels: map[string]string{"app": workloadName}}}
	p.Spec.NodeName = node
	if ready {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	s.podEvent(p, gone, s.tick())
}

// update is a whole good update of one node.
func (s *story) update(node string) {
	s.shadow(node, brupopv2.StagedAndPerformedUpdate, brupopv2.Idle, "1.20.0")
	s.host(node, machine.CommandFinished, "prepare", 400*time.Millisecond)
	s.host(node, machine.CommandFinished, "activate", 100*time.Millisecond)
	s.shadow(node, brupopv2.RebootedIntoUpdate, brupopv2.StagedAndPerformedUpdate, "1.20.0")
	s.node(node, "boot-1", true, false)
	s.pod("web-1", node, false, true)
	s.host(node, machine.RebootRequested, "", 0)
	s.node(node, "boot-1", false, false)
	s.boot(node, 2, "1.21.0", slot.B)
	s.host(node, machine.MarkedGood, "", 0)
	s.node(node, "boot-2", true, false)
	s.node(node, "boot-2", true, true)
	s.shadow(node, brupopv2.MonitoringUpdate, brupopv2.RebootedIntoUpdate, "1.21.0")
	s.shadow(node, brupopv2.Idle, brupopv2.MonitoringUpdate, "1.21.0")
	s.shadow(node, brupopv2.Idle, brupopv2.Idle, "1.21.0")
}

func TestGoodRollIsSettledAndClean(t *testing.T) {
	s := newStory(1, 0, "node-1", "node-2")
	s.update("node-1")
	if s.settled() {
		t.Fatal("settled although node-2 still runs the old version")
	}
	s.update("node-2")
	if !s.settled() {
		t.Fatalf("not settled: %q", s.nodes["node-2"].problem("1.21.0"))
	}
	r := s.report(&Config{From: "1.20.0", To: "1.21.0", MaxConcurrent: 1}, time.Unix(1000, 0), s.now)
	if r.Failure() || r.Updated != 2 || r.MaxUnavailableSeen != 1 {
		t.Errorf("got updated %d, unavailable %d, reason %q", r.Updated, r.MaxUnavailableSeen, r.Reason)
	}
	n := r.PerNode[0]
	if n.TotalSeconds != 14 || n.DrainSeconds != 1 || n.RebootSeconds != 4 || n.StageSeconds != 0.5 || n.OwnSeconds != 8.5 {
		t.Errorf("times do not add up: %+v", n)
	}
	if n.Slot != "B" || !n.BootIDChanged || n.Attempts != 1 {
		t.Errorf("got %+v", n)
	}
}

// TestAnAttemptBeginsWithTheHostWhenTheWatchIsDark: the watch of shadows may show nothing for seconds; the host's staging, the
// drain and the reboot of that time count all the same, and what a host did in an earlier attempt does not.
func TestAnAttemptBeginsWithTheHostWhenTheWatchIsDark(t *testing.T) {
	s := newStory(1, 0, "node-1", "node-2")
	for _, n := range []string{"node-1", "node-2"} {
		s.host(n, machine.CommandStarted, "prepare", 0) // somebody staged by hand, long before
		s.host(n, machine.CommandFinished, "prepare", 30*time.Second)
	}
	asked := s.now.Add(500 * time.Millisecond)
	dark := func(n string) {
		s.host(n, machine.CommandStarted, "prepare", 0)
		s.host(n, machine.CommandFinished, "prepare", 400*time.Millisecond)
		s.node(n, "boot-1", true, false)
		s.pod("web-"+n, n, false, true)
		s.host(n, machine.RebootRequested, "", 0)
		s.boot(n, 2, "1.21.0", slot.B)
		s.node(n, "boot-2", true, true)
	}
	began := map[string]time.Time{"node-1": s.now.Add(time.Second)}
	dark("node-1")
	s.shadow("node-1", brupopv2.MonitoringUpdate, brupopv2.RebootedIntoUpdate, "1.21.0")

	stamp := asked.Format(time.RFC3339Nano)
	began["node-2"] = asked
	dark("node-2")
	s.shadowEvent(&brupopv2.BottlerocketShadow{
		ObjectMeta: metav1.ObjectMeta{Name: "brs-node-2"},
		Spec:       brupopv2.BottlerocketShadowSpec{State: brupopv2.StagedAndPerformedUpdate, StateTransitionTimestamp: &stamp},
		Status:     &brupopv2.BottlerocketShadowStatus{CurrentState: brupopv2.Idle, CurrentVersion: "1.20.0"},
	}, s.tick())
	for n, start := range began {
		if got := s.nodes[n].attempts; len(got) != 1 || !got[0].start.Equal(start) || got[0].staging != 400*time.Millisecond ||
			between(got[0].cordoned, got[0].drained) != 1 || between(got[0].rebootAsked, got[0].back) != 2 {
			t.Errorf("%s: got %+v, want one attempt from %v with 0.4 s of staging, 1 s of drain and 2 s of reboot", n, got, start)
		}
	}

	s = newStory(1, 0, "node-1")
	s.host("node-1", machine.CommandStarted, "prepare", 0)
	s.host("node-1", machine.CommandFinished, "prepare", 30*time.Second)
	stamp = s.now.Add(time.Second).Format(time.RFC3339Nano)
	s.tick()
	s.shadowEvent(&brupopv2.BottlerocketShadow{
		ObjectMeta: metav1.ObjectMeta{Name: "brs-node-1"},
		Spec:       brupopv2.BottlerocketShadowSpec{State: brupopv2.StagedAndPerformedUpdate, StateTransitionTimestamp: &stamp},
	}, s.tick())
	if got := s.nodes["node-1"].attempts; len(got) != 1 || got[0].staging != 0 {
		t.Errorf("got %+v, want an attempt without what the host did before the controller asked for it", got)
	}
}

// TestADrainEndsWithItsPodsAndNotWithTheirObjects: a kubelet that is switched off right after a pod's end deletes its object
// when it is back.
func TestADrainEndsWithItsPodsAndNotWithTheirObjects(t *testing.T) {
	s := newStory(1, 0, "node-1", "node-2")
	web := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: workloadNamespace, Name: "web"}}
	web.Spec.NodeName = "node-1"
	s.podEvent(web, false, s.tick())
	s.shadow("node-1", brupopv2.RebootedIntoUpdate, brupopv2.StagedAndPerformedUpdate, "1.20.0")
	s.node("node-1", "boot-1", true, false)
	ended := web.DeepCopy()
	ended.Status.Phase = corev1.PodSucceeded
	s.podEvent(ended, false, s.tick())
	s.podEvent(ended, false, s.tick()) // said again, which changes nothing
	s.host("node-1", machine.RebootRequested, "", 0)
	s.boot("node-1", 2, "1.21.0", slot.B)
	s.node("node-1", "boot-2", true, false)
	s.podEvent(ended, true, s.tick())
	if got := s.nodes["node-1"].report("1.21.0").DrainSeconds; got != 1 {
		t.Errorf("the drain took %v s, want 1", got)
	}
}

// TestTheFleetHasJoinedWhenEveryNodeIsOfferedTheVersion: only then is there something to roll.
func TestTheFleetHasJoinedWhenEveryNodeIsOfferedTheVersion(t *testing.T) {
	s := newStory(1, 0, "node-1", "node-2")
	offer := func(node string, v brupopv2.Version) {
		s.shadowEvent(&brupopv2.BottlerocketShadow{
			ObjectMeta: metav1.ObjectMeta{Name: "brs-" + node},
			Status:     &brupopv2.BottlerocketShadowStatus{CurrentState: brupopv2.Idle, CurrentVersion: "1.20.0", TargetVersion: v},
		}, s.tick())
	}
	offer("node-1", "1.21.0")
	for _, later := range []brupopv2.Version{"", "1.20.0"} {
		offer("node-2", later)
		if s.joined() {
			t.Fatalf("joined although node-2 is offered %q", later)
		}
	}
	offer("node-2", "1.21.0")
	if !s.joined() {
		t.Error("not joined although both are offered the version")
	}
}

// TestTheIdealRollHasNoGaps: what remains when every place is always in use, by staging, drains and reboots alone.
func TestTheIdealRollHasNoGaps(t *testing.T) {
	for places, want := range map[int]float64{1: 16.5, 2: 11, 9: 5.5, Unlimited: 5.5} {
		s := newStory(places, 0, "node-1", "node-2", "node-3")
		for _, n := range []string{"node-1", "node-2", "node-3"} { // 0.5 s of staging, 1 s of drain and 4 s of reboot each
			s.update(n)
		}
		r := s.report(&Config{MaxConcurrent: places}, time.Unix(1000, 0), s.now)
		if r.IdealSeconds != want || r.OverIdeal != round(r.RollSeconds/want) {
			t.Errorf("%d places: ideally %v s, and %v s are %v times that; want %v s", places, r.IdealSeconds, r.RollSeconds, r.OverIdeal, want)
		}
	}
}

func TestBrokenPromisesFailTheRun(t *testing.T) {
	tests := []struct {
		name string
		tell func(*story)
		want string
	}{
		{"two nodes in an update", func(s *story) {
			s.shadow("node-1", brupopv2.StagedAndPerformedUpdate, brupopv2.Idle, "1.20.0")
			s.shadow("node-2", brupopv2.StagedAndPerformedUpdate, brupopv2.Idle, "1.20.0")
		}, "2 nodes were in an update at once"},
		{"two nodes cordoned", func(s *story) {
			s.node("node-1", "boot-1", true, false)
			s.node("node-2", "boot-1", true, false)
		}, "2 nodes were unavailable at once"},
		{"two pods of the workload gone", func(s *story) {
			s.pod("web-1", "node-1", true, false)
			s.pod("web-2", "node-2", true, false)
			s.pod("web-1", "node-1", true, true)
			s.pod("web-2", "node-2", true, true)
		}, "only 0 pods of the workload were ready"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStory(1, 2, "node-1", "node-2")
			tt.tell(s)
			r := s.report(&Config{MaxConcurrent: 1}, s.now, s.now)
			if !strings.Contains(strings.Join(r.Violations, "\n"), tt.want) {
				t.Errorf("got violations %q, want one with %q", r.Violations, tt.want)
			}
			if !r.Failure() {
				t.Error("the run counts as good")
			}
		})
	}
}

func TestNodeMustReallyHaveBootedTheOtherSlot(t *testing.T) {
	tests := []struct {
		name string
		tell func(*story)
		want string
	}{
		{"same slot again", func(s *story) { s.boot("node-1", 2, "1.21.0", slot.A) }, "booted slot A again"},
		{"node still reports the old boot", func(s *story) { s.boot("node-1", 2, "1.21.0", slot.B) }, "boot id"},
		{"agent claims what the disk does not hold", func(s *story) {
			s.shadow("node-1", brupopv2.Idle, brupopv2.Idle, "1.21.0")
		}, "it runs 1.20.0"},
		{"not marked successful", func(s *story) {
			s.boot("node-1", 2, "1.21.0", slot.B)
			s.node("node-1", "boot-2", true, true)
			s.shadow("node-1", brupopv2.Idle, brupopv2.Idle, "1.21.0")
		}, "not marked successful"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStory(1, 0, "node-1")
			tt.tell(s)
			if got := s.nodes["node-1"].problem("1.21.0"); !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestFailedNodesSettleTheRoll(t *testing.T) {
	s := newStory(1, 0, "node-1")
	s.shadow("node-1", brupopv2.StagedAndPerformedUpdate, brupopv2.Idle, "1.20.0")
	failed := func(spec, status brupopv2.State) {
		s.shadowEvent(&brupopv2.BottlerocketShadow{
			ObjectMeta: metav1.ObjectMeta{Name: "brs-node-1"},
			Spec:       brupopv2.BottlerocketShadowSpec{State: spec},
			Status: &brupopv2.BottlerocketShadowStatus{
				CurrentState: status, CurrentVersion: "1.20.0", CrashCount: 1, LastError: "target does not match its signed digest",
			},
		}, s.tick())
	}
	failed(brupopv2.StagedAndPerformedUpdate, brupopv2.ErrorReset)
	if s.settled() {
		t.Error("settled while the node is in ErrorReset")
	}
	failed(brupopv2.Idle, brupopv2.Idle)
	if !s.settled() {
		t.Error("not settled although the only node failed and waits")
	}
	r := s.report(&Config{MaxConcurrent: 1}, s.now, s.now)
	if want := "node-1: target does not match its signed digest"; r.Reason != want || r.Failed != 1 {
		t.Errorf("got %q (%d failed), want %q", r.Reason, r.Failed, want)
	}
}

// TestAnAttemptThatNobodySawIsExplained: a watch may begin, or begin again, after a whole failed attempt.
func TestAnAttemptThatNobodySawIsExplained(t *testing.T) {
	s := newStory(1, 0, "node-1")
	s.shadowEvent(&brupopv2.BottlerocketShadow{
		ObjectMeta: metav1.ObjectMeta{Name: "brs-node-1"},
		Spec:       brupopv2.BottlerocketShadowSpec{State: brupopv2.Idle},
		Status: &brupopv2.BottlerocketShadowStatus{
			CurrentState: brupopv2.Idle, CurrentVersion: "1.20.0", CrashCount: 1, LastError: "target does not match its signed digest",
		},
	}, s.tick())
	if !s.settled() {
		t.Error("not settled although the only node failed and waits")
	}
	r := s.report(&Config{MaxConcurrent: 1}, s.now, s.now)
	if want := "node-1: target does not match its signed digest"; r.Reason != want {
		t.Errorf("got %q, want %q", r.Reason, want)
	}
}
