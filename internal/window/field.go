// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package window

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Error says which part of a schedule is wrong.
type Error struct {
	// Field is what is wrong: a field of the expression, such as "hour", or another part of the schedule.
	Field string
	// Value is the wrong text.
	Value string
	// Allowed says what may be there instead.
	Allowed string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s is %q, but may only be %s", e.Field, e.Value, e.Allowed)
}

// set holds the allowed values of one field, counted from the field's lowest.
type set [3]uint64

func (s *set) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s *set) has(i int) bool { return i >= 0 && i < 192 && s[i/64]&(1<<(i%64)) != 0 }

func (s *set) count() int {
	return bits.OnesCount64(s[0]) + bits.OnesCount64(s[1]) + bits.OnesCount64(s[2])
}

// field is what one field of an expression may hold.
type field struct {
	name     string
	min, max int
	names    []string // of the values from min, in lower case; each may be cut to three letters
	also     map[string]int
	any      bool // whether ? is allowed
}

// fields are those of the expression in their order; the last is optional.
var fields = [...]field{
	{name: "second", min: 0, max: 59},
	{name: "minute", min: 0, max: 59},
	{name: "hour", min: 0, max: 23},
	{name: "day of month", min: 1, max: 31, any: true},
	{name: "month", min: 1, max: 12, names: []string{
		"january", "february", "march", "april", "may", "june",
		"july", "august", "september", "october", "november", "december",
	}},
	{name: "day of week", min: 1, max: 7, any: true, names: []string{
		"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday",
	}, also: map[string]int{"tues": 3, "thurs": 5}},
	{name: "year", min: 1970, max: 2100},
}

// parse reads a list of values, ranges and steps.
func (f *field) parse(text string) (set, error) {
	var s set
	for item := range strings.SplitSeq(text, ",") {
		if !f.parseItem(&s, item) {
			return set{}, &Error{Field: f.name, Value: text, Allowed: f.allowed()}
		}
	}
	return s, nil
}

// parseItem adds the values of one element of a list, and returns whether it was one.
func (f *field) parseItem(s *set, item string) bool {
	base, stepText, stepped := strings.Cut(item, "/")
	step := 1
	if stepped {
		n, ok := number(stepText)
		if !ok || n == 0 {
			return false
		}
		step = n
	}
	from, to, ranged := strings.Cut(base, "-")
	first, last := f.min, f.max
	switch {
	case base == "*" || base == "?" && f.any:
	case ranged:
		var ok1, ok2 bool
		first, _, ok1 = f.value(from)
		last, _, ok2 = f.value(to)
		if !ok1 || !ok2 || first > last {
			return false
		}
	default:
		v, named, ok := f.value(base)
		if !ok || named && stepped {
			return false
		}
		first = v
		if !stepped {
			last = v
		}
	}
	for v := first; v <= last; v += step {
		s.add(v - f.min)
	}
	return true
}

// value reads one number or name.
func (f *field) value(text string) (v int, named, ok bool) {
	if n, ok := number(text); ok {
		return n, false, n >= f.min && n <= f.max
	}
	lower := strings.ToLower(text)
	for i, name := range f.names {
		if lower == name || lower == name[:3] {
			return f.min + i, true, true
		}
	}
	v, ok = f.also[lower]
	return v, true, ok
}

// number reads a whole number of digits alone. The ceiling keeps steps far from overflowing.
func number(text string) (int, bool) {
	const ceiling = 1 << 20
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || text[0] == '+' {
		return 0, false
	}
	return int(min(n, ceiling)), true
}

func (f *field) allowed() string {
	text := fmt.Sprintf("numbers from %d to %d", f.min, f.max)
	if len(f.names) > 0 {
		first, last := f.names[0], f.names[len(f.names)-1]
		text += fmt.Sprintf(" or names from %s to %s", strings.ToUpper(first[:1])+first[1:], strings.ToUpper(last[:1])+last[1:])
		if f.name == "day of week" {
			text += " (1 is Sunday)"
		}
	}
	text += ", * for all"
	if f.any {
		text += " (also written ?)"
	}
	return text + ", ranges a-b with a <= b, steps */n, a/n or a-b/n with n >= 1, and lists of these with commas"
}
