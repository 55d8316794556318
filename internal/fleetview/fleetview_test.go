// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleetview

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
)

// TestSinceWhenANodeIsOfferedAnUpdate is read off its condition, where there is one.
func TestSinceWhenANodeIsOfferedAnUpdate(t *testing.T) {
	at := metav1.NewTime(time.Date(2026, 3, 1, 13, 0, 0, 0, time.FixedZone("CET", 3600)))
	for want, conditions := range map[string][]metav1.Condition{
		"":                     nil,
		"2026-03-01T12:00:00Z": {{Type: v2.ConditionUpdateCheck, Status: metav1.ConditionFalse}, {Type: v2.ConditionUpdated, Status: metav1.ConditionFalse, LastTransitionTime: at}},
	} {
		brs := &v2.BottlerocketShadow{Status: &v2.BottlerocketShadowStatus{Conditions: conditions}}
		if got := Shadow(brs).Status.OfferedSince; got != want {
			t.Errorf("%+v: offered since %q, want %q", conditions, got, want)
		}
	}
	for _, c := range []metav1.Condition{
		{Type: v2.ConditionUpdated, Status: metav1.ConditionTrue, LastTransitionTime: at},
		{Type: v2.ConditionUpdated, Status: metav1.ConditionFalse},
	} {
		brs := &v2.BottlerocketShadow{Status: &v2.BottlerocketShadowStatus{Conditions: []metav1.Condition{c}}}
		if got := Shadow(brs).Status.OfferedSince; got != "" {
			t.Errorf("%+v: offered since %q, want that nobody knows", c, got)
		}
	}
}
