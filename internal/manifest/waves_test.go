// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package manifest

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var start = time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)

func TestReadyAt(t *testing.T) {
	hour := func(n float64) time.Time { return start.Add(time.Duration(n * float64(time.Hour))) }
	w := Waves{0: hour(0), 100: hour(10), 300: hour(20)}
	for _, tc := range []struct {
		name  string
		waves Waves
		seed  uint32
		want  time.Time
	}{
		{"no waves", nil, 7, time.Time{}},
		{"seed 0 waits for the start", w, 0, hour(0)},
		{"first wave", w, 50, hour(5)},
		{"at the border", w, 100, hour(10)},
		{"middle of the second wave", w, 200, hour(15)},
		{"last wave", w, 301, hour(20)},
		{"greatest seed", w, MaxSeed, hour(20)},
		{"seed beyond the range", w, 1 << 31, hour(20)},
		{"below the first key", Waves{100: hour(1)}, 50, time.Time{}},
		{"key beyond the range does not end a wave", Waves{0: hour(1), 4096: hour(9)}, 2000, hour(1)},
	} {
		if got := tc.waves.ReadyAt(tc.seed); !got.Equal(tc.want) {
			t.Errorf("%s: ReadyAt(%d) = %v, want %v", tc.name, tc.seed, got, tc.want)
		}
		if tc.want.IsZero() {
			continue
		}
		if tc.waves.Ready(tc.seed, tc.want.Add(-1)) || !tc.waves.Ready(tc.seed, tc.want) {
			t.Errorf("%s: not ready exactly from %v", tc.name, tc.want)
		}
	}
}

// The original lets most hosts of every wave but the first go together at the wave's end. Ours must be spread: inside
// any wave, neighbours are released the same time apart, from the wave's start to its end.
func TestReleaseTimesAreUniformInsideAWave(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfNDistinct(rapid.Uint32Range(0, MaxSeed), 2, 8, rapid.ID).Draw(t, "keys")
		slices.Sort(keys)
		w, at := Waves{}, start
		for _, k := range keys {
			w[k] = at
			at = at.Add(time.Duration(rapid.Int64Range(1, int64(60*24*time.Hour)).Draw(t, "length")))
		}
		for i := 1; i < len(keys); i++ {
			from, to := keys[i-1], keys[i]
			width := w[to].Sub(w[from])
			for seed := from; seed <= to; seed++ {
				exact := w[from].Add(time.Duration(float64(width) * float64(seed-from) / float64(to-from)))
				off := w.ReadyAt(seed).Sub(exact).Abs()
				// Whole nanoseconds per seed lose less than one per seed; the float above has 53 bits.
				if off > time.Duration(MaxSeed)+time.Microsecond {
					t.Fatalf("seed %d of wave %d-%d is released %v away from its place", seed, from, to, off)
				}
				if at := w.ReadyAt(seed); at.Before(w[from]) || at.After(w[to]) {
					t.Fatalf("seed %d is released at %v, outside its wave", seed, at)
				}
			}
		}
	})
}

func TestPolicyKeys(t *testing.T) {
	for _, tc := range []struct {
		name, policy string
		keys         []uint32
	}{
		{"default", "1 hour 1, 4 hours 5, 1 day 15, 2 days 40, 4 days 60, 5 days 90, 6 days 100", []uint32{0, 20, 102, 307, 819, 1228, 1843}},
		{"accelerated", "1 hour 3, 4 hours 12, 8 hours 40, 16 hours 80, 1 day 100", []uint32{0, 61, 245, 819, 1638}},
		{"minutes", "30 minutes 5, 60 minutes 25, 120 minutes 50, 150 minutes 90, 180 minutes 100", []uint32{0, 102, 512, 1024, 1843}},
		{"in", "in 1 week 100", []uint32{0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := ParsePolicy([]byte(toTOML(tc.policy)))
			if err != nil {
				t.Fatal(err)
			}
			w, err := p.Waves(start)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.keys, slices.Sorted(maps.Keys(w))); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
			if first := w[0]; !first.Equal(start.Add(p[0].StartAfter)) {
				t.Errorf("first wave starts at %v", first)
			}
		})
	}
}

func TestBadPolicies(t *testing.T) {
	for policy, want := range map[string]string{
		"":                                   "no waves",
		"soon 50":                            "start_after",
		"1 year 50":                          "start_after",
		"-1 hours 50":                        "start_after",
		"1 hour 0":                           "fleet_percentage",
		"1 hour 101":                         "fleet_percentage",
		"2 hours 10, 1 hour 100":             "not after",
		"1 hour 10, 2 hours 10, 3 hours 100": "adds no hosts",
	} {
		p, err := ParsePolicy([]byte(toTOML(policy)))
		if err == nil {
			_, err = p.Waves(start)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want one about %q", policy, err, want)
		}
	}
	if _, err := ParsePolicy([]byte("[[waves")); err == nil {
		t.Error("broken TOML was read")
	}
}

// toTOML writes "1 hour 5, 2 hours 100" as a policy file.
func toTOML(short string) string {
	var b strings.Builder
	for wave := range strings.SplitSeq(short, ", ") {
		if i := strings.LastIndex(wave, " "); i > 0 {
			b.WriteString("[[waves]]\nstart_after = \"" + wave[:i] + "\"\nfleet_percentage = " + wave[i+1:] + "\n")
		}
	}
	return b.String()
}
