// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package v2_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
)

// One object that cannot be read keeps a list from being read.
func TestD12AStatusWrittenByHandCanBeRead(t *testing.T) {
	for count, want := range map[string]uint32{
		"0": 0, "7": 7, "4294967295": math.MaxUint32, "4294967296": math.MaxUint32, "99999999999999999999999": math.MaxUint32, "-1": math.MaxUint32, "1.5": math.MaxUint32, "null": 0,
	} {
		var s v2.BottlerocketShadowStatus
		err := json.Unmarshal([]byte(`{"current_version":"1.0.0","crash_count":`+count+`,"slot":"A"}`), &s)
		if err != nil || s.CrashCount != want || s.CurrentVersion != "1.0.0" || s.Slot != "A" {
			t.Errorf("%s: %+v, %v, want %d", count, s, err, want)
		}
	}
	var s v2.BottlerocketShadowStatus
	err := json.Unmarshal([]byte(`{"conditions":[{"type":"A","lastTransitionTime":"2026-01-01t00:00:00z"},{"type":"B","lastTransitionTime":"2026-01-01T00:00:00Z"},7]}`), &s)
	if err != nil || len(s.Conditions) != 1 || s.Conditions[0].Type != "B" {
		t.Errorf("%+v, %v", s.Conditions, err)
	}
}

func TestAStatusComesBackAsItWas(t *testing.T) {
	at := "2026-01-02T03:04:05Z"
	want := v2.BottlerocketShadowStatus{
		CurrentVersion: "1.0.0", TargetVersion: "1.1.0", CurrentState: v2.ErrorReset, CrashCount: 3, StateTransitionFailureTimestamp: &at,
		Message: "m", LastError: "e", Slot: "A", BootID: "b",
		Conditions:  []metav1.Condition{{Type: "Updated", Status: "True", LastTransitionTime: metav1.NewTime(time.Unix(1_700_000_000, 0)), Reason: "R", Message: "m"}},
		Drain:       &v2.DrainProgress{PodsLeft: 2, BlockingPod: "a/b", BlockingPDB: "c"},
		UpdateCheck: &v2.UpdateCheck{Error: "e", FailingSince: at, LastSuccess: at},
		HeldUpdate:  &v2.HeldUpdate{Version: "1.2.0", Reason: "lock", Until: at, LockedTo: "1.1.0"},
	}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got := v2.BottlerocketShadowStatus{CrashCount: 9, Conditions: []metav1.Condition{{Type: "Old"}}} // as a decoder may pass it
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
