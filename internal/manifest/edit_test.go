// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package manifest

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-cmp/cmp"
)

// The seeds are those that the original computes for the policies of the same names.
func TestNamedPolicies(t *testing.T) {
	start := time.Date(2026, 9, 1, 20, 0, 0, 0, time.UTC)
	want := map[string][]uint32{
		"default-waves":     {0, 20, 102, 307, 819, 1228, 1843},
		"accelerated-waves": {0, 61, 245, 819, 1638},
		"slow-roll":         {0, 20, 102, 307, 819, 1228, 1843},
		"ohno":              {0, 102, 512, 1024, 1843},
	}
	for _, name := range NamedPolicies() {
		waves, err := NamedPolicy(name).Waves(start)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want[name], slices.Sorted(maps.Keys(waves))); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	if NamedPolicy("fast") != nil {
		t.Error("an unknown policy has waves")
	}
}

func TestEdits(t *testing.T) {
	m := &Manifest{}
	for _, v := range []string{"1.0.0", "1.1.0"} {
		images := Images{Boot: v + "-boot", Root: v + "-root", Hash: v + "-hash"}
		if err := m.Add(Update{Variant: "metal", Arch: "x86_64", Version: semver.MustParse(v), Images: images}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := m.SetMaxVersion("metal", "x86_64", semver.MustParse("1.0.5")); err != nil || left != 1 {
		t.Errorf("versions left %d, %v", left, err)
	}
	if got := m.Find("metal", "x86_64", semver.MustParse("1.1.0")).MaxVersion; !got.Equal(semver.MustParse("1.0.5")) {
		t.Errorf("max version %v", got)
	}
	late, early := time.Unix(2000, 0).UTC(), time.Unix(1000, 0).UTC()
	if err := m.SetWaves("metal", "x86_64", semver.MustParse("1.1.0"), Waves{0: late, 100: early}); err == nil {
		t.Error("waves that do not rise were accepted")
	}
	if err := m.SetWaves("metal", "x86_64", semver.MustParse("1.1.0"), Waves{0: early, 100: late}); err != nil {
		t.Error(err)
	}
	if _, err := m.Remove("metal", "x86_64", semver.MustParse("1.0.0")); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"1.1.0-boot", "1.1.0-hash", "1.1.0-root"}, m.Targets()); diff != "" {
		t.Error(diff)
	}
	if faults := m.Faults(); len(faults) > 0 {
		t.Errorf("faults: %v", faults)
	}
	_, removing := m.Remove("metal", "x86_64", semver.MustParse("1.0.0"))
	_, limiting := m.SetMaxVersion("metal", "aarch64", semver.MustParse("1.0.0"))
	for what, err := range map[string]error{
		"removing": removing, "limiting": limiting, "waves": m.SetWaves("other", "x86_64", semver.MustParse("1.1.0"), nil),
	} {
		if !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestMigrationsNeedTheirTable(t *testing.T) {
	for _, text := range []string{"", "version = \"1.0.0\"\n", "[migration]\n\"(1.0.0, 1.1.0)\" = []\n"} {
		if list, err := ParseMigrations([]byte(text)); !errors.Is(err, errNoTable) {
			t.Errorf("%q: %v, %v", text, list, err)
		}
	}
	if list, err := ParseMigrations([]byte("[migrations]\n")); err != nil || len(list) > 0 {
		t.Errorf("an empty table: %v, %v", list, err)
	}
}

func TestMigrationsThatDoNotLeadUpward(t *testing.T) {
	for _, key := range []string{"(1.1.0, 1.0.0)", "(1.0.0, 1.0.0)"} {
		_, err := ParseMigrations([]byte("[migrations]\n\"" + key + "\" = []\n"))
		if err == nil || !strings.Contains(err.Error(), key+"\" does not lead upward") {
			t.Errorf("%s: got error %v", key, err)
		}
	}
}

// What is read from a release file is what a manifest with it says.
func FuzzParseMigrations(f *testing.F) {
	f.Add([]byte("version = \"1.1.0\"\n[migrations]\n\"(1.0.0, 1.1.0)\" = [\"a.lz4\", \"b.lz4\"]\n\"(1.1.0,1.1.1)\" = []\n"))
	f.Add([]byte("[migrations]\n\"(1.0.0, 1.1.0)\" = []\n\"(1.0.0,  1.1.0)\" = []\n"))
	f.Add([]byte("[migrations]\n\"1.0.0\" = 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ParseMigrations(data)
		if err != nil {
			return
		}
		printed, err := (&Manifest{Migrations: list}).JSON()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(printed)
		if err != nil {
			t.Fatalf("%v in\n%s", err, printed)
		}
		same := slices.EqualFunc(list, again.Migrations, func(a, b Migration) bool {
			return a.From.String() == b.From.String() && a.To.String() == b.To.String() && slices.Equal(a.Names, b.Names)
		})
		if !same {
			t.Errorf("read %v, then %v", list, again.Migrations)
		}
	})
}

// Policies that are accepted have dates that rise with the seeds, or no dates at all.
func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte("[[waves]]\nstart_after = \"30 minutes\"\nfleet_percentage = 5\n[[waves]]\nstart_after = \"in 2 weeks\"\nfleet_percentage = 100\n"))
	f.Add([]byte("[[waves]]\nstart_after = \"1 hour\"\nfleet_percentage = 101\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		policy, err := ParsePolicy(data)
		if err != nil {
			return
		}
		waves, err := policy.Waves(time.Unix(0, 0))
		if err != nil {
			return
		}
		if err := waves.check(); err != nil || len(waves) != len(policy) {
			t.Errorf("%d waves of %d, %v", len(waves), len(policy), err)
		}
	})
}
