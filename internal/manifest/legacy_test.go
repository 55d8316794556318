// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package manifest

import (
	"testing"
	"time"
)

func TestLegacyWaves(t *testing.T) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	hour := func(n float64) time.Time { return start.Add(time.Duration(n * float64(time.Hour))) }
	w := Waves{0: hour(1), 20: hour(4), 100: hour(24), 1000: hour(48)}
	for _, tc := range []struct {
		seed         uint32
		legacy, ours time.Time
	}{
		{0, time.Time{}, hour(1)},
		{10, hour(2.5), hour(2.5)},
		{20, hour(4), hour(4)},
		{40, hour(14), hour(9)},
		{80, hour(24), hour(19)},
		{1000, hour(48), hour(48)},
		{1500, hour(48), hour(48)},
		{4000, hour(48), hour(48)},
	} {
		if got := (Host{Seed: tc.seed, LegacyWaves: true}).turn(w); !got.Equal(tc.legacy) {
			t.Errorf("seed %d, legacy: %v, want %v", tc.seed, got, tc.legacy)
		}
		if got := (Host{Seed: tc.seed}).turn(w); !got.Equal(tc.ours) {
			t.Errorf("seed %d: %v, want %v", tc.seed, got, tc.ours)
		}
	}
	if got := (Waves{}).LegacyReadyAt(7); !got.IsZero() {
		t.Errorf("without waves: %v", got)
	}
}
