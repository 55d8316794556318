// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/fleetview"
	"github.com/drydock-os/drydock/internal/plan"
)

// Kinds of what comes next for a node.
const (
	nextMove   = "move"
	nextWait   = "wait"
	nextRemove = "remove"
)

// next is what the plan says about one node.
type next struct {
	// Kind is move, wait or remove.
	Kind string `json:"kind"`
	// Reason is a word of package plan, such as NoSlot.
	Reason string `json:"reason"`
	// Who must act for a wait to end, such as NodeAgent.
	Who string `json:"who,omitempty"`
	// To is the state that a move leads to.
	To string `json:"to,omitempty"`
	// Text is a sentence for people.
	Text string `json:"text,omitempty"`
	// Since and Until bound a wait, where that is known.
	Since *time.Time `json:"since,omitempty"`
	Until *time.Time `json:"until,omitempty"`
	// Ahead is how many nodes get a slot before this one, for NoSlot.
	Ahead *int `json:"ahead,omitempty"`
}

// nodeReport is one node as status and node print it; the field names are part of the command line's contract.
type nodeReport struct {
	Name string `json:"name"`
	// State is the last one the node reached, WantedState the one it is asked for.
	State         string     `json:"state,omitempty"`
	WantedState   string     `json:"wantedState,omitempty"`
	Since         *time.Time `json:"since,omitempty"`
	Version       string     `json:"version,omitempty"`
	TargetVersion string     `json:"targetVersion,omitempty"`
	Slot          string     `json:"slot,omitempty"`
	BootID        string     `json:"bootID,omitempty"`
	Ready         bool       `json:"ready"`
	Schedulable   bool       `json:"schedulable"`
	// CordonedByDrydock is whether the cordon will be lifted when the update is done.
	CordonedByDrydock bool `json:"cordonedByDrydock,omitempty"`
	// Failures counts failed attempts since the last completed update, those that took too long included.
	Failures uint32 `json:"failures"`
	FailedAt string `json:"failedAt,omitempty"`
	// Failed is whether a person should look: an attempt failed, or the node's data cannot be read.
	Failed    bool   `json:"failed"`
	LastError string `json:"lastError,omitempty"`
	// Message is what the node says it does.
	Message string `json:"message,omitempty"`
	// Next is absent when the controller's settings cannot be read.
	Next *next `json:"next,omitempty"`
}

// report describes every node that takes part or has a shadow, by name.
func (f *fleet) report(now time.Time) []nodeReport {
	byName := map[string]*nodeReport{}
	get := func(name string) *nodeReport {
		r := byName[name]
		if r == nil {
			r = &nodeReport{Name: name}
			byName[name] = r
		}
		return r
	}
	for i := range f.nodes {
		get(f.nodes[i].Name).takeNode(&f.nodes[i])
	}
	for i := range f.shadows {
		if name := fleetview.NodeName(&f.shadows[i]); name != "" {
			get(name).takeShadow(&f.shadows[i])
		}
	}
	if f.settings.problem == nil {
		f.decide(now, get)
	}
	all := make([]nodeReport, 0, len(byName))
	for _, r := range byName {
		r.Failed = r.Failures > 0 || r.State == string(v2.ErrorReset) || r.Next != nil && r.Next.Reason == string(plan.InvalidData)
		all = append(all, *r)
	}
	slices.SortFunc(all, func(a, b nodeReport) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// decide asks the plan.
func (f *fleet) decide(now time.Time, get func(string) *nodeReport) (plan.Snapshot, plan.Decision) {
	s := f.snapshot(now)
	d := plan.Next(s, now)
	for _, m := range d.Moves {
		get(m.Node).Next = &next{Kind: nextMove, Reason: string(m.Reason), To: string(m.To), Text: m.Detail}
	}
	for _, w := range d.Waiting {
		n := &next{Kind: nextWait, Reason: string(w.Reason), Who: string(w.Who), Text: w.Sentence(), Since: known(w.Since), Until: known(w.Until)}
		if w.Reason == plan.NoSlot {
			n.Ahead = &w.Ahead
		}
		get(w.Node).Next = n
	}
	for _, r := range d.Removals {
		get(r.Node).Next = &next{Kind: nextRemove, Reason: string(r.Reason), Text: removal(r.Reason)}
	}
	return s, d
}

func removal(r plan.RemoveReason) string {
	if r == plan.NodeReplaced {
		return "another node has taken the name: its record is removed"
	}
	return "gone or no longer opted in: its record is removed"
}

func (r *nodeReport) takeNode(node *corev1.Node) {
	n := fleetview.Node(node)
	r.Ready, r.Schedulable, r.CordonedByDrydock = !n.NotReady, !n.Cordoned, n.CordonedByUs
}

func (r *nodeReport) takeShadow(brs *v2.BottlerocketShadow) {
	r.WantedState = string(brs.Spec.State)
	if at, err := time.Parse(time.RFC3339Nano, fleetview.Text(brs.Spec.StateTransitionTimestamp)); err == nil {
		r.Since = known(at)
	}
	r.TargetVersion = fleetview.Text(brs.Spec.Version)
	if st := brs.Status; st != nil {
		r.State, r.Version, r.Slot, r.BootID = string(st.CurrentState), string(st.CurrentVersion), st.Slot, st.BootID
		r.Failures, r.FailedAt, r.LastError = st.CrashCount, fleetview.Text(st.StateTransitionFailureTimestamp), st.LastError
		r.Message = st.Message
		if brs.Spec.State == v2.Idle {
			r.TargetVersion = string(st.TargetVersion)
		}
	}
	r.takeTimedOut(fleetview.Shadow(brs).TimedOut)
}

// takeTimedOut counts the attempts that the controller has called off: the node itself does not know of them.
func (r *nodeReport) takeTimedOut(t plan.TimedOut) {
	if t.Count == 0 {
		return
	}
	r.Failures += min(t.Count, math.MaxUint32-r.Failures)
	at, err := time.Parse(time.RFC3339Nano, t.At)
	if err != nil {
		return
	}
	if before, err := time.Parse(time.RFC3339Nano, r.FailedAt); err != nil || at.After(before) {
		r.FailedAt, r.LastError = t.At, t.Cause()
	}
}

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// doing is the sentence about the node: what it says itself while it is at work or finds no update, and else what
// the plan says. A node that was asked to end its update has said nothing since.
func (r *nodeReport) doing() string {
	if r.Next == nil {
		return cmp.Or(r.Message, r.LastError)
	}
	if fleetview.Stale(v2.State(r.State), v2.State(r.WantedState), r.Message) {
		return r.Next.Text
	}
	switch plan.WaitReason(r.Next.Reason) {
	case plan.Staging, plan.Rebooting, plan.Checking, plan.Recovering, plan.UpToDate:
		return cmp.Or(r.Message, r.Next.Text)
	}
	return r.Next.Text
}

// moving is whether an update of the node is under way.
func (r *nodeReport) moving() bool {
	return r.WantedState != "" && r.WantedState != string(v2.Idle) || r.State != "" && r.State != string(v2.Idle)
}

// upToDate is whether the node runs what it is offered, as far as it knows.
func (r *nodeReport) upToDate() bool {
	return !r.moving() && r.Version != "" && r.Version == r.TargetVersion && !r.needsHelp()
}

// needsHelp is whether what the node waits for is trouble.
func (r *nodeReport) needsHelp() bool { return r.Next != nil && waitColour(r.Next.Reason) == red }

// state is where the node is, and with an arrow where it is on its way to.
func (r *nodeReport) state() string {
	if r.State == r.WantedState || r.State == string(v2.ErrorReset) || r.WantedState == "" {
		return r.State
	}
	return "→ " + r.WantedState
}

func (r *nodeReport) colour() colour {
	switch {
	case r.Failed, r.needsHelp():
		return red
	case r.moving():
		return yellow
	case r.upToDate():
		return green
	}
	return plain
}
