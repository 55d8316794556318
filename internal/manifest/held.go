// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package manifest

import (
	"time"

	"github.com/Masterminds/semver/v3"
)

// HeldReason is what keeps a host from an update that is published for it.
type HeldReason string

// The reasons.
const (
	HeldByWave HeldReason = "wave" // its turn has not come
	HeldByLock HeldReason = "lock" // the host is locked to another version
)

// Held is an update that a host does not move to for now.
type Held struct {
	Version *semver.Version
	Reason  HeldReason
	Until   time.Time // when the turn of the host comes; zero for HeldByLock
}

// Held says why h, for which Choose found nothing at now, stays where it is; nil when nothing else is published for
// it. Of several waves the one that comes first counts.
func (m *Manifest) Held(h Host, now time.Time) *Held {
	var held *Held
	for _, u := range m.Updates {
		if u.Variant != h.Variant || u.Arch != h.Arch || u.Version.GreaterThan(u.MaxVersion) {
			continue
		}
		next := &Held{Version: u.Version, Reason: HeldByWave, Until: h.turn(u.Waves)}
		waits := !h.IgnoreWaves && now.Before(next.Until)
		switch {
		case h.Lock == nil:
			if !waits || !h.Running.LessThan(u.Version) && !h.Running.GreaterThan(u.MaxVersion) {
				continue
			}
		case u.Version.Equal(h.Lock) && !u.Version.Equal(h.Running) && waits:
			return next
		case u.Version.GreaterThan(h.Running) && !u.Version.Equal(h.Lock):
			next.Reason, next.Until = HeldByLock, time.Time{}
		default:
			continue
		}
		if held == nil || next.before(held) {
			held = next
		}
	}
	return held
}

// before orders by the turn, and among the same by version, the newest first.
func (a *Held) before(b *Held) bool {
	if c := a.Until.Compare(b.Until); c != 0 {
		return c < 0
	}
	return a.Version.GreaterThan(b.Version)
}
