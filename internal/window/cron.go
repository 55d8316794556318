// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package window

import (
	"strings"
	"time"
)

// maxExpression bounds the bytes of an expression; real ones have below a hundred.
const maxExpression = 1024

// shorthands are the expressions that have a name.
var shorthands = map[string]string{
	"@yearly":  "0 0 0 1 1 * *",
	"@monthly": "0 0 0 1 * * *",
	"@weekly":  "0 0 0 * * 1 *",
	"@daily":   "0 0 0 * * * *",
	"@hourly":  "0 0 * * * * *",
}

// cron is a parsed expression: a moment matches when all its parts do, day of month and day of week alike.
type cron struct {
	second, minute, hour, day, month, weekday, year set
}

func parseCron(expression string) (*cron, error) {
	const whole = "schedule"
	if len(expression) > maxExpression {
		return nil, &Error{Field: whole, Value: expression[:32] + "…", Allowed: "at most 1024 bytes long"}
	}
	text := strings.TrimSpace(expression)
	if strings.HasPrefix(text, "@") {
		long, ok := shorthands[text]
		if !ok {
			return nil, &Error{Field: whole, Value: text, Allowed: "@yearly, @monthly, @weekly, @daily, @hourly or an expression of 6 or 7 fields"}
		}
		text = long
	}
	parts := strings.Fields(text)
	if n := len(parts); n != len(fields) && n != len(fields)-1 {
		return nil, &Error{Field: whole, Value: expression, Allowed: "6 or 7 fields: second, minute, hour, day of month, month, day of week and optionally year"}
	}
	if len(parts) < len(fields) {
		parts = append(parts, "*")
	}
	c := &cron{}
	for i, target := range []*set{&c.second, &c.minute, &c.hour, &c.day, &c.month, &c.weekday, &c.year} {
		s, err := fields[i].parse(parts[i])
		if err != nil {
			return nil, err
		}
		*target = s
	}
	return c, nil
}

// isWindow is whether two matching seconds can follow each other within a minute.
func (c *cron) isWindow() bool {
	for s := range 59 {
		if c.second.has(s) && c.second.has(s+1) {
			return true
		}
	}
	return false
}

// fixesHours is whether some hour of the day never matches.
func (c *cron) fixesHours() bool { return c.hour.count() < 24 }

func (c *cron) hasDay(t time.Time) bool {
	return c.year.has(t.Year()-1970) && c.month.has(int(t.Month())-1) && c.day.has(t.Day()-1) && c.weekday.has(int(t.Weekday()))
}

func (c *cron) has(t time.Time) bool {
	return c.second.has(t.Second()) && c.minute.has(t.Minute()) && c.hour.has(t.Hour()) && c.hasDay(t)
}

// next finds the largest part of the time that does not match, moves on to where it may, and starts over.
func (c *cron) next(t time.Time) (time.Time, bool) {
	if t.Year() < 1970 {
		t = date(1970, 1, 1)
	}
	for t.Year() <= 2100 {
		y, m, d := t.Date()
		switch {
		case !c.year.has(y - 1970):
			t = date(y+1, 1, 1)
		case !c.month.has(int(m) - 1):
			t = date(y, m+1, 1)
		case !c.hasDay(t):
			t = date(y, m, d+1)
		case !c.hour.has(t.Hour()):
			t = t.Truncate(time.Hour).Add(time.Hour)
		case !c.minute.has(t.Minute()):
			t = t.Truncate(time.Minute).Add(time.Minute)
		case !c.second.has(t.Second()):
			t = t.Add(time.Second)
		default:
			return t, true
		}
	}
	return time.Time{}, false
}

// until is the first time after t, which matches, that does not. The parts are looked at one by one: all of
// them match now, so the first that ends is the end.
func (c *cron) until(t time.Time) time.Time {
	end := date(2101, 1, 1)
	for _, part := range []struct {
		allowed *set
		unit    time.Duration
		now, of int
	}{{&c.second, time.Second, t.Second(), 60}, {&c.minute, time.Minute, t.Minute(), 60}, {&c.hour, time.Hour, t.Hour(), 24}} {
		for k := 1; k <= part.of; k++ {
			if !part.allowed.has((part.now + k) % part.of) {
				end = earlier(end, t.Truncate(part.unit).Add(time.Duration(k)*part.unit))
				break
			}
		}
	}
	// A day of the month, a month or a day of the week that is left out comes within this many days.
	const days = 366
	y, m, d := t.Date()
	for k := 1; k <= days; k++ {
		if day := date(y, m, d+k); !c.hasDay(day) {
			return earlier(end, day)
		}
	}
	for ; c.year.has(y - 1970); y++ {
	}
	return earlier(end, date(y, 1, 1))
}

func date(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
