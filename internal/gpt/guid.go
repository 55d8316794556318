// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package gpt

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// GUID is a globally unique identifier in the byte order of its text form. (On disk the first three
// groups are little-endian; the package converts.) The zero GUID marks an unused partition entry.
type GUID [16]byte

// ParseGUID reads the form 01234567-89ab-cdef-0123-456789abcdef, in either case.
func ParseGUID(s string) (GUID, error) {
	var g GUID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return GUID{}, fmt.Errorf("parsing GUID %.40q: want 8-4-4-4-12 hexadecimal digits", s)
	}
	digits := strings.ReplaceAll(s, "-", "")
	if len(digits) != 32 {
		return GUID{}, fmt.Errorf("parsing GUID %.40q: want 8-4-4-4-12 hexadecimal digits", s)
	}
	if _, err := hex.Decode(g[:], []byte(digits)); err != nil {
		return GUID{}, fmt.Errorf("parsing GUID %.40q: %w", s, err)
	}
	return g, nil
}

// MustParseGUID is ParseGUID for constants of the program; it panics on malformed text.
func MustParseGUID(s string) GUID {
	g, err := ParseGUID(s)
	if err != nil {
		panic(err)
	}
	return g
}

// String returns the lower-case text form.
func (g GUID) String() string {
	h := hex.EncodeToString(g[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// IsZero tells whether g is the zero GUID, which marks an unused entry.
func (g GUID) IsZero() bool { return g == GUID{} }

// swapped exchanges text order and disk order; it is its own inverse.
func (g GUID) swapped() GUID {
	return GUID{
		g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6],
		g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15],
	}
}
