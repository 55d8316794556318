// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package plan

import (
	"strings"
	"testing"
	"time"
)

// TestTheOwnNodeWaitsForThoseThatAreNotKnownYet: it alone could start, and must not be the first; but it must start.
func TestTheOwnNodeWaitsForThoseThatAreNotKnownYet(t *testing.T) {
	idle := Spec{State: Idle}
	same := func(change func(*Status)) *Status {
		st := reports(Idle)
		st.TargetVersion = st.CurrentVersion
		if change != nil {
			change(st)
		}
		return st
	}
	shadow := func(spec Spec, st *Status) func(*Snapshot) {
		return func(s *Snapshot) { s.Shadows = append(s.Shadows, Shadow{Node: "other", Spec: spec, Status: st}) }
	}
	offered := func(ago time.Duration) string { return now.Add(-ago).Format(time.RFC3339) }
	for name, tt := range map[string]struct {
		change  func(*Snapshot)
		offered string
		waits   bool
	}{
		"the other has not announced itself": {waits: true},
		"nor will it, as it is not Ready":    {change: func(s *Snapshot) { s.Nodes[1].NotReady = true }},
		"it is not one of ours":              {change: func(s *Snapshot) { s.Nodes[1].OptedIn = false }},
		"it has not reported":                {change: shadow(idle, nil), waits: true},
		"it has not looked since":            {change: shadow(idle, same(nil)), waits: true},
		"it cannot look":                     {change: shadow(idle, same(func(st *Status) { st.Check.Error = "no route" }))},
		"its wave comes later":               {change: shadow(idle, same(func(st *Status) { st.Held = Held{Version: "1.21.0", Reason: "wave"} }))},
		"it runs what is offered":            {change: shadow(idle, same(func(st *Status) { st.CurrentVersion, st.TargetVersion = "1.21.0", "1.21.0" }))},
		"it runs something else":             {change: shadow(idle, same(func(st *Status) { st.CurrentVersion, st.TargetVersion = "1.9.9", "1.9.9" }))},
		"it pauses after a failure":          {change: shadow(idle, failedAt(before, 1))},
		"it is being updated":                {change: shadow(Spec{State: staged, Since: before, Version: "1.21.0"}, reports(Idle))},
		"it lost its report meanwhile":       {change: shadow(Spec{State: staged, Since: before, Version: "1.21.0"}, nil)},
		"almost too long":                    {offered: offered(ownNodeWaits - time.Second), waits: true},
		"too long":                           {offered: offered(ownNodeWaits)},
		"nobody knows since when":            {offered: "soon"},
		"since a time to come":               {offered: offered(-2 * clockSkew)},
		"the window closes before":           {change: func(s *Snapshot) { s.Window.Closes = now.Add(time.Minute) }},
		"the window closes later":            {change: func(s *Snapshot) { s.Window.Closes = now.Add(time.Hour) }, waits: true},
		"another node is the controller's":   {change: func(s *Snapshot) { s.OwnNode = "other" }},
	} {
		t.Run(name, func(t *testing.T) {
			st := reports(Idle)
			st.OfferedSince = offered(time.Minute)
			if tt.offered != "" {
				st.OfferedSince = tt.offered
			}
			s := Snapshot{
				Nodes:         []Node{{Name: "own", OptedIn: true}, {Name: "other", OptedIn: true}},
				Shadows:       []Shadow{{Node: "own", Spec: idle, Status: st}},
				MaxConcurrent: 3, OwnNode: "own",
			}
			if tt.change != nil {
				tt.change(&s)
			}
			d := Next(s, now)
			var wait *Wait
			for i := range d.Waiting {
				if d.Waiting[i].Node == "own" {
					wait = &d.Waiting[i]
				}
			}
			if !tt.waits {
				if wait != nil {
					t.Errorf("the own node waits: %+v, want it to start", *wait)
				}
				return
			}
			if wait == nil || wait.Reason != OwnNodeLast || wait.Who != OtherNodes || !strings.Contains(wait.Sentence(), "1 node more") {
				t.Fatalf("decision %+v, want the own node to wait", d)
			}
			if !d.NextWake.Equal(wait.Until) || d.Slots != 0 {
				t.Errorf("looks again at %v with %d slots used, want at %v with none", d.NextWake, d.Slots, wait.Until)
			}
			if d := Next(s, wait.Until); len(d.Moves) != 1 || d.Moves[0].Node != "own" {
				t.Errorf("at the end of its wait: %+v, want it to start", d)
			}
		})
	}
}

// TestTheOwnNodeTakesNoOthersSlot: among nodes that may start it is the last, and as before waits for a slot.
func TestTheOwnNodeTakesNoOthersSlot(t *testing.T) {
	s := Snapshot{OwnNode: "a", MaxConcurrent: 1}
	for _, name := range []string{"a", "b", "c"} {
		st := reports(Idle)
		st.OfferedSince = nowTS
		s.Nodes = append(s.Nodes, Node{Name: name, OptedIn: true})
		s.Shadows = append(s.Shadows, Shadow{Node: name, Spec: Spec{State: Idle}, Status: st})
	}
	s.Nodes = append(s.Nodes, Node{Name: "joins", OptedIn: true})
	d := Next(s, now)
	if len(d.Moves) != 1 || d.Moves[0].Node != "b" || d.Waiting[0].Node != "a" || d.Waiting[0].Reason != NoSlot || d.Waiting[0].Ahead != 1 {
		t.Errorf("limit 1: %+v", d)
	}
	s.MaxConcurrent = 3
	if d = Next(s, now); len(d.Moves) != 2 || d.Waiting[0].Reason != OwnNodeLast {
		t.Errorf("limit 3: %+v, want all but the own node to start", d)
	}
}
