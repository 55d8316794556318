// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package manifest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/Masterminds/semver/v3"
)

// ErrNoPath means that no migrations lead from one version to the other.
var ErrNoPath = errors.New("no migrations lead there")

// Path returns the names of the migrations from one version to another in the order in which they run: each time those
// of the longest way that does not lead too far, and the same backwards. It returns ErrNoPath.
func (m *Manifest) Path(from, to *semver.Version) ([]string, error) {
	low, high := from, to
	if high.LessThan(low) {
		low, high = to, from
	}
	var names []string
	for at := low; at.LessThan(high); {
		var best *Migration
		for i, g := range m.Migrations {
			if g.From.Equal(at) && g.To.GreaterThan(at) && !g.To.GreaterThan(high) && (best == nil || g.To.GreaterThan(best.To)) {
				best = &m.Migrations[i]
			}
		}
		if best == nil {
			return nil, fmt.Errorf("from version %s towards %s: %w", at, high, ErrNoPath)
		}
		names = append(names, best.Names...)
		at = best.To
	}
	if to.LessThan(from) {
		slices.Reverse(names)
	}
	return names, nil
}

// Connect makes sure that migrations lead to a published version from the one before it, and on to the one behind it.
// Where none do, it adds a way without any: hosts refuse an update that nothing leads to, and most need no migration.
func (m *Manifest) Connect(variant, arch string, version *semver.Version) {
	var before, behind *semver.Version
	for _, u := range m.Updates {
		switch v := u.Version; {
		case u.Variant != variant || u.Arch != arch:
		case v.LessThan(version) && (before == nil || v.GreaterThan(before)):
			before = v
		case v.GreaterThan(version) && (behind == nil || v.LessThan(behind)):
			behind = v
		}
	}
	for _, way := range [][2]*semver.Version{{before, version}, {version, behind}} {
		if way[0] == nil || way[1] == nil {
			continue
		}
		if _, err := m.Path(way[0], way[1]); err != nil {
			m.Migrations = append(m.Migrations, Migration{From: way[0], To: way[1], Names: []string{}})
		}
	}
	slices.SortStableFunc(m.Migrations, compareMigrations)
}
