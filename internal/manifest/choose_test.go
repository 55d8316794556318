// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package manifest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestChoose(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	update := func(v, limit string) Update {
		return Update{Variant: "metal", Arch: "x86_64", Version: version(v), MaxVersion: version(limit)}
	}
	waiting := update("1.3.0", "1.3.0")
	waiting.Waves = Waves{0: now.Add(time.Hour)}
	otherArch, otherVariant := update("1.9.0", "1.9.0"), update("1.9.0", "1.9.0")
	otherArch.Arch, otherVariant.Variant = "aarch64", "cloud"

	for _, tc := range []struct {
		name    string
		updates []Update
		running string
		lock    string
		ignore  bool
		listed  []string
		want    string // "" = stay
	}{
		{"newest wins", []Update{update("1.1.0", "1.2.0"), update("1.2.0", "1.2.0")}, "1.0.0", "latest", false, []string{"1.2.0", "1.1.0"}, "1.2.0"},
		{"up to date", []Update{update("1.1.0", "1.1.0")}, "1.1.0", "latest", false, []string{"1.1.0"}, ""},
		{"newer than published stays while the limit allows", []Update{update("1.1.0", "1.5.0")}, "1.2.0", "latest", false, []string{"1.1.0"}, ""},
		{"withdrawn release goes down", []Update{update("1.1.0", "1.1.0"), update("1.2.0", "1.1.0")}, "1.2.0", "latest", false, []string{"1.1.0"}, "1.1.0"},
		{"above its own limit is not applicable", []Update{update("1.2.0", "1.1.0")}, "1.0.0", "latest", false, nil, ""},
		{"other arch and variant", []Update{otherArch, otherVariant}, "1.0.0", "latest", false, nil, ""},
		{"wave not ready", []Update{waiting, update("1.2.0", "1.3.0")}, "1.0.0", "latest", false, []string{"1.2.0"}, "1.2.0"},
		{"waves ignored", []Update{waiting}, "1.0.0", "latest", true, []string{"1.3.0"}, "1.3.0"},
		{"locked to older", []Update{update("1.1.0", "1.2.0"), update("1.2.0", "1.2.0")}, "1.2.0", "v1.1.0", false, []string{"1.2.0", "1.1.0"}, "1.1.0"},
		{"locked to the running one", []Update{update("1.1.0", "1.2.0"), update("1.2.0", "1.2.0")}, "1.1.0", "1.1.0", false, []string{"1.2.0", "1.1.0"}, ""},
		{"locked to an unknown one", []Update{update("1.2.0", "1.2.0")}, "1.0.0", "1.1.0", false, []string{"1.2.0"}, ""},
		{"locked to one still waiting", []Update{waiting}, "1.0.0", "1.3.0", false, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lock, err := ParseLock(tc.lock)
			if err != nil {
				t.Fatal(err)
			}
			h := Host{Variant: "metal", Arch: "x86_64", Running: version(tc.running), Seed: 100, Lock: lock, IgnoreWaves: tc.ignore}
			applicable := (&Manifest{Updates: tc.updates}).Applicable(h, now)
			var listed []string
			for _, u := range applicable {
				listed = append(listed, u.Version.String())
			}
			if diff := cmp.Diff(tc.listed, listed); diff != "" {
				t.Errorf("applicable (-want +got):\n%s", diff)
			}
			got := ""
			if u := Choose(h, applicable); u != nil {
				got = u.Version.String()
			}
			if got != tc.want {
				t.Errorf("chose %q, want %q", got, tc.want)
			}
		})
	}
}

func TestParseLock(t *testing.T) {
	for in, want := range map[string]string{"latest": "", "1.2.3": "1.2.3", "v1.2.3": "1.2.3", "vv1.2.3": "error", "": "error", "newest": "error"} {
		got := ""
		v, err := ParseLock(in)
		if err != nil {
			got = "error"
		} else if v != nil {
			got = v.String()
		}
		if got != want {
			t.Errorf("ParseLock(%q) = %q, want %q", in, got, want)
		}
	}
}
