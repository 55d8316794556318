// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package plan

import (
	"strconv"
	"strings"
	"time"
)

// MoveReason is why a node moves; the values are stable and appear in events and logs.
type MoveReason string

// The reasons of moves.
const (
	// UpdateAvailable starts a node: it is offered another version than it runs, and a slot is free.
	UpdateAvailable MoveReason = "UpdateAvailable"
	// UpdateStaged sends a node into its reboot: the image is in place.
	UpdateStaged MoveReason = "UpdateStaged"
	// NodeRebooted puts a node that runs the new version under observation.
	NodeRebooted MoveReason = "NodeRebooted"
	// UpdateVerified ends the observation.
	UpdateVerified MoveReason = "UpdateVerified"
	// UpdateComplete clears the spec of a node that has nothing to do.
	UpdateComplete MoveReason = "UpdateComplete"
	// AttemptFailed calls off the update of a node that reported an error.
	AttemptFailed MoveReason = "AttemptFailed"
	// StateTimedOut calls off the update of a node that took too long.
	StateTimedOut MoveReason = "StateTimedOut"
	// ClockStarted gives a spec, which somebody wrote by hand, a time to count its limit from.
	ClockStarted MoveReason = "ClockStarted"
	// SpecRepaired replaces a spec that must not be.
	SpecRepaired MoveReason = "SpecRepaired"
)

// RemoveReason is why a shadow is deleted; the values are stable.
type RemoveReason string

// The reasons of removals.
const (
	NodeGone     RemoveReason = "NodeGone"
	NodeReplaced RemoveReason = "NodeReplaced"
	NodeOptedOut RemoveReason = "NodeOptedOut"
)

// WaitReason is what a node waits for; the values are stable.
type WaitReason string

// The reasons of waits.
const (
	// UpToDate: the node runs what it is offered.
	UpToDate WaitReason = "UpToDate"
	// CheckFailing: the host cannot look for updates, so nobody knows whether there is one; Detail says why.
	CheckFailing WaitReason = "CheckFailing"
	// WaveNotReached: a version is published, and the turn of the node comes at Until.
	WaveNotReached WaitReason = "WaveNotReached"
	// VersionLocked: a version is published, but the host is locked to another one.
	VersionLocked WaitReason = "VersionLocked"
	// VersionBlocked: a version is published that fell back on this node.
	VersionBlocked WaitReason = "VersionBlocked"
	// HeldBack: a version is published, and the host does not say why it stays.
	HeldBack WaitReason = "HeldBack"
	// NoShadow: the node is opted in, but its agent has not announced itself.
	NoShadow WaitReason = "NoShadow"
	// NoReport: the agent has announced the node, but not yet said in what state it is.
	NoReport WaitReason = "NoReport"
	// InvalidData: the shadow holds something unreadable; Detail says what.
	InvalidData WaitReason = "InvalidData"
	// Staging: the node downloads, verifies and writes the image.
	Staging WaitReason = "Staging"
	// Rebooting: the node is drained and rebooted.
	Rebooting WaitReason = "Rebooting"
	// Checking: the node looks whether the new version does its work.
	Checking WaitReason = "Checking"
	// Finishing: the node has been told that it is done, and has not confirmed it.
	Finishing WaitReason = "Finishing"
	// Recovering: the node cleans up after a failed attempt.
	Recovering WaitReason = "Recovering"
	// BackOff: an attempt failed, and the pause until the next, Until, is not over.
	BackOff WaitReason = "BackOff"
	// AgentSilent: the node was asked to end its update, and does not answer; Detail says whether it still counts.
	AgentSilent WaitReason = "AgentSilent"
	// NodeCordoned: somebody else has cordoned the node, and such nodes are not updated.
	NodeCordoned WaitReason = "NodeCordoned"
	// OutsideWindow: no node may start before Until.
	OutsideWindow WaitReason = "OutsideWindow"
	// NodeNotReady: the node would start or finish if it were Ready; Detail is wants or runs, for the version in question.
	NodeNotReady WaitReason = "NodeNotReady"
	// CordonLeft: the node is idle but still unschedulable by the operator's hand.
	CordonLeft WaitReason = "CordonLeft"
	// NoSlot: as many nodes as allowed are being updated or unavailable.
	NoSlot WaitReason = "NoSlot"
	// OwnNodeLast: the controller runs there, and of Detail others it is not known yet whether they are offered the same.
	OwnNodeLast WaitReason = "OwnNodeLast"
	// StartsDisabled: the limit of concurrent updates is zero.
	StartsDisabled WaitReason = "StartsDisabled"
)

// Actor is who must act for a wait to end; the values are stable.
type Actor string

// The actors.
const (
	NodeAgent     Actor = "NodeAgent"
	OtherNodes    Actor = "OtherNodes"
	Administrator Actor = "Administrator"
	Clock         Actor = "Clock"
	Publisher     Actor = "Publisher"
)

// Wait says why a node does not move.
type Wait struct {
	Node   string
	Reason WaitReason
	Who    Actor
	// Since is when the wait began; zero if that is not recorded.
	Since time.Time
	// Until is when the wait ends by itself; zero if it does not.
	Until time.Time
	// Deadline is when the node is given up on if it is still waiting; zero if it is not.
	Deadline time.Time
	// Version is the version in question; empty if there is none.
	Version string
	// Ahead is how many nodes get a slot before this one, for NoSlot.
	Ahead int
	// Detail adds what Reason cannot say; may be empty.
	Detail string
}

// Sentence says the same for people.
func (w Wait) Sentence() string {
	switch w.Reason {
	case UpToDate:
		return "runs " + w.Version + " and is offered nothing else"
	case CheckFailing:
		s := "cannot look for updates"
		if !w.Since.IsZero() {
			s += " since " + w.Since.UTC().Format(time.RFC3339)
		}
		return s + ": " + w.Detail
	case WaveNotReached:
		if w.Until.IsZero() {
			return "its wave for " + w.Version + " has come; it looks for updates soon"
		}
		return "waits for its wave of " + w.Version + " until " + w.Until.UTC().Format(time.RFC3339)
	case VersionLocked:
		return "is locked to " + w.Detail + " by settings.updates.version-lock; " + w.Version + " is published"
	case VersionBlocked:
		return "refuses " + w.Version + ", which fell back there; 'apiclient update unblock " + w.Version + "' on the host lets it be tried again"
	case HeldBack:
		return "stays, although " + w.Version + " is published: its wave, its version lock or an earlier fall-back keeps it"
	case NoShadow:
		return "no agent has announced this node: is an agent pod running there?"
	case NoReport:
		return "the agent has not reported a status yet"
	case InvalidData:
		return "left alone: " + w.Detail + "; delete its BottlerocketShadow, and the agent makes it anew"
	case Staging:
		return "downloads, verifies and writes " + w.Version
	case Rebooting:
		return "is drained and reboots into " + w.Version
	case Checking:
		return "checks itself after the update to " + w.Version
	case Finishing:
		return "puts an end to its update"
	case Recovering:
		return "cleans up after a failed attempt"
	case BackOff:
		s := "tries " + w.Version + " again after " + w.Until.UTC().Format(time.RFC3339)
		if w.Detail != "" {
			s += "; the last attempt failed: " + w.Detail
		}
		return s
	case NodeNotReady:
		return w.Detail + " " + w.Version + ", but is not Ready"
	case CordonLeft:
		return "its update is over, but it is still cordoned by the operator; its agent is to lift that"
	case NoSlot:
		s := "wants " + w.Version + "; " + w.Detail
		if w.Ahead > 0 {
			s += "; " + several(w.Ahead, "node") + " before it"
		}
		return s
	case OwnNodeLast:
		return "wants " + w.Version + "; the controller runs there, so it waits until " + w.Detail + " more can say whether they are offered it, at most until " +
			w.Until.UTC().Format(time.RFC3339)
	case AgentSilent:
		return "was asked to end its update, and does not answer; " + w.Detail
	case NodeCordoned:
		return "wants " + w.Version + ", but is cordoned by somebody else"
	case OutsideWindow:
		if w.Until.IsZero() {
			return "wants " + w.Version + "; no window for updates opens any more"
		}
		return "wants " + w.Version + "; the next window opens at " + w.Until.UTC().Format(time.RFC3339)
	case StartsDisabled:
		return "wants " + w.Version + "; the limit of concurrent updates is 0, so nothing starts"
	default:
		return string(w.Reason)
	}
}

// describe is the sentence of a move.
func describe(s *Shadow, reason MoveReason, version string) string {
	switch reason {
	case UpdateAvailable:
		return "update from " + s.Status.CurrentVersion + " to " + version + " begins"
	case UpdateStaged:
		return version + " is staged, drain and reboot begin"
	case NodeRebooted:
		return "node runs " + version + ", observation begins"
	case UpdateVerified:
		return "update to " + version + " is complete"
	case ClockStarted:
		return "spec had no usable time; the limit of " + string(s.Spec.State) + " counts from now"
	case AttemptFailed:
		d := "update failed"
		if version != "" { // somebody may have asked for none
			d = "update to " + version + " failed"
		}
		if s.Status.LastError != "" {
			d += ": " + cut(s.Status.LastError)
		}
		return d
	default:
		return "spec had the state " + quote(string(s.Spec.State)) + ", which nobody may ask for"
	}
}

// clip cuts a word from a shadow to what a sentence can bear.
func clip(s string) string { return cutTo(s, 80) }

// cut does the same for a cause that takes a sentence or two.
func cut(s string) string { return cutTo(s, 1024) }

// cutTo cuts a text at a character.
func cutTo(s string, most int) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// quote makes text from a shadow fit for a sentence, however long or strange it is.
func quote(s string) string {
	const most = 80 // bytes
	if len(s) > most {
		return strconv.Quote(s[:most]) + "…"
	}
	return strconv.Quote(s)
}
