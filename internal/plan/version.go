// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package plan

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Limit is a number of nodes that may be updated at the same time. Zero starts nothing.
type Limit int

// Unlimited starts every node that is ready.
const Unlimited Limit = math.MaxInt

// ParseLimit reads a limit: a whole number from 0, or "unlimited" in any letter case.
func ParseLimit(s string) (Limit, error) {
	if strings.EqualFold(s, "unlimited") {
		return Unlimited, nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%q is neither a whole number from 0 to %d nor \"unlimited\"", s, math.MaxInt32)
	}
	return Limit(n), nil
}

// String prints what ParseLimit reads.
func (l Limit) String() string {
	if l == Unlimited {
		return "unlimited"
	}
	return strconv.Itoa(int(l))
}

// maxVersion bounds the bytes of a version; no real one comes near it.
const maxVersion = 256

// validVersion is whether s is a semantic version (semver.org 2.0.0) without a leading v. Numbers may be of
// any size: versions are only ever compared for being the same.
func validVersion(s string) bool {
	if len(s) > maxVersion {
		return false
	}
	s, build, hasBuild := strings.Cut(s, "+")
	if hasBuild && !validIdentifiers(build, false) {
		return false
	}
	s, pre, hasPre := strings.Cut(s, "-")
	if hasPre && !validIdentifiers(pre, true) {
		return false
	}
	major, s, ok1 := strings.Cut(s, ".")
	minor, patch, ok2 := strings.Cut(s, ".")
	return ok1 && ok2 && validNumber(major) && validNumber(minor) && validNumber(patch)
}

// validIdentifiers is whether s is a list of identifiers between dots. In a pre-release a number has no
// leading zero.
func validIdentifiers(s string, pre bool) bool {
	for id := range strings.SplitSeq(s, ".") {
		digits := true
		for i := range len(id) {
			switch c := id[i]; {
			case c >= '0' && c <= '9':
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-':
				digits = false
			default:
				return false
			}
		}
		if id == "" || pre && digits && !validNumber(id) {
			return false
		}
	}
	return true
}

func validNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != "" && (s == "0" || s[0] != '0')
}
