// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package manifest

import (
	"fmt"
	"testing"
	"time"
)

func TestHeldSaysWhyAHostStays(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	in := func(v string, hours int) Update {
		u := Update{Variant: "metal", Arch: "x86_64", Version: version(v), MaxVersion: version("9.0.0")}
		if hours > 0 {
			u.Waves = Waves{0: now.Add(time.Duration(hours) * time.Hour)}
		}
		return u
	}
	for _, tc := range []struct {
		name    string
		updates []Update
		lock    string
		ignore  bool
		want    string
	}{
		{"nothing newer", []Update{in("1.0.0", 0)}, "latest", false, "nothing"},
		{"its wave has not come", []Update{in("1.0.0", 0), in("1.1.0", 3)}, "latest", false, "1.1.0 wave 3h0m0s"},
		{"the first wave to come counts", []Update{in("1.1.0", 3), in("1.2.0", 5)}, "latest", false, "1.1.0 wave 3h0m0s"},
		{"of one wave the newest", []Update{in("1.1.0", 3), in("1.2.0", 3)}, "latest", false, "1.2.0 wave 3h0m0s"},
		{"waves are ignored", []Update{in("1.1.0", 3)}, "latest", true, "nothing"},
		{"an older one is of no interest", []Update{in("0.9.0", 3)}, "latest", false, "nothing"},
		{"locked to what runs", []Update{in("1.0.0", 0), in("1.1.0", 0), in("1.2.0", 9)}, "1.0.0", false, "1.2.0 lock"},
		{"locked to what is not published", []Update{in("1.2.0", 0)}, "1.1.0", false, "1.2.0 lock"},
		{"locked to one that waits", []Update{in("1.2.0", 0), in("1.1.0", 3)}, "1.1.0", false, "1.1.0 wave 3h0m0s"},
		{"locked to the newest", []Update{in("1.0.0", 0)}, "1.0.0", false, "nothing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lock, err := ParseLock(tc.lock)
			if err != nil {
				t.Fatal(err)
			}
			h := Host{Variant: "metal", Arch: "x86_64", Running: version("1.0.0"), Seed: 100, Lock: lock, IgnoreWaves: tc.ignore}
			got := "nothing"
			if held := (&Manifest{Updates: tc.updates}).Held(h, now); held != nil {
				got = fmt.Sprint(held.Version, " ", held.Reason)
				if !held.Until.IsZero() {
					got += fmt.Sprint(" ", held.Until.Sub(now))
				}
			}
			if got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}
