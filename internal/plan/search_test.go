// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package plan

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// model is one node with its shadow, small enough to visit every combination: it runs and is offered one
// of two versions, and its last failure is either nowhere or recent.
type model struct {
	spec, status uint8 // index into modelStates; status 0 is none
	versioned    bool  // whether the spec names a version
	updated      bool  // whether the node runs what it is offered
	failed       bool  // whether a failure is recent enough for a pause
	notReady     bool
}

var modelStates = [...]State{"", Idle, staged, rebooted, monitoring, ErrorReset}

const idleState, stagedState, rebootedState, monitoringState, errorState = 1, 2, 3, 4, 5

// fleet is up to three nodes; comparable, so that a map can remember which were seen.
type fleet [3]model

func (f fleet) snapshot(n int, limit Limit) Snapshot {
	s := Snapshot{MaxConcurrent: limit, OwnNode: "n0"}
	for i, m := range f[:n] {
		name := fmt.Sprintf("n%d", i)
		s.Nodes = append(s.Nodes, Node{Name: name, OptedIn: true, NotReady: m.notReady})
		shadow := Shadow{Node: name, Spec: Spec{State: modelStates[m.spec]}}
		if m.spec != idleState || m.versioned {
			shadow.Spec.Since = before
		}
		if m.versioned {
			shadow.Spec.Version = "1.21.0"
		}
		if m.status != 0 {
			st := reports(modelStates[m.status])
			if m.updated {
				st.CurrentVersion = st.TargetVersion
			}
			if m.failed {
				st.FailedAt, st.CrashCount = before, 3
			}
			shadow.Status = st
		}
		s.Shadows = append(s.Shadows, shadow)
	}
	return s
}

// apply is what the controller's write of a move does to the model.
func (f fleet) apply(m Move) fleet {
	node := &f[m.Node[1]-'0']
	for i, s := range modelStates {
		if s == m.To {
			node.spec = uint8(i)
		}
	}
	node.versioned = m.Spec.Version != ""
	return f
}

// goodAgent is what an agent does that meets no trouble.
func goodAgent(m model) model {
	switch {
	case m.status == 0:
		m.status = idleState
	case m.status == errorState && m.spec == idleState:
		m.status = idleState
	case m.status != errorState && m.spec != errorState && m.status != m.spec:
		if m.spec == rebootedState {
			m.updated = true
		}
		if m.status == monitoringState {
			m.failed = false
		}
		m.status = m.spec
	}
	m.notReady = false
	return m
}

// legal is all that an agent which keeps the contract may do next: nothing bad, fail, or lose readiness.
func legal(m model) []model {
	next := []model{goodAgent(m)}
	if m.status != 0 && m.spec != m.status && m.status != errorState {
		bad := m
		bad.status, bad.failed = errorState, true
		next = append(next, bad)
	}
	lost := m
	lost.notReady = true
	pauseOver := m
	pauseOver.failed = false
	return append(next, lost, pauseOver)
}

// anything is all that agents, people and corruption may do next, whatever the contract says.
func anything(m model) []model {
	var next []model
	for state := range uint8(len(modelStates)) {
		n := m
		n.status = state
		next = append(next, n)
		if state != 0 {
			n = m
			n.spec = state
			next = append(next, n)
		}
	}
	for _, flip := range []func(*model){
		func(m *model) { m.versioned = !m.versioned },
		func(m *model) { m.updated = !m.updated },
		func(m *model) { m.failed = !m.failed },
		func(m *model) { m.notReady = !m.notReady },
	} {
		n := m
		flip(&n)
		next = append(next, n)
	}
	return next
}

// holds counts the slots in use, by the rule and not by the plan's own code.
func (f fleet) holds(n int) int {
	slots := 0
	for _, m := range f[:n] {
		if m.spec != idleState || m.status > idleState {
			slots++
		}
	}
	return slots
}

// TestEveryReachableFleet visits each fleet that controller and agents can reach together, and holds the
// decision in each to the promises of the package.
func TestEveryReachableFleet(t *testing.T) {
	tests := []struct {
		name  string
		nodes int
		limit Limit
		agent func(model) []model
		legal bool
	}{
		{"three nodes keep the contract, one at a time", 3, 1, legal, true},
		{"three nodes keep the contract, two at a time", 3, 2, legal, true},
		{"two nodes do anything, one at a time", 2, 1, anything, false},
		{"one node does anything, starts disabled", 1, 0, anything, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var first fleet
			for i := range first {
				first[i] = model{spec: idleState}
			}
			seen := map[fleet]bool{first: true}
			settles := map[fleet]bool{}
			queue := []fleet{first}
			visit := func(f fleet) {
				if !seen[f] {
					seen[f] = true
					queue = append(queue, f)
				}
			}
			for len(queue) > 0 {
				f := queue[0]
				queue = queue[1:]
				d := Next(f.snapshot(tt.nodes, tt.limit), now)
				checkDecision(t, f, d, tt.nodes, tt.limit)
				if tt.legal {
					if held := f.holds(tt.nodes); Limit(held) > tt.limit {
						t.Fatalf("%d nodes hold a slot, limit %d: %+v", held, tt.limit, f)
					}
					checkProgress(t, f, tt.nodes, tt.limit, settles)
				}
				// The controller may die between any two writes, so every subset of the moves may happen.
				for subset := range 1 << len(d.Moves) {
					g := f
					for i, m := range d.Moves {
						if subset&(1<<i) != 0 {
							g = g.apply(m)
						}
					}
					visit(g)
				}
				for i := range tt.nodes {
					for _, m := range tt.agent(f[i]) {
						g := f
						g[i] = m
						visit(g)
					}
				}
				if t.Failed() {
					return
				}
			}
			t.Logf("%d fleets", len(seen))
		})
	}
}

// checkDecision holds one decision to what must be true of each.
func checkDecision(t *testing.T, f fleet, d Decision, n int, limit Limit) {
	t.Helper()
	named := map[string]int{}
	starts := 0
	after := f
	for _, m := range d.Moves {
		named[m.Node]++
		after = after.apply(m)
		if m.Spec.State == ErrorReset {
			t.Errorf("%+v: the spec of %s becomes ErrorReset", f, m.Node)
		}
		if m.Reason == UpdateAvailable {
			starts++
			if f[m.Node[1]-'0'].updated {
				t.Errorf("%+v: %s starts towards the version it runs", f, m.Node)
			}
		}
	}
	if held := f.holds(n); starts > 0 && Limit(held+starts) > limit {
		t.Errorf("%+v: %d nodes hold a slot and %d start, limit %v", f, held, starts, limit)
	}
	for _, w := range d.Waiting {
		named[w.Node]++
		if w.Reason == "" || w.Who == "" || w.Sentence() == "" {
			t.Errorf("%+v: a wait without reason, actor or sentence: %+v", f, w)
		}
	}
	if len(named) != n || len(d.Moves)+len(d.Waiting) != n {
		t.Errorf("%+v: %d moves and %d waits name %d nodes, want each of the %d once", f, len(d.Moves), len(d.Waiting), len(named), n)
	}
	// A repair gives its slot back, which somebody may take; nothing else makes room for a further move.
	repaired := slices.ContainsFunc(d.Moves, func(m Move) bool { return m.Reason == SpecRepaired })
	if len(d.Moves) > 0 && !repaired {
		if again := Next(after.snapshot(n, limit), now); len(again.Moves) != 0 {
			t.Errorf("%+v: having moved %+v it wants to move %+v at once", f, d.Moves, again.Moves)
		}
	}
}

// checkProgress lets all trouble end and the pauses pass: every node must then arrive at the new version. The
// way there is remembered in settles, since many ways lead through the same fleets.
func checkProgress(t *testing.T, start fleet, n int, limit Limit, settles map[fleet]bool) {
	t.Helper()
	later := now.Add(48 * time.Hour)
	const enough = 40 // rounds; three updates one after the other take fewer
	f := start
	var way []fleet
	for range enough {
		way = append(way, f)
		d := Next(f.snapshot(n, limit), later)
		for _, m := range d.Moves {
			f = f.apply(m)
		}
		settled := len(d.Moves) == 0
		for i := range n {
			m := goodAgent(f[i])
			settled = settled && m == f[i] && m.updated
			f[i] = m
		}
		if settled || settles[f] {
			for _, passed := range way {
				settles[passed] = true
			}
			return
		}
	}
	t.Errorf("%+v: not settled after %d rounds", start, enough)
}
