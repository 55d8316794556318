// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drydock-os/drydock/internal/plan"
)

func TestOnlyWhatThePlanSeesWakesTheController(t *testing.T) {
	m, woken := newMirror(), 0
	m.onWake(func() { woken++ })
	expect := func(what string, want int) {
		t.Helper()
		if woken != want {
			t.Errorf("%s: woken %d times, want %d", what, woken, want)
		}
		woken = 0
	}
	n, brs := node("a"), shadow("a")
	brs.ResourceVersion = "5"
	m.nodeShown(n)
	m.shadowShown(brs)
	expect("a new node with its shadow", 2)

	beat := node("a")
	beat.Labels["zone"] = "a"
	m.nodeShown(beat)
	progress := brs.DeepCopy()
	progress.ResourceVersion, progress.Status.Message = "6", "half way"
	m.shadowShown(progress)
	expect("a heartbeat, and progress for people", 0)

	moved := progress.DeepCopy()
	moved.ResourceVersion, moved.Spec.State = "7", "StagedAndPerformedUpdate"
	m.put(moved)
	expect("an own write", 1) // what it leads to has a limit of its own
	m.shadowShown(progress)
	m.shadowShown(moved)
	expect("the watch that catches up with it", 0)
	var s plan.Snapshot
	if known := m.fill(&s); known["a"] != moved || len(s.Shadows) != 1 || s.Shadows[0].Spec.State != plan.StagedAndPerformedUpdate {
		t.Errorf("known %v, seen %+v, want what was written", known, s.Shadows)
	}
	m.nodeGone("a")
	m.shadowGone(moved)
	expect("the end of both", 2)
	if known := m.fill(&s); len(known)+len(s.Nodes)+len(s.Shadows) > 0 {
		t.Errorf("still known: %v, %+v", known, s)
	}
}

func TestShadowsAreInOrder(t *testing.T) {
	m := newMirror()
	for _, name := range []string{"c", "a", "b", "d"} {
		m.shadowShown(shadow(name))
	}
	m.shadowGone(shadow("b"))
	m.put(shadow("bb"))
	var s plan.Snapshot
	m.fill(&s)
	var names []string
	for _, brs := range s.Shadows {
		names = append(names, brs.Node)
	}
	if diff := cmp.Diff([]string{"a", "bb", "c", "d"}, names); diff != "" {
		t.Error(diff)
	}
}

// BenchmarkDecision is what the histogram drydock_decision_seconds measures, on a fleet of which all wait.
func BenchmarkDecision(b *testing.B) {
	m := newMirror()
	for i := range 1000 {
		name := fmt.Sprintf("ip-10-0-%d-%d.eu-west-1.compute.internal", i/250, i%250)
		m.nodeShown(node(name))
		m.shadowShown(shadow(name))
	}
	b.ReportAllocs()
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		s := plan.Snapshot{MaxConcurrent: 25}
		m.fill(&s)
		if d := plan.Next(s, began); len(d.Moves) != 25 {
			b.Fatal(len(d.Moves))
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100])/1e6, "p99-ms")
}
