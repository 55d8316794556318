// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package plan

import (
	"testing"
	"time"
)

// TestTheLastMoveIsReadOffTheShadow: whoever finds the spec that a move has left knows that move, also when the agent has
// gone on from there.
func TestTheLastMoveIsReadOffTheShadow(t *testing.T) {
	limits := Timeouts{Staged: time.Minute, Rebooted: time.Minute, Monitoring: time.Minute, Idle: time.Minute}
	working := func(s State) Spec { return Spec{State: s, Since: before, Version: "1.21.0"} }
	late := func(s Snapshot) Snapshot { s.Timeouts = limits; return s }
	failed := reports(ErrorReset)
	failed.FailedAt, failed.LastError = before, "no space"
	cleaned := failedAt(before, 1)
	updated := reports(monitoring)
	updated.CurrentVersion = "1.21.0"
	done := *updated
	done.CurrentState = Idle
	at := func(s State) *Status { return reports(s) }
	for name, tt := range map[string]struct {
		s     Snapshot
		later *Status // what the agent reports before anybody looks
	}{
		"start":              {s: one(Spec{State: Idle}, at(Idle)), later: at(staged)},
		"staged":             {s: one(working(staged), at(staged)), later: at(rebooted)},
		"rebooted":           {s: one(working(rebooted), at(rebooted)), later: at(monitoring)},
		"verified":           {s: one(working(monitoring), updated), later: &done},
		"failed":             {s: one(working(rebooted), failed), later: cleaned},
		"staging too long":   {s: late(one(working(staged), at(Idle))), later: at(Idle)},
		"rebooting too long": {s: late(one(working(rebooted), at(staged))), later: at(ErrorReset)},
		"checking too long":  {s: late(one(working(monitoring), at(rebooted))), later: at(Idle)},
		"written by hand":    {s: one(working(ErrorReset), at(Idle)), later: at(Idle)},
	} {
		t.Run(name, func(t *testing.T) {
			d := Next(tt.s, now)
			if len(d.Moves) != 1 {
				t.Fatalf("%+v", d)
			}
			want := d.Moves[0]
			for _, status := range []*Status{tt.s.Shadows[0].Status, tt.later} {
				got, ok := Last(Shadow{Node: "n1", Spec: want.Spec, Status: status, TimedOut: want.TimedOut}, limits)
				if !ok || got.Reason != want.Reason || got.To != want.To || got.Spec != want.Spec || got.From == got.To || got.Detail == "" {
					t.Errorf("with %+v got %+v, want %+v", status, got, want)
				}
			}
		})
	}
	for name, s := range map[string]Shadow{
		"never asked for anything": {Spec: Spec{State: Idle}, Status: reports(Idle)},
		"no report":                {Spec: working(staged)},
		"unknown":                  {Spec: working("Sideways"), Status: reports(Idle)},
	} {
		if m, ok := Last(s, limits); ok {
			t.Errorf("%s: %+v", name, m)
		}
	}
}
