// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package store

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrKey means that a text is not the name of a key.
var ErrKey = errors.New("invalid key")

const (
	maxKey      = 255 // bytes of a whole name, as the format has it
	maxFileName = 255 // bytes of a file name, as Linux has it
)

// Key names one value: segments from the outside in. Keys compare with ==, by their segments and not by how somebody
// spelled them.
type Key struct {
	name string // canonical: segments joined by dots, those with a dot inside in double quotes
}

// ParseKey reads a dotted name such as settings.motd or settings.kubernetes.node-labels."a.b/c". Segments consist of
// ASCII letters, digits, _, - and /, and inside double quotes of dots as well. It returns ErrKey with the reason.
func ParseKey(name string) (Key, error) {
	refuse := func(why string) (Key, error) { return Key{}, fmt.Errorf("%w: %s", ErrKey, why) }
	if len(name) > maxKey {
		return refuse(fmt.Sprintf("%d bytes, more than %d", len(name), maxKey))
	}
	var segments []string
	var segment []byte
	quoted := false
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '"':
			quoted = !quoted
		case c == '.' && !quoted:
			if len(segment) == 0 {
				return refuse("empty segment")
			}
			segments = append(segments, string(segment))
			segment = segment[:0]
		case c == '.' || inSegment(c):
			segment = append(segment, c)
		default:
			return refuse(fmt.Sprintf("character %q is not allowed", rune(c)))
		}
	}
	switch {
	case quoted:
		return refuse("unbalanced quotes")
	case len(segment) == 0:
		return refuse("empty segment")
	}
	return NewKey(append(segments, string(segment))...)
}

// NewKey makes a key of its segments. It returns ErrKey with the reason.
func NewKey(segments ...string) (Key, error) {
	if len(segments) == 0 {
		return Key{}, fmt.Errorf("%w: no segments", ErrKey)
	}
	var name strings.Builder
	for i, s := range segments {
		if s == "" {
			return Key{}, fmt.Errorf("%w: empty segment", ErrKey)
		}
		for j := range len(s) {
			if s[j] != '.' && !inSegment(s[j]) {
				return Key{}, fmt.Errorf("%w: character %q is not allowed", ErrKey, rune(s[j]))
			}
		}
		if len(encode(s)) > maxFileName {
			return Key{}, fmt.Errorf("%w: segment %q is too long for a file name", ErrKey, s)
		}
		if i > 0 {
			name.WriteByte('.')
		}
		if strings.Contains(s, ".") {
			s = `"` + s + `"`
		}
		name.WriteString(s)
	}
	if name.Len() > maxKey {
		return Key{}, fmt.Errorf("%w: %d bytes, more than %d", ErrKey, name.Len(), maxKey)
	}
	return Key{name.String()}, nil
}

func inSegment(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '/'
}

// String returns the canonical spelling: segments that contain a dot are quoted, no others.
func (k Key) String() string { return k.name }

// Segments returns the segments without quotes.
func (k Key) Segments() []string {
	if !strings.Contains(k.name, `"`) {
		return strings.Split(k.name, ".")
	}
	var segments []string
	for rest := k.name; rest != ""; {
		var segment string
		if after, ok := strings.CutPrefix(rest, `"`); ok {
			segment, rest, _ = strings.Cut(after, `"`)
			rest = strings.TrimPrefix(rest, ".")
		} else {
			segment, rest, _ = strings.Cut(rest, ".")
		}
		segments = append(segments, segment)
	}
	return segments
}

// Below reports whether k is outer or lies inside of it, segment by segment.
func (k Key) Below(outer Key) bool {
	return k == outer || strings.HasPrefix(k.name, outer.name+".")
}

func compareKeys(a, b Key) int { return cmp.Compare(a.name, b.name) }

// SortKeys puts keys into the order of their canonical spelling, in place, and returns them.
func SortKeys(keys []Key) []Key {
	slices.SortFunc(keys, compareKeys)
	return keys
}

// encode writes a segment, or the name of a transaction, as a file name: every byte but ASCII letters, digits, _ and -
// as % and two upper-case hexadecimal digits.
func encode(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c != '/' && inSegment(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// decode is the reverse of encode. It reports false for a name that encode never makes.
func decode(name string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c == '%' {
			if i+2 >= len(name) {
				return "", false
			}
			high, low := strings.IndexByte(hexDigits, name[i+1]), strings.IndexByte(hexDigits, name[i+2])
			if high < 0 || low < 0 {
				return "", false
			}
			c = byte(high<<4 | low)
			i += 2
		}
		b.WriteByte(c)
	}
	return b.String(), encode(b.String()) == name && name != ""
}

const hexDigits = "0123456789ABCDEF"
