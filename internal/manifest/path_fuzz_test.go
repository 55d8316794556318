// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package manifest

import (
	"slices"
	"testing"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-cmp/cmp"
)

// From any table, a path ends; back it is the same path reversed; and after Connect, one leads between any two published
// versions.
func FuzzPath(f *testing.F) {
	f.Add([]byte{0, 1, 1, 2, 0, 2, 2, 3}, uint8(0), uint8(3))
	f.Add([]byte{0, 0, 3, 1, 1, 1}, uint8(1), uint8(0))
	f.Fuzz(func(t *testing.T, table []byte, a, b uint8) {
		at := func(n uint8) *semver.Version { return semver.New(uint64(n%4), uint64(n/4%4), uint64(n/16), "", "") }
		m := &Manifest{}
		for i := 0; i+1 < len(table); i += 2 {
			m.Migrations = append(m.Migrations, Migration{From: at(table[i]), To: at(table[i+1]), Names: []string{string(rune('a' + i/2))}})
		}
		from, to := at(a), at(b)
		there, errThere := m.Path(from, to)
		back, errBack := m.Path(to, from)
		slices.Reverse(back)
		if diff := cmp.Diff(there, back); diff != "" || (errThere == nil) != (errBack == nil) {
			t.Errorf("there %v, back %v\n%s", errThere, errBack, diff)
		}
		for _, v := range []*semver.Version{from, to} {
			if m.Find("v", "a", v) == nil {
				if err := m.Add(Update{Variant: "v", Arch: "a", Version: v}, nil); err != nil {
					t.Fatal(err)
				}
			}
			m.Connect("v", "a", v)
		}
		if _, err := m.Path(from, to); err != nil {
			t.Errorf("connected, and yet: %v", err)
		}
	})
}
