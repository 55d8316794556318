// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package plan

import "time"

// Timeouts are how long a node may stay in each state that it is asked for; zero is without a limit. What takes
// longer is called off: the spec goes back to Idle, and if the node does not follow within the limit of that,
// it loses its slot. So a node that has gone silent is waited for twice, and then no more.
type Timeouts struct {
	Staged, Rebooted, Monitoring, Idle time.Duration
}

func (t Timeouts) of(s State) time.Duration {
	switch s {
	case StagedAndPerformedUpdate:
		return t.Staged
	case RebootedIntoUpdate:
		return t.Rebooted
	case MonitoringUpdate:
		return t.Monitoring
	default:
		return t.Idle
	}
}

// clockSkew is how far in the future a stored time may be and still count as now.
const clockSkew = time.Minute

// deadline is when the present spec has taken too long; zero without a limit. Not ok means that the spec has
// no time to count from, because somebody wrote it by hand.
func (f *Snapshot) deadline(shadow *Shadow, now time.Time) (due time.Time, ok bool) {
	limit := f.Timeouts.of(shadow.Spec.State)
	if limit <= 0 {
		return time.Time{}, true
	}
	since := parseTime(shadow.Spec.Since)
	if since.IsZero() || since.After(now.Add(clockSkew)) {
		return time.Time{}, false
	}
	return since.Add(limit), true
}

// Busy is whether anything but settled idleness is recorded of the node. A shadow that is asked for nothing and
// has not reported yet is not busy.
func (s Shadow) Busy() bool {
	return s.Spec.State != Idle || s.Status != nil && s.Status.CurrentState != Idle
}

// released is whether the node was asked to become idle, and did not answer in time.
func (f *Snapshot) released(shadow *Shadow, now time.Time) bool {
	due, ok := f.deadline(shadow, now)
	return shadow.Busy() && shadow.Spec.State == Idle && ok && !due.IsZero() && !now.Before(due)
}

// holds is whether a node uses up one of the slots, and whether it does so because it is being updated; node or
// shadow may be nil. A node that never came back from the reboot that it was asked for holds its slot however
// long that takes, and so does one that is cordoned by us, as long as unavailable nodes count.
func (f *Snapshot) holds(node *Node, shadow *Shadow, now time.Time) (holds, active bool) {
	silent := false
	if shadow != nil {
		silent = f.released(shadow, now)
		if shadow.Busy() && !silent {
			return true, true
		}
	}
	if node == nil {
		return false, false
	}
	if shadow != nil && node.NotReady && shadow.TimedOut.Count > 0 && shadow.TimedOut.State != StagedAndPerformedUpdate {
		return true, false
	}
	silent = silent || shadow != nil && shadow.TimedOut.Count > 0
	if node.CordonedByUs && !silent {
		return true, false
	}
	return f.CountUnavailable && node.OptedIn && (node.NotReady || node.Cordoned), false
}

// enforce lets no active node wait without an end: a wait gets its deadline, and becomes a move when that has
// passed, or when there is no time to count from.
func (f *Snapshot) enforce(node *Node, shadow *Shadow, v verdict, now time.Time) verdict {
	if v.start || v.move.Reason != "" || !shadow.Busy() {
		return v
	}
	due, ok := f.deadline(shadow, now)
	switch {
	case !ok && shadow.Spec.State.known():
		return verdict{move: moveTo(shadow, shadow.Spec.State, shadow.Spec.Version, ClockStarted, now)}
	case ok && (due.IsZero() || now.Before(due)):
		v.wait.Deadline = due
		return v
	case !shadow.Spec.State.known(): // nobody acts on it, so nobody has failed
		return verdict{move: moveTo(shadow, Idle, shadow.Spec.Version, SpecRepaired, now)}
	case shadow.Spec.State == Idle:
		detail := "others go on without it"
		if holds, _ := f.holds(node, shadow, now); holds {
			detail = "it counts against the limit until it is Ready and uncordoned"
		}
		if v.wait.Reason == InvalidData {
			detail += "; " + v.wait.Detail
		}
		v.wait.Reason, v.wait.Who, v.wait.Detail = AgentSilent, Administrator, detail
		return v
	}
	m := moveTo(shadow, Idle, shadow.Spec.Version, StateTimedOut, now)
	m.TimedOut = TimedOut{Count: shadow.TimedOut.Count + 1, At: m.Spec.Since, State: shadow.Spec.State}
	if m.TimedOut.Count == 0 { // it was at its maximum
		m.TimedOut.Count--
	}
	m.Detail = timedOutDetail(f.Timeouts, shadow.Spec.State, v.wait)
	return verdict{move: m}
}
