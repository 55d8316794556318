// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package plan

import (
	"regexp"
	"testing"
)

// schemaPattern is the pattern of all versions in the CustomResourceDefinition, from semver.org.
var schemaPattern = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$`)

// FuzzValidVersion holds the hand-written check to the pattern of the schema.
func FuzzValidVersion(f *testing.F) {
	for _, s := range []string{
		"1.20.0", "0.0.0", "01.2.3", "1.2", "1.2.3.4", "v1.2.3", "1.2.3-rc.1", "1.2.3-01", "1.2.3-0a", "1.2.3--", "1.2.3-",
		"1.2.3+", "1.2.3+001", "1.2.3-a+b-c.d", "1.2.3+a+b", "99999999999999999999999.0.0", "", "..", "1..3", "1.2.3-a..b", "1.2.3\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if want := schemaPattern.MatchString(s) && len(s) <= maxVersion; validVersion(s) != want {
			t.Errorf("validVersion(%q) = %v, the schema says %v", s, !want, want)
		}
	})
}

// FuzzNext holds the plan to taking any stored text without harm.
func FuzzNext(f *testing.F) {
	f.Add("Idle", "", "", "Idle", "1.20.0", "1.21.0", uint32(0), "")
	f.Add("StagedAndPerformedUpdate", "2026-01-01T00:00:00Z", "1.21.0", "ErrorReset", "", "x", uint32(64), "9999-12-31T23:59:59Z")
	f.Fuzz(func(t *testing.T, state, since, version, current, running, target string, crashes uint32, failed string) {
		s := one(Spec{State(state), since, version}, &Status{
			CurrentVersion: running, TargetVersion: target, CurrentState: State(current), CrashCount: crashes, FailedAt: failed,
			Check: Check{Error: version, FailingSince: failed, LastSuccess: since}, Held: Held{Version: target, Reason: version, Until: since, LockedTo: failed},
		})
		s.Timeouts, s.CountUnavailable = limits, true
		s.Shadows[0].TimedOut = TimedOut{Count: crashes, At: failed, State: State(current)}
		d := Next(s, now)
		if len(d.Moves)+len(d.Waiting) != 1 {
			t.Errorf("the node has %d moves and %d waits, want one of them", len(d.Moves), len(d.Waiting))
		}
		for _, m := range d.Moves {
			if m.To == ErrorReset || m.Spec.State != m.To || m.Detail == "" {
				t.Errorf("bad move %+v", m)
			}
			carryOut(&s, d)
			if again := Next(s, now); m.Reason != SpecRepaired && m.Reason != StateTimedOut && len(again.Moves) != 0 {
				t.Errorf("after %+v it wants %+v at once", m, again.Moves)
			}
		}
	})
}
