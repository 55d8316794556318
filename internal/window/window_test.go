// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package window

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func mustNew(t testing.TB, cfg Config) *Schedule {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatalf("New(%+v): %v", cfg, err)
	}
	return s
}

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func at(t testing.TB, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestTheDialect holds the parser to expressions that other libraries read differently or refuse.
func TestTheDialect(t *testing.T) {
	const from = "2026-03-01T12:00:00Z" // a Sunday
	tests := []struct {
		expression string
		oneShot    bool
		next       []string // the following matches
	}{
		{"* * * * * * *", false, []string{"2026-03-01T12:00:01Z", "2026-03-01T12:00:02Z"}},
		{"0 0 3 13 * Fri", true, []string{"2026-03-13T03:00:00Z", "2026-11-13T03:00:00Z", "2027-08-13T03:00:00Z"}},
		{"0 0 3 * * 1", true, []string{"2026-03-08T03:00:00Z", "2026-03-15T03:00:00Z"}},
		{"0 0 3 * * 7", true, []string{"2026-03-07T03:00:00Z"}},
		{"0 0 3 ? * Sunday", true, []string{"2026-03-08T03:00:00Z"}},
		{"10/20 0 0 1 1 ?", true, []string{"2027-01-01T00:00:10Z", "2027-01-01T00:00:30Z", "2027-01-01T00:00:50Z", "2028-01-01T00:00:10Z"}},
		{"0 0 12 1 Feb-November/2 * 2027-2030", true, []string{"2027-02-01T12:00:00Z", "2027-04-01T12:00:00Z"}},
		{"0 0 0 30 2 *", true, []string{""}},
		{"@weekly", true, []string{"2026-03-08T00:00:00Z"}},
		{"0 30 9,12,15 1,15 May-August Mon,Wed,Fri 2018/2", true, []string{"2026-05-01T09:30:00Z", "2026-05-01T12:30:00Z"}},
		{"* * 10-12 * * Mon", false, []string{"2026-03-02T10:00:00Z", "2026-03-02T10:00:01Z"}},
		{"  0  0 10 * *   mOn ", true, []string{"2026-03-02T10:00:00Z"}},
		{"0 0 0 29 2 * ", true, []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
		{"0 0 0 1 1 * 2026", true, []string{""}},
		{"0 0 0 1 6 * 2026", true, []string{"2026-06-01T00:00:00Z", ""}},
		{"59 59 23 31 12 * 2100", true, []string{"2100-12-31T23:59:59Z", ""}},
		{"0 0 0 * * tues,Thurs", true, []string{"2026-03-03T00:00:00Z", "2026-03-05T00:00:00Z"}},
		{"0 */90 * * * *", true, []string{"2026-03-01T13:00:00Z"}},
		{"0 0 0 * * Mon-Fri/2", true, []string{"2026-03-02T00:00:00Z", "2026-03-04T00:00:00Z", "2026-03-06T00:00:00Z"}},
		{"0-29 0 0 * * *", false, []string{"2026-03-02T00:00:00Z"}},
	}
	for _, tt := range tests {
		s := mustNew(t, Config{Expression: tt.expression})
		if s.OneShot() != tt.oneShot {
			t.Errorf("%q: one-shot %v, want %v", tt.expression, s.OneShot(), tt.oneShot)
		}
		now := at(t, from)
		for _, want := range tt.next {
			got := s.Next(now)
			if want == "" {
				if !got.IsZero() {
					t.Errorf("%q: after %v comes %v, want nothing", tt.expression, now, got)
				}
				break
			}
			if !got.Equal(at(t, want)) {
				t.Errorf("%q: after %v comes %v, want %v", tt.expression, now, got, want)
				break
			}
			now = got
		}
	}
}

func TestWrongExpressionsAreExplained(t *testing.T) {
	tests := []struct{ expression, field, allowed string }{
		{"0 0 3 * *", "schedule", "6 or 7 fields"},
		{"0 0 3 * * * * *", "schedule", "6 or 7 fields"},
		{" ", "schedule", "6 or 7 fields"},
		{"@reboot", "schedule", "@hourly"},
		{"@every 5m", "schedule", "@hourly"},
		{strings.Repeat("*", 2000), "schedule", "1024 bytes"},
		{"60 0 3 * * *", "second", "0 to 59"},
		{"0 -1 3 * * *", "minute", "0 to 59"},
		{"0 0 24 * * *", "hour", "0 to 23"},
		{"0 0 ? * * *", "hour", "0 to 23"},
		{"0 0 3 0 * *", "day of month", "1 to 31"},
		{"0 0 3 L * *", "day of month", "1 to 31"},
		{"0 0 3 15W * *", "day of month", "1 to 31"},
		{"0 0 3 * 13 *", "month", "January to December"},
		{"0 0 3 * Febr *", "month", "January to December"},
		{"0 0 3 * * 0", "day of week", "1 is Sunday"},
		{"0 0 3 * * 8", "day of week", "1 to 7"},
		{"0 0 3 * * Sat-Sun", "day of week", "a <= b"},
		{"0 0 3 * * Mon/2", "day of week", "steps"},
		{"0 0 3 * * 6#2", "day of week", "1 to 7"},
		{"0 0 3 * * * 1969", "year", "1970 to 2100"},
		{"0 0 3 * * * 2101", "year", "1970 to 2100"},
		{"*/0 0 3 * * *", "second", "n >= 1"},
		{"1,,2 0 3 * * *", "second", "lists"},
		{"+5 0 3 * * *", "second", "0 to 59"},
		{"0 10-5 3 * * *", "minute", "a <= b"},
		{"99999999999999999999 * * * * *", "second", "0 to 59"},
	}
	for _, tt := range tests {
		_, err := New(Config{Expression: tt.expression})
		var wrong *Error
		if !errors.As(err, &wrong) || wrong.Field != tt.field || !strings.Contains(err.Error(), tt.allowed) || wrong.Value == "" && tt.field != "schedule" {
			t.Errorf("%.40q: error %v, want one about %s that allows %s", tt.expression, err, tt.field, tt.allowed)
		}
	}
}

// TestD47TheKindOfAScheduleDoesNotDependOnTheMoment is the fault where a start in the last second of a window
// made the schedule one-shot for ever.
func TestD47TheKindOfAScheduleDoesNotDependOnTheMoment(t *testing.T) {
	s := mustNew(t, Config{Expression: "* * 10-12 * * Mon"})
	last := at(t, "2026-03-02T12:59:59Z")
	if s.OneShot() || !s.Contains(last) || s.Contains(last.Add(time.Second)) {
		t.Error("in its last second the window is not seen as one that ends now")
	}
	if got := s.Until(at(t, "2026-03-02T10:00:00Z")); !got.Equal(last.Add(time.Second)) {
		t.Errorf("the window ends at %v, want 13:00", got)
	}
}

// TestD48OneDateIsASchedule is the fault where fewer than two matches to come stopped the controller.
func TestD48OneDateIsASchedule(t *testing.T) {
	s := mustNew(t, Config{Expression: "0 0 3 24 12 * 2026"})
	if got := s.Next(at(t, "2026-03-01T00:00:00Z")); !got.Equal(at(t, "2026-12-24T03:00:00Z")) {
		t.Errorf("next %v", got)
	}
	if got := s.Next(at(t, "2027-01-01T00:00:00Z")); !got.IsZero() {
		t.Errorf("next %v, want never", got)
	}
}

// TestD49TheLegacyWindowEndsWhenItSays is the fault where the whole stop hour belonged to the window.
func TestD49TheLegacyWindowEndsWhenItSays(t *testing.T) {
	tests := []struct {
		start, stop string
		open        []string
		closed      []string
	}{
		{"08:0:0", "12:30:0", []string{"08:00:00", "12:29:59"}, []string{"07:59:59", "12:30:00", "12:59:59"}},
		{"22:15:30", "4:00:05", []string{"22:15:30", "23:59:59", "00:00:00", "04:00:04"}, []string{"22:15:29", "04:00:05", "12:00:00"}},
		{"0:0:0", "23:59:59", []string{"00:00:00", "23:59:58"}, []string{"23:59:59"}},
	}
	for _, tt := range tests {
		s := mustNew(t, Config{Start: tt.start, Stop: tt.stop})
		for _, clock := range tt.open {
			if now := at(t, "2026-03-01T"+clock+"Z"); !s.Contains(now) || s.OneShot() {
				t.Errorf("%s to %s: closed at %s", tt.start, tt.stop, clock)
			} else if end := s.Until(now); s.Contains(end) || !s.Contains(end.Add(-time.Second)) {
				t.Errorf("%s to %s: ends at %v", tt.start, tt.stop, end)
			}
		}
		for _, clock := range tt.closed {
			now := at(t, "2026-03-01T"+clock+"Z")
			if s.Contains(now) {
				t.Errorf("%s to %s: open at %s", tt.start, tt.stop, clock)
			}
			if next := s.Next(now); !s.Contains(next) || s.Contains(next.Add(-time.Second)) {
				t.Errorf("%s to %s: after %s it opens at %v", tt.start, tt.stop, clock, next)
			}
		}
	}
	for _, bad := range [][2]string{{"24:0:0", "1:0:0"}, {"8:00", "9:00:00"}, {"", "9:0:0"}, {"8:0:0", "x"}, {"8:0:0", "08:00:00"}, {"8:0:0", "9:0:0\n"}} {
		if _, err := New(Config{Start: bad[0], Stop: bad[1]}); err == nil || !strings.Contains(err.Error(), "window st") {
			t.Errorf("%q: error %v, want one that names the wrong end", bad, err)
		}
	}
}

func TestD65AWindowWithALengthInAZone(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	s := mustNew(t, Config{Expression: "0 0 22 * * Fri", Length: 6 * time.Hour, Location: berlin})
	for text, open := range map[string]bool{
		"2026-03-06T21:59:59+01:00": false,
		"2026-03-06T22:00:00+01:00": true,
		"2026-03-07T01:00:00+01:00": true, // Saturday: the night of Friday goes on
		"2026-03-07T03:59:59+01:00": true,
		"2026-03-07T04:00:00+01:00": false,
		"2026-03-06T01:00:00+01:00": false, // Friday, but the night of Thursday
	} {
		if got := s.Contains(at(t, text)); got != open {
			t.Errorf("open at %s: %v, want %v", text, got, open)
		}
	}
	if got := s.Until(at(t, "2026-03-07T01:00:00+01:00")); !got.Equal(at(t, "2026-03-07T04:00:00+01:00")) {
		t.Errorf("it ends at %v", got)
	}
	if got := s.Next(at(t, "2026-03-07T04:00:00+01:00")); !got.Equal(at(t, "2026-03-13T22:00:00+01:00")) {
		t.Errorf("it opens next at %v", got)
	}
	overlap := mustNew(t, Config{Expression: "0 0 20-22 * * *", Length: time.Hour})
	if got := overlap.Until(at(t, "2026-03-07T20:30:00Z")); !got.Equal(at(t, "2026-03-07T23:00:00Z")) {
		t.Errorf("windows that touch end at %v, want when the last does", got)
	}
	always := mustNew(t, Config{Expression: "* * * * * *", Length: time.Hour})
	if now := at(t, "2026-03-07T20:30:00Z"); !always.Contains(now) || !always.Until(now).IsZero() {
		t.Error("a window that always begins anew is not always open")
	}
	for _, bad := range []Config{{Expression: "@daily", Length: time.Millisecond}, {Expression: "@daily", Length: -time.Hour}, {Expression: "@daily", Length: 745 * time.Hour}, {Start: "8:0:0", Stop: "9:0:0", Length: time.Hour}} {
		if _, err := New(bad); err == nil || !strings.Contains(err.Error(), "window duration") {
			t.Errorf("%+v: error %v", bad, err)
		}
	}
}

// TestWhatNamesItsHoursHappensOncePerDay walks over both changes of the clock.
func TestWhatNamesItsHoursHappensOncePerDay(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	tests := []struct {
		expression, from string
		want             []string
	}{
		{"0 30 2 * * *", "2026-03-28T12:00:00+01:00", []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"}},
		{"0 30 2 * * *", "2026-10-24T12:00:00+02:00", []string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
		{"0 30 * * * *", "2026-03-29T01:00:00+01:00", []string{"2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"}},
		{"0 30 * * * *", "2026-10-25T02:00:00+02:00", []string{"2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00+01:00"}},
	}
	for _, tt := range tests {
		s := mustNew(t, Config{Expression: tt.expression, Location: berlin})
		now := at(t, tt.from)
		for _, want := range tt.want {
			if now = s.Next(now); !now.Equal(at(t, want)) {
				t.Errorf("%q from %s: %v, want %s", tt.expression, tt.from, now, want)
			}
			if !s.Contains(now) {
				t.Errorf("%q does not contain %v", tt.expression, now)
			}
		}
	}
	long := mustNew(t, Config{Expression: "0 30 2 * * *", Length: time.Hour, Location: berlin})
	if now := at(t, "2026-10-25T02:45:00+01:00"); long.Contains(now) {
		t.Error("the window of an hour opens a second time in the repeated hour")
	}
}

func TestAWindowFollowsTheLocalClock(t *testing.T) {
	newYork := zone(t, "America/New_York")
	s := mustNew(t, Config{Expression: "* * 1-2 * * *", Location: newYork})
	// Nobody sees 2 o'clock in spring, and everybody sees 1 o'clock twice in autumn.
	if got := s.Until(at(t, "2026-03-08T01:30:00-05:00")); !got.Equal(at(t, "2026-03-08T03:00:00-04:00")) {
		t.Errorf("in spring it ends at %v", got)
	}
	if got := s.Until(at(t, "2026-11-01T01:30:00-04:00")); !got.Equal(at(t, "2026-11-01T03:00:00-05:00")) {
		t.Errorf("in autumn it ends at %v", got)
	}
}
