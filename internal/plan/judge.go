// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package plan

import "time"

// verdict is what one node alone calls for: a move, a start if there is a slot, or a wait.
type verdict struct {
	move  Move
	start bool
	wait  Wait
}

// judge looks at one node of the fleet, knowing nothing of the others. The controller writes specs, the
// node's agent does what the spec says and then reports the same state; the controller's rows are:
//
//	row  spec / status               condition                     new spec
//	 4   Idle / Idle                 same versions, a version left Idle, no time, no version
//	 5   Idle / Idle                 other version offered, slot   Staged, time, version offered
//	 7   Staged / Staged                                           Rebooted, time, version kept
//	10   Rebooted / Rebooted                                       Monitoring, time, version kept
//	12   Monitoring / Monitoring     node is Ready                 Idle, time, no version
//	16   not Idle / ErrorReset                                     Idle, time, version kept
//
// In all other rows the agent is to act. The original kept the version in row 12, only to remove it by row 4 right
// after: no agent reads the version of an Idle spec, so one write does for both.
func (f *Snapshot) judge(node *Node, s *Shadow, now time.Time) verdict {
	return f.enforce(node, s, f.judgeState(node, s, now), now)
}

func (f *Snapshot) judgeState(node *Node, s *Shadow, now time.Time) verdict {
	spec, status := s.Spec, s.Status
	since := parseTime(spec.Since)
	waits := func(reason WaitReason, who Actor) verdict {
		return verdict{wait: Wait{Node: s.Node, Reason: reason, Who: who, Since: since, Version: spec.Version}}
	}
	invalid := func(detail string) verdict {
		v := waits(InvalidData, Administrator)
		v.wait.Detail = detail
		return v
	}
	switch {
	case !spec.State.known():
		return invalid("the state of its spec is unknown: " + quote(string(spec.State)))
	case status != nil && !status.CurrentState.known():
		return invalid("the state of its status is unknown: " + quote(string(status.CurrentState)))
	case spec.State == ErrorReset:
		// Somebody wrote what only a node may report; older agents end themselves over it.
		return verdict{move: moveTo(s, Idle, spec.Version, SpecRepaired, now)}
	case status == nil:
		return waits(NoReport, NodeAgent)
	case status.CurrentState == ErrorReset && spec.State != Idle: // row 16
		return verdict{move: moveTo(s, Idle, spec.Version, AttemptFailed, now)}
	case status.CurrentState == ErrorReset: // the agent cleans up and reports Idle
		return waits(Recovering, NodeAgent)
	case status.CurrentState != spec.State: // the agent is at work
		return waits(working(spec.State), NodeAgent)
	}

	switch spec.State {
	case StagedAndPerformedUpdate: // row 7
		if !validVersion(spec.Version) {
			return invalid("it staged an update, but its spec has no usable version: " + quote(spec.Version))
		}
		return verdict{move: moveTo(s, RebootedIntoUpdate, spec.Version, UpdateStaged, now)}
	case RebootedIntoUpdate: // row 10
		return verdict{move: moveTo(s, MonitoringUpdate, spec.Version, NodeRebooted, now)}
	case MonitoringUpdate: // row 12
		if node.NotReady {
			v := waits(NodeNotReady, Administrator)
			v.wait.Detail = "runs"
			return v
		}
		return verdict{move: verified(s, now)}
	default:
		return f.judgeIdle(node, s, now)
	}
}

// judgeIdle looks at a node that is asked for nothing and does nothing.
func (f *Snapshot) judgeIdle(node *Node, s *Shadow, now time.Time) verdict {
	status := s.Status
	wait := Wait{Node: s.Node, Version: status.TargetVersion}
	invalid := func(detail string) verdict {
		wait.Reason, wait.Who, wait.Detail = InvalidData, Administrator, detail
		return verdict{wait: wait}
	}
	switch {
	case !validVersion(status.CurrentVersion):
		return invalid("the version it reports to run is not a semantic version: " + quote(status.CurrentVersion))
	case !validVersion(status.TargetVersion):
		return invalid("the version it reports as target is not a semantic version: " + quote(status.TargetVersion))
	case node.CordonedByUs:
		wait.Reason, wait.Who = CordonLeft, NodeAgent
		return verdict{wait: wait}
	case status.CurrentVersion == status.TargetVersion && node.NotReady && s.TimedOut.Count > 0:
		// It did not come back as it should, and is remembered as such until it has.
		wait.Reason, wait.Who, wait.Detail = NodeNotReady, Administrator, "runs"
		return verdict{wait: wait}
	case status.CurrentVersion == status.TargetVersion && (s.Spec.Version != "" || s.TimedOut.Count > 0): // row 4
		return verdict{move: Move{
			Node: s.Node, From: s.Spec.State, To: Idle, Spec: Spec{State: Idle}, Reason: UpdateComplete,
			Detail: "node runs " + status.CurrentVersion + " and no other version is offered",
		}}
	case status.CurrentVersion == status.TargetVersion:
		return verdict{wait: stays(wait, status, now)}
	}
	if status.FailedAt != "" {
		failed := parseTime(status.FailedAt)
		if failed.IsZero() {
			return invalid("the time of its last failure is not an RFC 3339 time: " + quote(status.FailedAt))
		}
		if failed.After(now.Add(clockSkew)) { // nobody knows for how long to pause
			v := invalid("the time of its last failure is to come, so its clock is wrong or somebody wrote it by hand: " + quote(status.FailedAt))
			v.wait.Until = failed
			return v
		}
		wait.pause(failed, status.CrashCount, status.LastError)
	}
	if s.TimedOut.Count > 0 {
		// A mark that cannot be read, or that is of a time to come, was not written by us, and pauses nothing.
		at := parseTime(s.TimedOut.At)
		if at.After(now.Add(clockSkew)) {
			at = time.Time{}
		}
		wait.pause(at, s.TimedOut.Count, s.TimedOut.Cause())
	}
	if now.Before(wait.Until) {
		wait.Reason, wait.Who = BackOff, Clock
		return verdict{wait: wait}
	}
	wait = Wait{Node: s.Node, Version: status.TargetVersion, Who: Administrator}
	switch {
	case node.NotReady:
		wait.Reason, wait.Detail = NodeNotReady, "wants"
		return verdict{wait: wait}
	case node.Cordoned && !f.UpdateCordoned:
		wait.Reason = NodeCordoned
		return verdict{wait: wait}
	}
	return verdict{start: true} // row 5, once a slot is free
}

// stays says why a node does not move that is offered nothing.
func stays(w Wait, status *Status, now time.Time) Wait {
	check, held := status.Check, status.Held
	if check.Error != "" { // it may be offered something, and not know
		w.Reason, w.Who, w.Since, w.Detail = CheckFailing, Administrator, parseTime(check.FailingSince), cut(check.Error)
		if last := parseTime(check.LastSuccess); !last.IsZero() {
			w.Detail += "; the last look that succeeded was at " + last.UTC().Format(time.RFC3339)
		}
		return w
	}
	if held.Reason == "" {
		w.Reason, w.Who = UpToDate, Publisher
		return w
	}
	w.Version = clip(held.Version)
	switch until := parseTime(held.Until); {
	case held.Reason == "wave" && until.After(now):
		w.Reason, w.Who, w.Until = WaveNotReached, Clock, until
	case held.Reason == "wave": // its turn has come; the host has not looked since
		w.Reason, w.Who = WaveNotReached, NodeAgent
	case held.Reason == "lock":
		w.Reason, w.Who, w.Detail = VersionLocked, Administrator, clip(held.LockedTo)
	case held.Reason == "blocked":
		w.Reason, w.Who = VersionBlocked, Administrator
	default:
		w.Reason, w.Who = HeldBack, Administrator
	}
	return w
}

// pause makes the wait last until the pause after the n-th failure in a row is over, if that is later.
func (w *Wait) pause(failed time.Time, n uint32, cause string) {
	if due := failed.Add(backOff(n)); due.After(w.Until) {
		w.Since, w.Until, w.Detail = failed, due, cut(cause)
	}
}

// verified ends an update, and forgets the attempts before it.
func verified(s *Shadow, now time.Time) Move {
	m := moveTo(s, Idle, "", UpdateVerified, now)
	m.TimedOut = TimedOut{}
	m.Detail = describe(s, UpdateVerified, s.Spec.Version)
	return m
}

func working(wanted State) WaitReason {
	switch wanted {
	case StagedAndPerformedUpdate:
		return Staging
	case RebootedIntoUpdate:
		return Rebooting
	case MonitoringUpdate:
		return Checking
	default:
		return Finishing
	}
}

func moveTo(s *Shadow, to State, version string, reason MoveReason, now time.Time) Move {
	return Move{
		Node: s.Node, From: s.Spec.State, To: to, Reason: reason, TimedOut: s.TimedOut,
		Spec:   Spec{State: to, Since: now.UTC().Format(time.RFC3339Nano), Version: version},
		Detail: describe(s, reason, version),
	}
}

// maxBackOff is the ceiling of the pause after a failure, in whole minutes.
const maxBackOff = 1440

// backOff is the pause after the n-th failure in a row: an attempt may start when more than 2^n whole
// minutes have passed, and in any case when more than maxBackOff have.
func backOff(n uint32) time.Duration {
	minutes := maxBackOff
	if n < 11 { // 2^11 is over the ceiling, and 2^n overflows long before n does
		minutes = 1 << n
	}
	return time.Duration(minutes+1) * time.Minute
}

// parseTime returns the zero time for anything that is not RFC 3339.
func parseTime(s string) time.Time {
	if s == "" { // most often, and an error costs more than a time
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t
}
