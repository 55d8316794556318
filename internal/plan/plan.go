// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package plan decides which node of the fleet moves next, and says for every other node what it waits for.
//
// Next is a pure function of a snapshot and a time: no I/O, no clock, no memory, so a restart changes
// nothing, and whoever prints a plan prints what will be done. Three things hold for every snapshot,
// however odd its data: no start is decided while as many nodes as MaxConcurrent hold a slot, a node that
// is stuck or unreadable keeps only its own slot, and every node has a move or a reason.
package plan

import (
	"cmp"
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
	// Cordoned is whether the node is unschedulable, by whomever. It does not keep the node from
	// starting: an empty node is a good one to update, and its cordon stays when the update is done.
	Cordoned bool
	// CordonedByUs is whether the operator itself made the node unschedulable. Such a node holds a slot
	// whatever its shadow says.
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
}

// Shadow is the update state of one node, as strings as they were stored: nothing in it is trusted.
type Shadow struct {
	Node string
	// OwnerUID is the UID of the node that the shadow was made for; empty if unknown.
	OwnerUID string
	Spec     Spec
	// Status is nil until the agent has reported.
	Status *Status
}

// active is whether the shadow holds a slot: anything but settled idleness does. A shadow that is asked
// for nothing and has not reported yet holds none.
func (s *Shadow) active() bool {
	return s.Spec.State != Idle || s.Status != nil && s.Status.CurrentState != Idle
}

// Snapshot is the fleet at one moment. Names of nodes and of shadows are unique; of two entries with one
// name the later counts.
type Snapshot struct {
	Nodes   []Node
	Shadows []Shadow
	// MaxConcurrent is how many nodes may hold a slot for a further one to start.
	MaxConcurrent Limit
	// OwnNode is the node that the controller runs on; it starts last. Empty if unknown.
	OwnNode string
}

// Move is a change of one node's spec.
type Move struct {
	Node string
	// From is the state that the spec has now, To the one it gets; they are the same when only the
	// other fields change.
	From, To State
	// Spec is the whole spec to write.
	Spec   Spec
	Reason MoveReason
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
	// Slots is how many nodes hold a slot once the moves are made.
	Slots int
	// NextWake is when the decision changes although nothing else does; zero if only events change it.
	NextWake time.Time
}

// Next decides. Carrying out the moves and asking again at the same time yields no further move, except
// after a SpecRepaired, which gives a slot back.
func Next(s Snapshot, now time.Time) Decision {
	nodes := make(map[string]*Node, len(s.Nodes))
	for i := range s.Nodes {
		nodes[s.Nodes[i].Name] = &s.Nodes[i]
	}
	shadows := make(map[string]*Shadow, len(s.Shadows))
	for i := range s.Shadows {
		shadows[s.Shadows[i].Node] = &s.Shadows[i]
	}

	var d Decision
	var candidates []*Shadow
	for name, shadow := range shadows {
		node := nodes[name]
		if shadow.active() || node != nil && node.CordonedByUs {
			d.Slots++
		}
		if reason, gone := orphaned(node, shadow); gone {
			d.Removals = append(d.Removals, Removal{Node: name, Reason: reason})
			continue
		}
		switch v := judge(node, shadow, now); {
		case v.start:
			candidates = append(candidates, shadow)
		case v.move.Reason != "":
			d.Moves = append(d.Moves, v.move)
		default:
			d.Waiting = append(d.Waiting, v.wait)
			if u := v.wait.Until; u.After(now) && (d.NextWake.IsZero() || u.Before(d.NextWake)) {
				d.NextWake = u
			}
		}
	}
	for name, node := range nodes {
		if !node.OptedIn || shadows[name] != nil {
			continue
		}
		if node.CordonedByUs {
			d.Slots++
		}
		d.Waiting = append(d.Waiting, Wait{Node: name, Reason: NoShadow, Who: NodeAgent})
	}

	d.start(candidates, s, now)
	slices.SortFunc(d.Moves, func(a, b Move) int { return strings.Compare(a.Node, b.Node) })
	slices.SortFunc(d.Waiting, func(a, b Wait) int { return strings.Compare(a.Node, b.Node) })
	slices.SortFunc(d.Removals, func(a, b Removal) int { return strings.Compare(a.Node, b.Node) })
	return d
}

// start gives the free slots to the candidates: those that failed less first, then by name, and the
// controller's own node after all others, since moving it moves the controller.
func (d *Decision) start(candidates []*Shadow, s Snapshot, now time.Time) {
	slices.SortFunc(candidates, func(a, b *Shadow) int {
		return cmp.Or(
			cmp.Compare(rank(a.Node == s.OwnNode), rank(b.Node == s.OwnNode)),
			cmp.Compare(a.Status.CrashCount, b.Status.CrashCount),
			strings.Compare(a.Node, b.Node),
		)
	})
	ahead := 0
	for _, c := range candidates {
		if Limit(d.Slots) < s.MaxConcurrent {
			d.Slots++
			d.Moves = append(d.Moves, moveTo(c, StagedAndPerformedUpdate, c.Status.TargetVersion, UpdateAvailable, now))
			continue
		}
		w := Wait{Node: c.Node, Reason: NoSlot, Who: OtherNodes, Version: c.Status.TargetVersion, Ahead: ahead}
		ahead++
		if s.MaxConcurrent <= 0 {
			w.Reason, w.Who = StartsDisabled, Administrator
		}
		d.Waiting = append(d.Waiting, w)
	}
}

func rank(last bool) int {
	if last {
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
