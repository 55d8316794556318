// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleet

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	brupopv2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/lab/machine"
)

// tracker holds what was seen of a roll. Each watch event goes through one of its methods, which
// update the picture of a node and check the promises; it does no I/O, and time comes with the event.
type tracker struct {
	to            string
	maxConcurrent int
	minReady      int // workload pods that the PodDisruptionBudget keeps

	mu             sync.Mutex
	nodes          map[string]*nodeTrack
	pods           map[string]podTrack // by namespace/name
	workloadReady  bool                // the budget counts once the workload was complete
	replicas       int
	maxUnavailable int
	pdbViolations  int
	violations     []string
	changed        chan struct{} // holds one token while somebody should look again
}

// nodeTrack is the picture of one node.
type nodeTrack struct {
	name    string
	machine machine.Boot // the present boot
	first   machine.Boot // the boot the lab began with
	good    bool         // the present boot was marked successful
	command string       // the host's update command that runs
	shadow  *brupopv2.BottlerocketShadow

	ready, seenReady bool
	schedulable      bool
	bootID           string // as the node reports it

	attempts []attempt // one for each time the node left Idle
	early    attempt   // what was seen of an attempt before its BottlerocketShadow showed it
}

// attempt is the clock of one update of one node.
type attempt struct {
	start, cordoned, drained, rebootAsked, back, end time.Time

	staging time.Duration // prepare and activate, as the host measured them
	message string        // the last error seen
}

type podTrack struct {
	node     string
	workload bool
	ready    bool
	ended    bool // all its containers have, and will not be started again
}

func newTracker(nodes []string, to string, maxConcurrent, replicas, budget int) *tracker {
	t := &tracker{
		to: to, maxConcurrent: maxConcurrent, replicas: replicas, minReady: max(replicas-budget, 0),
		workloadReady: replicas == 0,
		nodes:         map[string]*nodeTrack{}, pods: map[string]podTrack{}, changed: make(chan struct{}, 1),
	}
	for _, n := range nodes {
		t.nodes[n] = &nodeTrack{name: n}
	}
	return t
}

// wake tells whoever waits on changed to look again.
func (t *tracker) wake() {
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// machineEvent takes in what a host did.
func (t *tracker) machineEvent(e machine.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.nodes[e.Host]
	if n == nil {
		return
	}
	switch e.Kind {
	case machine.Booted:
		n.machine, n.good, n.command = e.Boot, false, ""
		if n.first.Number == 0 {
			n.first = e.Boot
		}
	case machine.MarkedGood:
		n.good = true
	case machine.CommandStarted:
		n.command = e.Command
		if n.attempt() == nil && e.Command == "prepare" {
			n.early = attempt{start: e.Time}
		}
	case machine.CommandFinished:
		n.command = ""
		if a := n.underWay(); a != nil && (e.Command == "prepare" || e.Command == "activate") {
			a.staging += e.Duration
		}
	case machine.RebootRequested:
		if a := n.underWay(); a != nil {
			a.rebootAsked = e.Time
		}
	}
	t.wake()
}

// attempt returns the running attempt, or nil.
func (n *nodeTrack) attempt() *attempt {
	if len(n.attempts) == 0 || !n.attempts[len(n.attempts)-1].end.IsZero() {
		return nil
	}
	return &n.attempts[len(n.attempts)-1]
}

// underWay returns the running attempt or, before the node's BottlerocketShadow shows one, the one that the host's
// commands tell of; nil without either. A watch can be dark for seconds, as when its kind's definition changes, and a
// host is half-way through its update by then.
func (n *nodeTrack) underWay() *attempt {
	if a := n.attempt(); a != nil || n.early.start.IsZero() {
		return a
	}
	return &n.early
}

// begin starts the clock of an attempt that the BottlerocketShadow shows for the first time: at the moment the controller
// asked for it if the object still says so, else when the host began.
func (n *nodeTrack) begin(now time.Time) {
	a := n.early
	n.early = attempt{}
	var asked time.Time
	if s := n.shadow.Spec; s.State == brupopv2.StagedAndPerformedUpdate && s.StateTransitionTimestamp != nil {
		if at, err := time.Parse(time.RFC3339, *s.StateTransitionTimestamp); err == nil && at.Before(now) {
			asked = at
		}
	}
	switch {
	case a.start.IsZero() || asked.After(a.start): // nothing was seen of this one yet
		a = attempt{start: now}
		if !asked.IsZero() {
			a.start = asked
		}
	case !asked.IsZero():
		a.start = asked
	}
	n.attempts = append(n.attempts, a)
}

// shadowEvent takes in a change of a node's BottlerocketShadow.
func (t *tracker) shadowEvent(s *brupopv2.BottlerocketShadow, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.nodes[strings.TrimPrefix(s.Name, "brs-")]
	if n == nil {
		return
	}
	n.shadow = s
	if n.active() && n.attempt() == nil {
		n.begin(now)
	}
	if a := n.attempt(); a != nil {
		if s.Status != nil && s.Status.LastError != "" {
			a.message = s.Status.LastError
		}
		if !n.active() {
			a.end = now
		}
	}
	active := 0
	for _, other := range t.nodes {
		if other.active() {
			active++
		}
	}
	if active > t.maxConcurrent {
		t.violate("%d nodes were in an update at once, the limit is %d (the last: %s)", active, t.maxConcurrent, n.name)
	}
	t.wake()
}

// shadowGone takes in that a node's BottlerocketShadow was deleted: for the operator, the update that was
// under way never was.
func (t *tracker) shadowGone(name string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.nodes[strings.TrimPrefix(name, "brs-")]
	if n == nil {
		return
	}
	if a := n.attempt(); a != nil {
		a.end = now
	}
	n.shadow = nil
	t.wake()
}

// active reports whether the node is anywhere between the start and the end of an update.
func (n *nodeTrack) active() bool {
	s := n.shadow
	return s != nil && (s.Spec.State != brupopv2.Idle || s.Status != nil && s.Status.CurrentState != brupopv2.Idle)
}

// nodeEvent takes in a change of a Node.
func (t *tracker) nodeEvent(node *corev1.Node, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.nodes[node.Name]
	if n == nil {
		return
	}
	n.schedulable = !node.Spec.Unschedulable
	n.bootID = node.Status.NodeInfo.BootID
	n.ready = slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
	n.seenReady = n.seenReady || n.ready
	if a := n.underWay(); a != nil {
		if !n.schedulable && a.cordoned.IsZero() {
			a.cordoned = now
		}
		if n.ready && !a.rebootAsked.IsZero() && a.back.IsZero() && n.bootID == n.machine.ID && n.bootID != n.first.ID {
			a.back = now
		}
	}
	unavailable := 0
	for _, other := range t.nodes {
		if other.seenReady && (!other.ready || !other.schedulable) {
			unavailable++
		}
	}
	t.maxUnavailable = max(t.maxUnavailable, unavailable)
	if unavailable > t.maxConcurrent {
		t.violate("%d nodes were unavailable at once, the limit is %d (the last: %s)", unavailable, t.maxConcurrent, n.name)
	}
	t.wake()
}

// podEvent takes in a change of a pod; gone is true when it was deleted.
func (t *tracker) podEvent(pod *corev1.Pod, gone bool, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := pod.Namespace + "/" + pod.Name
	ofWorkload := pod.Namespace == workloadNamespace && pod.Labels["app"] == workloadName
	// A drain waits for the end of a pod. Its object can stay longer, until after the reboot if that comes first.
	ended := gone || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	if n := t.nodes[pod.Spec.NodeName]; n != nil && ended && !t.pods[key].ended && !ofDaemonSet(pod) {
		if a := n.underWay(); a != nil && !a.cordoned.IsZero() && a.back.IsZero() {
			a.drained = now
			if !a.rebootAsked.IsZero() { // it was before that, and only the news took longer
				a.drained = a.rebootAsked
			}
		}
	}
	if gone {
		delete(t.pods, key)
	} else {
		t.pods[key] = podTrack{
			node:     pod.Spec.NodeName,
			workload: ofWorkload,
			ready:    podReady(pod),
			ended:    ended,
		}
	}
	t.wake()
	if !ofWorkload {
		return
	}
	ready := 0
	for _, p := range t.pods {
		if p.workload && p.ready {
			ready++
		}
	}
	if ready >= t.replicas {
		t.workloadReady = true
	}
	if t.workloadReady && ready < t.minReady {
		t.pdbViolations++
		t.violate("only %d pods of the workload were ready, its PodDisruptionBudget keeps %d (the last: %s)", ready, t.minReady, pod.Name)
	}
}

func podReady(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func ofDaemonSet(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.OwnerReferences, func(o metav1.OwnerReference) bool { return o.Kind == "DaemonSet" })
}

func (t *tracker) violate(format string, args ...any) {
	if v := fmt.Sprintf(format, args...); !slices.Contains(t.violations, v) {
		t.violations = append(t.violations, v)
	}
}

// problem says why the node does not count as updated; empty when it does.
func (n *nodeTrack) problem(to string) string {
	switch {
	case n.shadow == nil || n.shadow.Status == nil:
		return "its agent never reported"
	case n.lastError() != "" && n.machine.Release.Version != to:
		return n.lastError()
	case n.active():
		return fmt.Sprintf("it is still at %s (reported: %s)", n.shadow.Spec.State, n.shadow.Status.CurrentState)
	case n.machine.Release.Version != to:
		return fmt.Sprintf("it runs %s", n.machine.Release.Version)
	case n.machine.Slot != n.first.Slot.Other():
		return fmt.Sprintf("it booted slot %v again", n.machine.Slot)
	case n.machine.ID == n.first.ID || n.bootID != n.machine.ID:
		return "its node does not report the boot id of the new boot"
	case string(n.shadow.Status.CurrentVersion) != to:
		return fmt.Sprintf("its agent reports version %s", n.shadow.Status.CurrentVersion)
	case !n.good:
		return "the boot was not marked successful"
	case !n.ready:
		return "the node is not Ready"
	case !n.schedulable:
		return "the node is still cordoned"
	default:
		return ""
	}
}

// lastError is why the node's last attempt failed. The object says so itself, also when the attempt was over
// before the watch showed any of it.
func (n *nodeTrack) lastError() string {
	if n.shadow != nil && n.shadow.Status != nil && n.shadow.Status.LastError != "" {
		return n.shadow.Status.LastError
	}
	if len(n.attempts) == 0 {
		return ""
	}
	return n.attempts[len(n.attempts)-1].message
}

// joined reports whether every node has been offered the new version.
func (t *tracker) joined() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.nodes {
		if n.shadow == nil || n.shadow.Status == nil || string(n.shadow.Status.TargetVersion) != t.to {
			return false
		}
	}
	return true
}

// settled reports whether nothing more will happen soon: every node is updated, or none is in an
// update and each of the others has failed and waits for its back-off, which is minutes.
func (t *tracker) settled() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	updated := 0
	for _, n := range t.nodes {
		failed := n.shadow != nil && n.shadow.Status != nil && n.shadow.Status.CrashCount > 0
		switch {
		case n.problem(t.to) == "":
			updated++
		case n.active() || !failed:
			return false
		}
	}
	return true
}

// sorted returns the nodes by name.
func (t *tracker) sorted() []*nodeTrack {
	nodes := make([]*nodeTrack, 0, len(t.nodes))
	for _, n := range t.nodes {
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b *nodeTrack) int { return compareNames(a.name, b.name) })
	return nodes
}

// compareNames orders node-2 before node-10.
func compareNames(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// slotName is how a slot is shown; a machine that never booted has none.
func slotName(b machine.Boot) string {
	if b.Number == 0 {
		return "-"
	}
	return b.Slot.String()
}

// span returns when the first attempt began and when the last one ended.
func (t *tracker) span() (first, last time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.nodes {
		for _, a := range n.attempts {
			if first.IsZero() || a.start.Before(first) {
				first = a.start
			}
			if a.end.After(last) {
				last = a.end
			}
		}
	}
	return first, last
}

// missing says what is not there yet of a settled cluster; empty when nothing is.
func (t *tracker) missing(workload bool) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.sorted() {
		if !n.ready {
			return n.name + " is not Ready"
		}
	}
	if workload && !t.workloadReady {
		return "the workload is not complete"
	}
	return ""
}
