// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package plan

import "strings"

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
