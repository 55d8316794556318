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
	names, at := m.walk(low, high)
	if at.LessThan(high) {
		return nil, fmt.Errorf("from version %s towards %s: %w", at, high, ErrNoPath)
	}
	if to.LessThan(from) {
		slices.Reverse(names)
	}
	return names, nil
}

// walk follows the ways upwards as far as they lead. It returns the names on them and where they end.
func (m *Manifest) walk(low, high *semver.Version) (names []string, at *semver.Version) {
	for at = low; at.LessThan(high); {
		var best *Migration
		for i, g := range m.Migrations {
			if g.From.Equal(at) && g.To.GreaterThan(at) && !g.To.GreaterThan(high) && (best == nil || g.To.GreaterThan(best.To)) {
				best = &m.Migrations[i]
			}
		}
		if best == nil {
			break
		}
		names = append(names, best.Names...)
		at = best.To
	}
	return names, at
}

// Connect makes sure that migrations lead to a published version from the one before it, and on to the one behind it.
// From where they end, it adds a way without any: hosts refuse an update that nothing leads to, and most need no
// migration. It returns the ways that it has added.
func (m *Manifest) Connect(variant, arch string, version *semver.Version) (added []Migration) {
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
		if _, at := m.walk(way[0], way[1]); at.LessThan(way[1]) {
			added = append(added, Migration{From: at, To: way[1], Names: []string{}})
		}
	}
	m.Migrations = append(m.Migrations, added...)
	slices.SortStableFunc(m.Migrations, compareMigrations)
	return added
}
