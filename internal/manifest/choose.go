// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package manifest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
)

// Host is all that the choice of an update depends on, beside the time.
type Host struct {
	Variant     string
	Arch        string
	Running     *semver.Version
	Seed        uint32
	IgnoreWaves bool
	LegacyWaves bool            // take the turn that the original client would take
	Lock        *semver.Version // only this version will do, newer or older; nil: the newest
}

// ParseLock reads the setting that locks a host to a version: "latest" (nil) or a version, with or without v.
func ParseLock(s string) (*semver.Version, error) {
	if s == "latest" {
		return nil, nil
	}
	v, err := ParseVersion(strings.TrimPrefix(s, "v"))
	if err != nil {
		return nil, fmt.Errorf("version lock: %w and not \"latest\"", err)
	}
	return v, nil
}

// Applicable returns the updates that are meant for h and released to it at now, newest first. The running version
// may be among them.
func (m *Manifest) Applicable(h Host, now time.Time) []Update {
	var list []Update
	for _, u := range m.Updates {
		if u.Variant == h.Variant && u.Arch == h.Arch && !u.Version.GreaterThan(u.MaxVersion) &&
			(h.IgnoreWaves || !now.Before(h.turn(u.Waves))) {
			list = append(list, u)
		}
	}
	slices.SortStableFunc(list, func(a, b Update) int { return b.Version.Compare(a.Version) })
	return list
}

// Choose returns the update among applicable ones (newest first, as Applicable returns them) that h should move to,
// or nil when it should stay. A host whose version is above an update's MaxVersion is moved down: that is how a
// release is withdrawn. A locked host moves to its version only, also downwards.
func Choose(h Host, applicable []Update) *Update {
	for i, u := range applicable {
		switch {
		case h.Lock != nil:
			if u.Version.Equal(h.Lock) && !u.Version.Equal(h.Running) {
				return &applicable[i]
			}
		case h.Running.LessThan(u.Version) || h.Running.GreaterThan(u.MaxVersion):
			return &applicable[i]
		}
	}
	return nil
}
