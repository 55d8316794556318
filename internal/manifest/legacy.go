// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package manifest

import (
	"maps"
	"slices"
	"time"
)

// turn returns the instant from which h may take an update with these waves.
func (h Host) turn(w Waves) time.Time {
	if h.LegacyWaves {
		return w.LegacyReadyAt(h.Seed)
	}
	return w.ReadyAt(h.Seed)
}

// LegacyReadyAt is ReadyAt as the original client decides it, for fleets in which both kinds of hosts must move
// together: within a wave the spread is multiplied by the seed itself, not by its distance from the wave's first seed,
// so in all waves but the first most hosts move together at the wave's end; and hosts up to the first key do not wait.
func (w Waves) LegacyReadyAt(seed uint32) time.Time {
	seed = min(seed, MaxSeed)
	keys := slices.Sorted(maps.Keys(w))
	next, _ := slices.BinarySearch(keys, seed)
	if next == 0 {
		return time.Time{}
	}
	startKey := keys[next-1]
	start := w[startKey]
	if next == len(keys) || keys[next] > MaxSeed {
		return start
	}
	end, span := w[keys[next]], keys[next]-startKey
	if seed >= span { // also keeps the product below within the range of a Duration
		return end
	}
	return start.Add(end.Sub(start) / time.Duration(span) * time.Duration(seed))
}
