// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package window

import (
	"regexp"
	"strconv"
	"time"
)

// daily is the legacy window: the same part of every day, up to but without its last second. With to before
// from it ends on the next day.
type daily struct{ from, to int } // seconds since midnight

const day = 24 * 60 * 60

// clock is how a time of day was always written.
var clock = regexp.MustCompile(`^(2[0-3]|[01]?[0-9]):([0-5]?[0-9]):([0-5]?[0-9])$`)

func parseDaily(start, stop string) (*daily, error) {
	d := &daily{}
	for _, part := range []struct {
		field, value string
		seconds      *int
	}{{"window start", start, &d.from}, {"window stop", stop, &d.to}} {
		m := clock.FindStringSubmatch(part.value)
		if m == nil {
			return nil, &Error{Field: part.field, Value: part.value, Allowed: "a time of day as hours:minutes:seconds, such as 22:30:0"}
		}
		for _, digits := range m[1:] {
			n, err := strconv.Atoi(digits)
			if err != nil {
				return nil, &Error{Field: part.field, Value: part.value, Allowed: "a time of day as hours:minutes:seconds, such as 22:30:0"}
			}
			*part.seconds = *part.seconds*60 + n
		}
	}
	if d.from == d.to {
		return nil, &Error{Field: "window stop", Value: stop, Allowed: "another time than the window start"}
	}
	return d, nil
}

func (d *daily) has(t time.Time) bool {
	s := secondOfDay(t)
	if d.from < d.to {
		return s >= d.from && s < d.to
	}
	return s >= d.from || s < d.to
}

func (d *daily) next(t time.Time) (time.Time, bool) {
	if d.has(t) {
		return t, true
	}
	return t.Add(time.Duration((d.from-secondOfDay(t)+day)%day) * time.Second), true
}

func (d *daily) until(t time.Time) time.Time {
	return t.Add(time.Duration((d.to-secondOfDay(t)+day)%day) * time.Second)
}

func secondOfDay(t time.Time) int {
	h, m, s := t.Clock()
	return h*3600 + m*60 + s
}
