// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package window tells when updates may start.
//
// A schedule is an expression of 6 or 7 fields (second, minute, hour, day of month, month, day of week and
// optionally year), read by the rules of the Rust crate cron 0.12 that existing configurations were written
// for: all fields must match, day of month and day of week alike, and Sunday is 1. The expression itself says
// what kind of schedule it is, whenever it is looked at:
//
//   - A window, when two seconds in a row match, as in "* * 22-23 * * *": open in every matching second.
//   - One-shot, otherwise, as in "0 0 22 * * *": each match begins a run, whose end the schedule does not know.
//   - With a length, any expression is a window: each match opens it for that long.
//
// The fields are those of the local clock in the schedule's time zone. A window follows that clock strictly: an
// hour that the clock skips does not exist, one that it shows twice is open twice. What begins at a match, a run
// or a window with a length, and names its hours, happens once: where the clock skips the time, right
// after the gap, and where it shows it twice, at the first. Everything here is pure: no clock is read.
package window

import (
	"time"
)

// Config is what a schedule is made of.
type Config struct {
	// Expression is the schedule; empty for the legacy form.
	Expression string
	// Start and Stop are the legacy form, a time of day each as "H:M:S"; used when Expression is empty. The
	// window holds from Start up to Stop, on the next day if Stop is the earlier.
	Start, Stop string
	// Location is the time zone; default UTC.
	Location *time.Location
	// Length makes each match of Expression the beginning of a window that long, MinLength to MaxLength;
	// zero for none.
	Length time.Duration
}

// MinLength and MaxLength bound Config.Length.
const (
	MinLength = time.Second
	MaxLength = 31 * 24 * time.Hour
)

// Schedule is when updates may start. It is safe for concurrent use.
type Schedule struct {
	rule   rule
	loc    *time.Location
	length time.Duration
	// oneShot and fixed are whether matches begin something without a known end, and whether each is to
	// happen once however the clock is changed.
	oneShot, fixed bool
}

// rule is a pattern of local times; those are passed in UTC, in whole seconds.
type rule interface {
	has(t time.Time) bool
	// next is the first match from t on.
	next(t time.Time) (time.Time, bool)
	// until is the first time after t, which matches, that does not.
	until(t time.Time) time.Time
}

// New reads a schedule. What is wrong with it is an *Error.
func New(cfg Config) (*Schedule, error) {
	s := &Schedule{loc: cfg.Location, length: cfg.Length}
	if s.loc == nil {
		s.loc = time.UTC
	}
	if s.length != 0 && (s.length < MinLength || s.length > MaxLength) {
		return nil, &Error{Field: "window duration", Value: s.length.String(), Allowed: "from 1s to 744h"}
	}
	if cfg.Expression == "" {
		d, err := parseDaily(cfg.Start, cfg.Stop)
		if err != nil {
			return nil, err
		}
		if s.length != 0 {
			return nil, &Error{Field: "window duration", Value: s.length.String(), Allowed: "given together with an expression"}
		}
		s.rule = d
		return s, nil
	}
	c, err := parseCron(cfg.Expression)
	if err != nil {
		return nil, err
	}
	s.rule = c
	s.oneShot = s.length == 0 && !c.isWindow()
	s.fixed = (s.oneShot || s.length > 0) && c.fixesHours()
	return s, nil
}

// OneShot is whether matches begin runs, instead of being part of a window.
func (s *Schedule) OneShot() bool { return s.oneShot }

// Contains is whether t is within a window; of a one-shot schedule, whether a run begins in that second.
func (s *Schedule) Contains(t time.Time) bool {
	if s.length > 0 {
		second := time.Unix(t.Unix(), 0)
		begin := s.match(second.Add(-s.length))
		return !begin.IsZero() && !begin.After(second)
	}
	if s.fixed {
		return s.match(t.Add(-time.Second)).Unix() == t.Unix()
	}
	return s.rule.has(naive(t.In(s.loc)))
}

// Next is the first whole second after t that Contains holds for, zero if there is none before the year 2101.
func (s *Schedule) Next(t time.Time) time.Time {
	if following := time.Unix(t.Unix()+1, 0).In(s.loc); s.length > 0 && s.Contains(following) {
		return following
	}
	return s.match(t)
}

// Until is when the window that contains t ends; zero if that is not foreseeable, and for times outside.
func (s *Schedule) Until(t time.Time) time.Time {
	if s.oneShot || !s.Contains(t) {
		return time.Time{}
	}
	if s.length > 0 {
		return s.untilLength(t)
	}
	u := t.Unix()
	for range maxSegments {
		at := time.Unix(u, 0).In(s.loc)
		_, offset := at.Zone()
		_, end := at.ZoneBounds()
		v := s.rule.until(naive(at)).Unix() - int64(offset)
		if end.IsZero() || v < end.Unix() {
			closes := time.Unix(v, 0).In(s.loc)
			if closes.Year() > lastYear {
				return time.Time{}
			}
			return closes
		}
		// The clock is set before the window ends: look on from there.
		if u = end.Unix(); !s.rule.has(naive(end)) {
			return end
		}
	}
	return time.Time{}
}

// untilLength follows windows that overlap or touch to the end of the last.
func (s *Schedule) untilLength(t time.Time) time.Time {
	const foreseen = 100 // windows; more in a row are as good as always
	begin := s.match(time.Unix(t.Unix(), 0).Add(-s.length))
	for range foreseen {
		end := begin.Add(s.length)
		following := s.match(begin)
		if following.IsZero() || following.After(end) {
			return end
		}
		begin = following
	}
	return time.Time{}
}

const (
	// lastYear is the last that an expression can name.
	lastYear = 2100
	// maxSegments bounds a search by the changes of the clock that it passes: no zone has over two a year.
	maxSegments = 400
)

// match is the first match after t. Between two changes of the clock local time is that of UTC plus a constant,
// so the rule is asked once for each such stretch.
func (s *Schedule) match(t time.Time) time.Time {
	u := t.Unix() + 1
	for range maxSegments {
		at := time.Unix(u, 0).In(s.loc)
		_, offset := at.Zone()
		begin, end := at.ZoneBounds()
		from := naive(at)
		if s.fixed && !begin.IsZero() {
			_, before := begin.Add(-time.Second).Zone()
			old := time.Unix(begin.Unix()+int64(before), 0).UTC() // what the clock would show unchanged
			if n, ok := s.rule.next(old); begin.Unix() == u && ok && n.Before(from) {
				return begin // skipped by the clock
			}
			if from.Before(old) {
				from = old // shown a second time
			}
		}
		// No change of a clock is near to two days, so what is further away can be approached in one step.
		const near = 48 * time.Hour
		n, ok := s.rule.next(from)
		if !ok {
			if n, ok = s.rule.next(from.Add(-near)); !ok {
				return time.Time{}
			}
		} else if v := n.Unix() - int64(offset); end.IsZero() || v < end.Unix() {
			return time.Unix(v, 0).In(s.loc)
		}
		if end.IsZero() || end.Year() > lastYear+1 {
			return time.Time{}
		}
		u = max(end.Unix(), n.Add(-near).Unix())
	}
	return time.Time{}
}

// naive is what the clock on the wall shows at t, as if it were UTC.
func naive(t time.Time) time.Time {
	_, offset := t.Zone()
	return time.Unix(t.Unix()+int64(offset), 0).UTC()
}
