// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package manifest

import (
	"errors"
	"testing"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-cmp/cmp"
)

func way(from, to string, names ...string) Migration {
	return Migration{From: semver.MustParse(from), To: semver.MustParse(to), Names: names}
}

func TestPath(t *testing.T) {
	m := &Manifest{Migrations: []Migration{
		way("1.0.0", "1.1.0", "a"), way("1.0.0", "1.2.0", "long1", "long2"), way("1.1.0", "1.2.0", "b"), way("1.2.0", "1.2.1"),
		way("1.2.1", "2.0.0", "c"), way("1.0.0", "9.0.0", "too-far"),
	}}
	for _, tc := range []struct {
		from, to string
		want     []string
	}{
		{"1.0.0", "1.1.0", []string{"a"}}, {"1.0.0", "1.2.0", []string{"long1", "long2"}}, {"1.1.0", "1.2.0", []string{"b"}},
		{"1.0.0", "2.0.0", []string{"long1", "long2", "c"}}, {"2.0.0", "1.0.0", []string{"c", "long2", "long1"}},
		{"1.2.0", "1.2.1", nil}, {"1.0.0", "1.0.0", nil},
	} {
		got, err := m.Path(semver.MustParse(tc.from), semver.MustParse(tc.to))
		if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
			t.Errorf("%s to %s: %v\n%s", tc.from, tc.to, err, diff)
		}
	}
	for _, tc := range [][2]string{{"1.0.0", "1.2.5"}, {"0.9.0", "1.0.0"}, {"4.0.0", "3.0.0"}} {
		if got, err := m.Path(semver.MustParse(tc[0]), semver.MustParse(tc[1])); !errors.Is(err, ErrNoPath) {
			t.Errorf("%v: %q, %v", tc, got, err)
		}
	}
}

func TestConnect(t *testing.T) {
	m := &Manifest{}
	add := func(v string, variant string) {
		u := Update{Variant: variant, Arch: "x86_64", Version: semver.MustParse(v)}
		if err := m.Add(u, nil); err != nil {
			t.Fatal(err)
		}
		m.Connect(variant, "x86_64", u.Version)
	}
	ways := func() (list []string) {
		for _, g := range m.Migrations {
			list = append(list, g.From.String()+" "+g.To.String())
		}
		return list
	}
	add("1.0.0", "metal")
	add("1.4.0", "other")
	if got := ways(); got != nil {
		t.Errorf("one version needs no way, got %q", got)
	}
	add("1.2.0", "metal")
	add("1.1.0", "metal") // late, between two others
	if diff := cmp.Diff([]string{"1.0.0 1.1.0", "1.0.0 1.2.0", "1.1.0 1.2.0"}, ways()); diff != "" {
		t.Error(diff)
	}
	m.Migrations = append(m.Migrations, way("1.2.0", "1.3.0", "migrate_v1.3.0_x.lz4"))
	add("1.3.0", "metal")
	if got, err := m.Path(semver.MustParse("1.2.0"), semver.MustParse("1.3.0")); err != nil || len(got) != 1 {
		t.Errorf("a way with a migration was covered by one without: %q, %v", got, err)
	}
	if _, err := m.Path(semver.MustParse("1.0.0"), semver.MustParse("1.3.0")); err != nil {
		t.Error(err)
	}
	// Migrations to a version that was never published are not left out.
	m.Migrations = append(m.Migrations, way("1.3.0", "1.3.5", "migrate_v1.3.5_y.lz4"))
	add("1.4.0", "metal")
	if got, err := m.Path(semver.MustParse("1.3.0"), semver.MustParse("1.4.0")); err != nil || len(got) != 1 {
		t.Errorf("the way to 1.4.0 is %q, %v", got, err)
	}
}
