// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package plan

import "time"

// The controller's own node is the last of those that may start. Where others may not start yet because nobody knows
// whether they are offered the same, it would be the first, and the controller would move in the middle of a roll: a
// publication reaches hosts one after the other, and the agents of new nodes report one after the other. So it waits
// for the others to be known. It does not wait for those that are being updated or pause after a failure: its place is
// known, a slot is free, and waiting would only make the roll longer.

// ownNodeWaits is for how long after the offer of its update the own node waits for others at most. Agents look for
// updates every two minutes.
const ownNodeWaits = 5 * time.Minute

// holdOwn is until when the controller's own node, which could start, lets the others go first, and for how many; zero
// if it may start. It never waits for longer than ownNodeWaits, nor beyond the end of the window.
func (f *Snapshot) holdOwn(own *Shadow, shadows map[string]*Shadow, now time.Time) (until time.Time, others int) {
	offered := parseTime(own.Status.OfferedSince)
	if offered.IsZero() || offered.After(now.Add(clockSkew)) {
		return time.Time{}, 0
	}
	until = offered.Add(ownNodeWaits)
	if closes := f.Window.Closes; !now.Before(until) || !closes.IsZero() && !closes.After(until) {
		return time.Time{}, 0
	}
	for i := range f.Nodes {
		node := &f.Nodes[i]
		if node.Name != own.Node && node.OptedIn && !node.NotReady && undecided(shadows[node.Name], own) {
			others++
		}
	}
	if others == 0 {
		return time.Time{}, 0
	}
	return until, others
}

// undecided is whether a Ready node may soon be offered what the own node is, and nobody knows yet.
func undecided(s, own *Shadow) bool {
	if s == nil {
		return true
	}
	st := s.Status
	if s.Spec.State != Idle {
		return false
	}
	return st == nil || st.CurrentState == Idle && st.TargetVersion == st.CurrentVersion && st.CurrentVersion == own.Status.CurrentVersion &&
		st.Check.Error == "" && st.Held.Reason == ""
}
