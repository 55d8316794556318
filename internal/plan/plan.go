// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package plan decides which node of the fleet moves next, and says for every other node what it waits for.
//
// Next is a pure function of a snapshot and a time: no I/O, no clock, no memory, so a restart changes
// nothing, and whoever prints a plan prints what will be done. Four things hold for every snapshot,
// however odd its data: no start is decided outside of the window or while as many nodes as MaxConcurrent
// hold a slot, a node that is stuck or unreadable keeps only its own slot, it keeps that no longer than the
// limit of its state, and every node has a move or a reason.
package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// State is a step of a node's update, spelled as in the BottlerocketShadow.
type State string

// The states in the order in which a successful update passes them. ErrorReset is only ever reported by a
// node; Next never asks for it.
const (
	Idle                     State = "Idle"
	StagedAndPerformedUpdate State = "StagedAndPerformedUpdate"
	RebootedIntoUpdate       State = "RebootedIntoUpdate"
	MonitoringUpdate         State = "MonitoringUpdate"
	ErrorReset               State = "ErrorReset"
)

func (s State) known() bool {
	switch s {
	case Idle, StagedAndPerformedUpdate, RebootedIntoUpdate, MonitoringUpdate, ErrorReset:
		return true
	}
	return false
}

// Node is what the plan needs to know about a Kubernetes node.
type Node struct {
	Name string
	// UID tells a node from a later one of the same name; empty if unknown.
	UID string
	// OptedIn is whether the node carries the label that puts it under the operator's care.
	OptedIn bool
	// NotReady is whether the node's Ready condition is there and is not True.
	NotReady bool
	// Cordoned is whether the node is unschedulable, by whomever.
	Cordoned bool
	// CordonedByUs is whether the operator itself made the node unschedulable.
	CordonedByUs bool
}

// Spec is what the controller asks of a node.
type Spec struct {
	State State
	// Since is when State was last changed, RFC 3339; empty for never.
	Since string
	// Version is the version to update to; empty for none.
	Version string
}

// Status is what a node's agent reported.
type Status struct {
	CurrentVersion string
	TargetVersion  string
	CurrentState   State
	// CrashCount counts failed attempts since the last completed update.
	CrashCount uint32
	// FailedAt is when the last attempt failed, RFC 3339; empty for never.
	FailedAt string
	// LastError is the cause of that failure, for people.
	LastError string
	// OfferedSince is since when the node has been offered another version than it runs, RFC 3339; empty if unknown.
	OfferedSince string
	// Check is how the host's looks for updates go; zero if they go well, or nothing is known.
	Check Check
	// Held is what the host does not move to for now; zero if nothing is.
	Held Held
}

// Check says why a host cannot look for updates. Times are RFC 3339; empty if unknown.
type Check struct {
	Error        string
	FailingSince string
	LastSuccess  string
}

// Held is an update that is published, and what keeps a host from it: "wave" until Until (RFC 3339), "lock" by which it
// is locked to LockedTo, "blocked" since it fell back there; another word if the host does not say.
type Held struct {
	Version  string
	Reason   string
	Until    string
	LockedTo string
}

// Shadow is the update state of one node, as strings as they were stored: nothing in it is trusted.
type Shadow struct {
	Node string
	// OwnerUID is the UID of the node that the shadow was made for; empty if unknown.
	OwnerUID string
	Spec     Spec
	// Status is nil until the agent has reported.
	Status *Status
	// TimedOut remembers attempts that were called off; zero if there was none since the last update.
	TimedOut TimedOut
}

// TimedOut is what is kept of attempts that the controller called off because a state took too long. The node
// itself knows nothing of them, so its crash count does not have them.
type TimedOut struct {
	// Count is how many there were in a row.
	Count uint32
	// At is when the last was called off, RFC 3339.
	At string
	// State is what the node was asked for then.
	State State
}

// Cause says for people why the last of these attempts was called off.
func (t TimedOut) Cause() string { return "no answer in time in the state " + string(t.State) }

// Snapshot is the fleet at one moment. Names of nodes and of shadows are unique; of two entries with one
// name the later counts.
type Snapshot struct {
	Nodes   []Node
	Shadows []Shadow
	// MaxConcurrent is how many nodes may hold a slot, and with CountUnavailable be unavailable.
	MaxConcurrent Limit
	// CountUnavailable is whether nodes that are not Ready or are cordoned hold a slot too, by whatever
	// cause.
	CountUnavailable bool
	// UpdateCordoned is whether a node that somebody else has cordoned may start. Its cordon stays.
	UpdateCordoned bool
	// Window is when nodes may start.
	Window Window
	// Timeouts bound the states.
	Timeouts Timeouts
	// OwnNode is the node that the controller runs on; it starts last. Empty if unknown.
	OwnNode string
}

// Window is when nodes may start. The zero Window is always open.
type Window struct {
	// Closed is whether no node may start now.
	Closed bool
	// Opens is when that ends; zero if it is open, or never opens.
	Opens time.Time
	// Closes is when an open window ends; zero if that is not known.
	Closes time.Time
}

// Move is a change of one node's spec.
type Move struct {
	Node string
	// From is the state that the spec has now, To the one it gets; they are the same when only the
	// other fields change.
	From, To State
	// Spec is the whole spec to write.
	Spec Spec
	// TimedOut is to be stored in place of that of the shadow.
	TimedOut TimedOut
	Reason   MoveReason
	// Detail is a sentence for people.
	Detail string
}

// Removal is a shadow to be deleted.
type Removal struct {
	Node   string
	Reason RemoveReason
}

// Decision is what to do now and why the rest waits. Each opted-in node and each shadow is named in exactly
// one of Moves, Waiting and Removals; all three are sorted by node name.
type Decision struct {
	Moves    []Move
	Waiting  []Wait
	Removals []Removal
	// Slots is how many nodes hold a slot once the moves are made, Limit how many may.
	Slots int
	Limit Limit
	// Active is how many of those are being updated once the moves are made; the others are unavailable.
	Active int
	// Window is that of the snapshot.
	Window Window
	// NextWake is when the decision changes although nothing else does; zero if only events change it.
	NextWake time.Time
}

// Next decides. Carrying out the moves and asking again at the same time yields no further move, except after
// a SpecRepaired or StateTimedOut, which may give a slot back.
func Next(s Snapshot, now time.Time) Decision {
	nodes := make(map[string]*Node, len(s.Nodes))
	for i := range s.Nodes {
		nodes[s.Nodes[i].Name] = &s.Nodes[i]
	}
	shadows := make(map[string]*Shadow, len(s.Shadows))
	for i := range s.Shadows {
		shadows[s.Shadows[i].Node] = &s.Shadows[i]
	}

	d := Decision{Limit: s.MaxConcurrent.of(s.Nodes), Window: s.Window, Waiting: make([]Wait, 0, len(nodes))}
	var candidates []candidate
	for i := range s.Shadows { // in their order: what is sorted already is sorted fast in the end
		shadow := &s.Shadows[i]
		name := shadow.Node
		if shadows[name] != shadow {
			continue
		}
		node := nodes[name]
		holds, active := s.holds(node, shadow, now)
		d.Slots += count(holds)
		d.Active += count(active)
		if reason, gone := orphaned(node, shadow); gone {
			d.Removals = append(d.Removals, Removal{Node: name, Reason: reason})
			continue
		}
		switch v := s.judge(node, shadow, now); {
		case v.start:
			candidates = append(candidates, candidate{shadow, holds})
		case v.move.Reason != "":
			d.Moves = append(d.Moves, v.move)
		default:
			d.Waiting = append(d.Waiting, v.wait)
			d.wake(v.wait.Until, now)
			d.wake(v.wait.Deadline, now)
		}
	}
	for name, node := range nodes {
		if !node.OptedIn || shadows[name] != nil {
			continue
		}
		holds, _ := s.holds(node, nil, now)
		d.Slots += count(holds)
		d.Waiting = append(d.Waiting, Wait{Node: name, Reason: NoShadow, Who: NodeAgent})
	}

	d.start(candidates, s, shadows, now)
	slices.SortFunc(d.Moves, func(a, b Move) int { return strings.Compare(a.Node, b.Node) })
	slices.SortFunc(d.Waiting, func(a, b Wait) int { return strings.Compare(a.Node, b.Node) })
	slices.SortFunc(d.Removals, func(a, b Removal) int { return strings.Compare(a.Node, b.Node) })
	return d
}

// wake asks for another look at t, unless one comes sooner.
func (d *Decision) wake(t, now time.Time) {
	if t.After(now) && (d.NextWake.IsZero() || t.Before(d.NextWake)) {
		d.NextWake = t
	}
}

// candidate is a node that starts once it may; it may hold a slot already, being unavailable.
type candidate struct {
	*Shadow
	holds bool
}

// start gives the free slots to the candidates: those that failed less first, then by name, and the
// controller's own node after all others, since moving it moves the controller.
func (d *Decision) start(candidates []candidate, s Snapshot, shadows map[string]*Shadow, now time.Time) {
	failures := func(c candidate) uint64 { return uint64(c.Status.CrashCount) + uint64(c.TimedOut.Count) }
	slices.SortFunc(candidates, func(a, b candidate) int {
		return cmp.Or(
			cmp.Compare(count(a.Node == s.OwnNode), count(b.Node == s.OwnNode)),
			cmp.Compare(failures(a), failures(b)),
			strings.Compare(a.Node, b.Node),
		)
	})
	ahead := 0
	for _, c := range candidates {
		free := !s.Window.Closed && Limit(d.Slots-count(c.holds)) < d.Limit
		if free && c.Node == s.OwnNode {
			if until, others := s.holdOwn(c.Shadow, shadows, now); others > 0 {
				d.Waiting = append(d.Waiting, Wait{
					Node: c.Node, Reason: OwnNodeLast, Who: OtherNodes, Version: c.Status.TargetVersion, Until: until, Detail: several(others, "node"),
				})
				d.wake(until, now)
				continue
			}
		}
		if free {
			d.Slots += count(!c.holds)
			d.Active++
			d.Moves = append(d.Moves, moveTo(c.Shadow, StagedAndPerformedUpdate, c.Status.TargetVersion, UpdateAvailable, now))
			continue
		}
		w := Wait{Node: c.Node, Reason: NoSlot, Who: OtherNodes, Version: c.Status.TargetVersion, Ahead: ahead}
		ahead++
		switch {
		case d.Limit <= 0:
			w.Reason, w.Who = StartsDisabled, Administrator
		case s.Window.Closed:
			w.Reason, w.Who, w.Until = OutsideWindow, Clock, s.Window.Opens
			d.wake(s.Window.Opens, now)
		default:
			d.wake(s.Window.Closes, now)
		}
		d.Waiting = append(d.Waiting, w)
	}
	taken := d.taken()
	for i := range d.Waiting {
		if d.Waiting[i].Reason == NoSlot {
			d.Waiting[i].Detail = taken
		}
	}
}

// taken says for people by what the slots are taken.
func (d *Decision) taken() string {
	var by []string
	if d.Active > 0 {
		by = append(by, several(d.Active, "update"))
	}
	if n := d.Slots - d.Active; n > 0 {
		by = append(by, several(n, "unavailable node"))
	}
	return fmt.Sprintf("the limit of %v is taken by %s", d.Limit, strings.Join(by, " and "))
}

func several(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// orphaned is whether the shadow's node is gone, replaced or no longer under the operator's care.
func orphaned(node *Node, shadow *Shadow) (RemoveReason, bool) {
	switch {
	case node == nil:
		return NodeGone, true
	case node.UID != "" && shadow.OwnerUID != "" && node.UID != shadow.OwnerUID:
		return NodeReplaced, true
	case !node.OptedIn:
		return NodeOptedOut, true
	}
	return "", false
}
