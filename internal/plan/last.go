// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package plan

// Last is the move that made the present spec of a shadow, as far as the shadow tells; not ok if it does not. Whoever was
// to say so may have died in between. The time and the reason are those of the move itself, so that the two can be
// recognized as one; the sentence may be in other words.
func Last(s Shadow, limits Timeouts) (m Move, ok bool) {
	m = Move{Node: s.Node, From: Idle, To: s.Spec.State, Spec: s.Spec, TimedOut: s.TimedOut}
	if s.Spec.Since == "" || s.Status == nil {
		return Move{}, false
	}
	switch s.Spec.State {
	case StagedAndPerformedUpdate:
		m.Reason = UpdateAvailable
	case RebootedIntoUpdate:
		m.From, m.Reason = StagedAndPerformedUpdate, UpdateStaged
	case MonitoringUpdate:
		m.From, m.Reason = RebootedIntoUpdate, NodeRebooted
	case Idle:
		switch {
		case s.TimedOut.Count > 0 && s.TimedOut.At == s.Spec.Since:
			m.From, m.Reason = s.TimedOut.State, StateTimedOut
			m.Detail = timedOutDetail(limits, s.TimedOut.State, Wait{Reason: working(s.TimedOut.State), Version: s.Spec.Version})
			return m, true
		case s.Spec.Version == "":
			m.From, m.Reason = MonitoringUpdate, UpdateVerified
			m.Detail = describe(&s, UpdateVerified, s.Status.CurrentVersion)
			return m, true
		case s.Status.CurrentState == ErrorReset || s.Status.FailedAt != "":
			m.From, m.Reason = "", AttemptFailed
		default: // somebody wrote what was there before by hand
			m.From, m.Reason = "", SpecRepaired
			m.Detail = "spec had a state which nobody may ask for"
			return m, true
		}
	default:
		return Move{}, false
	}
	m.Detail = describe(&s, m.Reason, s.Spec.Version)
	return m, true
}

// timedOutDetail is the sentence of a move that calls off what took too long in that state.
func timedOutDetail(limits Timeouts, s State, w Wait) string {
	return "called off after " + limits.of(s).String() + ": the node " + w.Sentence()
}
