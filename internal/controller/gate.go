// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"slices"
	"time"

	"github.com/drydock-os/drydock/internal/plan"
	"github.com/drydock-os/drydock/internal/window"
)

// gate tells the plan when nodes may start. A window it reads off the schedule. A run of a one-shot schedule
// begins at each match, and ends when nothing is being updated and nothing waits for a slot or for its turn.
type gate struct {
	schedule *window.Schedule // nil is always open
	// running is whether a run has begun and not ended, known whether that has been looked at yet.
	running, known bool
}

// runGrace is how long after its match a run begins at the latest, and lasts at least: a leader may be found a
// little later, and a shadow be changed.
const runGrace = time.Minute

// at is the window at the time now. On the first look, busy tells whether anything is being updated, which is
// taken as a sign that the leader before was in a run.
func (g *gate) at(now time.Time, busy bool) plan.Window {
	s := g.schedule
	switch {
	case s == nil:
		return plan.Window{}
	case !s.OneShot() && s.Contains(now):
		return plan.Window{Closes: s.Until(now)}
	case !s.OneShot():
		return plan.Window{Closed: true, Opens: s.Next(now)}
	}
	if !g.known {
		g.known, g.running = true, busy
	}
	if begin := s.Next(now.Add(-runGrace)); !begin.IsZero() && !begin.After(now) {
		g.running = true
	}
	if g.running {
		return plan.Window{}
	}
	return plan.Window{Closed: true, Opens: s.Next(now)}
}

// saw learns from a decision whether the run has ended.
func (g *gate) saw(d plan.Decision) {
	waiting := slices.ContainsFunc(d.Waiting, func(w plan.Wait) bool { return w.Reason == plan.NoSlot || w.Reason == plan.OwnNodeLast })
	g.running = g.running && (d.Active > 0 || waiting)
}
