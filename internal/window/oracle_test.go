// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package window

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// oracle is an expression as plain lists of values, which it matches one by one.
type oracle struct {
	text   string
	values [7][]int
}

// drawOracle makes an expression together with what it means, without the parser.
func drawOracle(t *rapid.T) oracle {
	var o oracle
	var parts []string
	for i, f := range fields {
		text, values := "*", upTo(f.min, f.max, 1)
		kinds := 4
		if i > 2 {
			kinds = 12 // mostly all days, so that something matches within the time that is tried
		}
		switch rapid.IntRange(0, kinds).Draw(t, f.name) {
		case 0: // a few values
			values = rapid.SliceOfNDistinct(rapid.IntRange(f.min, f.max), 1, 3, rapid.ID[int]).Draw(t, "values")
			if f.name == "year" { // near the times that are tried
				values = []int{2026, 2027}
			}
			var names []string
			for _, v := range values {
				names = append(names, spell(t, f, v))
			}
			text = strings.Join(names, ",")
		case 1: // a range with a step
			a := rapid.IntRange(f.min, f.max).Draw(t, "from")
			b := rapid.IntRange(a, f.max).Draw(t, "to")
			step := rapid.IntRange(1, 5).Draw(t, "step")
			text, values = fmt.Sprintf("%s-%s/%d", spell(t, f, a), spell(t, f, b), step), upTo(a, b, step)
		case 2: // a step from a value
			a := rapid.IntRange(f.min, f.max).Draw(t, "from")
			step := rapid.IntRange(1, 20).Draw(t, "step")
			text, values = fmt.Sprintf("%d/%d", a, step), upTo(a, f.max, step)
		}
		o.values[i] = values
		parts = append(parts, text)
	}
	o.text = strings.Join(parts, " ")
	return o
}

func spell(t *rapid.T, f field, v int) string {
	if f.names == nil || rapid.Bool().Draw(t, "number") {
		return fmt.Sprint(v)
	}
	name := f.names[v-f.min]
	if rapid.Bool().Draw(t, "short") {
		name = name[:3]
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

func upTo(a, b, step int) (values []int) {
	for v := a; v <= b; v += step {
		values = append(values, v)
	}
	return values
}

func (o oracle) matches(local time.Time) bool {
	h, m, s := local.Clock()
	y, mon, d := local.Date()
	for i, v := range []int{s, m, h, d, int(mon), int(local.Weekday()) + 1, y} {
		if !slices.Contains(o.values[i], v) {
			return false
		}
	}
	return true
}

// zones change their clocks by an hour, by half of one, at midnight, far from Greenwich, and not at all.
var zones = []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kolkata"}

// TestNextAgreesWithTryingEverySecond compares the search with a search that knows nothing.
func TestNextAgreesWithTryingEverySecond(t *testing.T) {
	const span = 60 * 60 // seconds that are tried
	rapid.Check(t, func(t *rapid.T) {
		o := drawOracle(t)
		loc, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		length := time.Duration(rapid.SampledFrom([]int{0, 0, 1, 90, 3600}).Draw(t, "length")) * time.Second
		s, err := New(Config{Expression: o.text, Location: loc, Length: length})
		if err != nil {
			t.Fatalf("%q: %v", o.text, err)
		}
		now := drawTime(t, loc)

		// The oracle knows which seconds begin something, by what the clock shows before and after each.
		open := func(u int64) bool {
			begins := func(u int64) bool { return o.matches(time.Unix(u, 0).In(loc)) }
			if s.fixed {
				begins = func(u int64) bool { return o.beginsOnce(u, loc) }
			}
			for back := range max(1, int64(length/time.Second)) {
				if begins(u - back) {
					return true
				}
			}
			return false
		}
		tried := int64(span)
		if length > time.Second {
			tried = 60 // each second looks back over the whole length
		}
		got := s.Next(now)
		for u := now.Unix() + 1; u <= now.Unix()+tried; u++ {
			if want := open(u); want != (got.Unix() == u) {
				t.Fatalf("%q in %v, length %v: after %v comes %v; at %v trying says %v", o.text, loc, length, now, got, time.Unix(u, 0).In(loc), want)
			} else if want {
				break
			}
		}
		if s.Contains(now) != open(now.Unix()) {
			t.Fatalf("%q in %v, length %v: contains %v is %v", o.text, loc, length, now, s.Contains(now))
		}
		if end := s.Until(now); !end.IsZero() {
			for u := now.Unix(); u <= min(end.Unix(), now.Unix()+tried); u++ {
				if open(u) != (u < end.Unix()) {
					t.Fatalf("%q in %v, length %v: until %v from %v; at %v trying says otherwise", o.text, loc, length, end, now, time.Unix(u, 0).In(loc))
				}
			}
		}
	})
}

// beginsOnce is whether what names its hours begins at u: when the clock shows a matching time that it has not
// shown in the last hours, or has just skipped one.
func (o oracle) beginsOnce(u int64, loc *time.Location) bool {
	shown := naive(time.Unix(u, 0).In(loc))
	before := naive(time.Unix(u-1, 0).In(loc))
	for skipped := before.Add(time.Second); skipped.Before(shown); skipped = skipped.Add(time.Second) {
		if o.matches(skipped) {
			return true
		}
	}
	if !o.matches(shown) {
		return false
	}
	const change = 60 * 60 // seconds; the zones here change by no more
	_, offset := time.Unix(u, 0).In(loc).Zone()
	_, earlier := time.Unix(u-change, 0).In(loc).Zone()
	return offset >= earlier || naive(time.Unix(u-int64(earlier-offset), 0).In(loc)) != shown
}

// drawTime prefers moments around changes of the clock.
func drawTime(t *rapid.T, loc *time.Location) time.Time {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 2*365*24*3600).Draw(t, "second")) * time.Second)
	if _, end := start.In(loc).ZoneBounds(); !end.IsZero() && rapid.Bool().Draw(t, "near a change") {
		return end.Add(time.Duration(rapid.IntRange(-3900, 3700).Draw(t, "off")) * time.Second)
	}
	return start.In(loc)
}

// FuzzNew holds every schedule that is accepted to what its answers mean to each other.
func FuzzNew(f *testing.F) {
	for _, text := range []string{"* * * * * * *", "0 0 3 13 * Fri", "@weekly", "0 0 0 30 2 *", "10/20 1-5,7 */3 ? jan-Dec/2 mon,TUESDAY 2026", "* * * * *", "0 0 0 ? * 0", "59-0 * * * * *", "0/0 * * * * *"} {
		f.Add(text, int64(1772366400), 0)
	}
	f.Add("0 30 2 * * *", int64(1774746000), 3600)
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, unix int64, length int) {
		s, err := New(Config{Expression: text, Location: berlin, Length: time.Duration(length) * time.Second})
		if err != nil {
			var wrong *Error
			if text != "" && !errors.As(err, &wrong) {
				t.Fatalf("%q: %v is no *Error", text, err)
			}
			return
		}
		now := time.Unix(unix%(1<<32), 0)
		next := s.Next(now)
		if !next.IsZero() && (!next.After(now) || !s.Contains(next)) {
			t.Errorf("%q: after %v comes %v, contained: %v", text, now, next, s.Contains(next))
		}
		if end := s.Until(now); !end.IsZero() && (s.Contains(end) || !s.Contains(end.Add(-time.Second)) || !end.After(now)) {
			t.Errorf("%q: from %v it lasts until %v", text, now, end)
		}
	})
}
