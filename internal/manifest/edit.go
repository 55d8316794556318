// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package manifest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/pelletier/go-toml/v2"
)

// ErrUnknown means that no update of this variant, arch and version is in the manifest.
var ErrUnknown = errors.New("this version is not published")

// Remove takes an update out of the list and returns it. Nothing else changes: in particular hosts that run it stay
// on it, unless SetMaxVersion moves them down. The error is ErrUnknown.
func (m *Manifest) Remove(variant, arch string, version *semver.Version) (*Update, error) {
	u := m.Find(variant, arch, version)
	if u == nil {
		return nil, fmt.Errorf("%s %s %v: %w", variant, arch, version, ErrUnknown)
	}
	removed := *u
	m.Updates = slices.DeleteFunc(slices.Clone(m.Updates), func(u Update) bool {
		return u.Variant == variant && u.Arch == arch && u.Version.Equal(version)
	})
	return &removed, nil
}

// SetWaves replaces the waves of one update; nil lets every host move at once. Errors: ErrUnknown, and waves that
// do not rise.
func (m *Manifest) SetWaves(variant, arch string, version *semver.Version, waves Waves) error {
	u := m.Find(variant, arch, version)
	if u == nil {
		return fmt.Errorf("%s %s %v: %w", variant, arch, version, ErrUnknown)
	}
	if err := waves.check(); err != nil {
		return err
	}
	u.Waves = waves
	return nil
}

// SetMaxVersion sets the greatest version that hosts of a variant and arch may run: those above it are moved down.
// It returns how many updates hosts can still move to, or ErrUnknown when there is none at all.
func (m *Manifest) SetMaxVersion(variant, arch string, limit *semver.Version) (left int, err error) {
	found := false
	for i, u := range m.Updates {
		if u.Variant != variant || u.Arch != arch {
			continue
		}
		found = true
		m.Updates[i].MaxVersion = limit
		if !u.Version.GreaterThan(limit) {
			left++
		}
	}
	if !found {
		return 0, fmt.Errorf("%s %s: %w", variant, arch, ErrUnknown)
	}
	return left, nil
}

// Targets lists the targets that the manifest refers to, sorted, each once.
func (m *Manifest) Targets() []string {
	var names []string
	for _, u := range m.Updates {
		names = append(names, u.Images.Boot, u.Images.Root, u.Images.Hash)
	}
	for _, g := range m.Migrations {
		names = append(names, g.Names...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Faults lists what a publisher should correct although the manifest can be read.
func (m *Manifest) Faults() []error {
	var faults []error
	type key struct{ variant, arch string }
	limits := map[key]*semver.Version{}
	for i, u := range m.Updates {
		name := fmt.Sprintf("%s %s %v", u.Variant, u.Arch, u.Version)
		if m.Find(u.Variant, u.Arch, u.Version) != &m.Updates[i] {
			faults = append(faults, fmt.Errorf("%s is listed twice", name))
		}
		if err := u.Waves.check(); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
		k := key{u.Variant, u.Arch}
		if limit := limits[k]; limit == nil {
			limits[k] = u.MaxVersion
		} else if !limit.Equal(u.MaxVersion) {
			faults = append(faults, fmt.Errorf("%s: max_version is %v, elsewhere %v", name, u.MaxVersion, limit))
		}
	}
	return faults
}

var errNoTable = errors.New("there is no table [migrations]; an empty one is written as that line alone")

// ParseMigrations reads a table of migrations in TOML:
//
//	[migrations]
//	"(1.0.0, 1.1.0)" = ["migrate_v1.1.0_add-setting.lz4"]
//
// Other keys of the file are ignored, so that a release file can be given as it is. A file without the table is refused:
// taken for an empty one, any wrong file would be.
func ParseMigrations(data []byte) ([]Migration, error) {
	var file struct {
		Migrations *map[string][]string `toml:"migrations"`
	}
	if err := toml.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("reading migrations: %w", err)
	}
	if file.Migrations == nil {
		return nil, fmt.Errorf("reading migrations: %w", errNoTable)
	}
	var list []Migration
	for key, names := range *file.Migrations {
		m, err := parseMigrationKey(key)
		if err != nil {
			return nil, fmt.Errorf("reading migrations: %w", err)
		}
		if !m.From.LessThan(m.To) {
			// Hosts that go down run those of the way up, backward.
			return nil, fmt.Errorf("reading migrations: key %q does not lead upward: write it as (OLDER, NEWER)", key)
		}
		m.Names = append([]string{}, names...)
		list = append(list, m)
	}
	if err := sortMigrations(list); err != nil {
		return nil, fmt.Errorf("reading migrations: %w", err)
	}
	return list, nil
}

// NamedPolicies lists the wave policies that are known by name.
func NamedPolicies() []string {
	return []string{"default-waves", "accelerated-waves", "slow-roll", "ohno"}
}

// NamedPolicy returns one of the NamedPolicies, or nil. Their waves are those of the original.
func NamedPolicy(name string) Policy {
	const hour, day = time.Hour, 24 * time.Hour
	switch name {
	case "default-waves": // a week
		return Policy{{hour, 1}, {4 * hour, 5}, {day, 15}, {2 * day, 40}, {4 * day, 60}, {5 * day, 90}, {6 * day, 100}}
	case "accelerated-waves": // a day
		return Policy{{hour, 3}, {4 * hour, 12}, {8 * hour, 40}, {16 * hour, 80}, {day, 100}}
	case "slow-roll": // two weeks
		return Policy{{hour, 1}, {day, 5}, {3 * day, 15}, {7 * day, 40}, {9 * day, 60}, {12 * day, 90}, {13 * day, 100}}
	case "ohno": // three hours, to repair a mistake
		const minute = time.Minute
		return Policy{{30 * minute, 5}, {60 * minute, 25}, {120 * minute, 50}, {150 * minute, 90}, {180 * minute, 100}}
	}
	return nil
}
