// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agent

import (
	"fmt"
	"strings"

	"github.com/drydock-os/drydock/internal/hostapi"
)

// checked returns what a host says of itself, if it can be reported: a status with another version than a semantic one is
// refused by Kubernetes, and one that cannot be written would keep the agent from ever writing another.
func checked(os hostapi.OS) (hostapi.OS, error) {
	if !isVersion(os.VersionID) {
		return hostapi.OS{}, fmt.Errorf("the host says that it runs %q, which is no version", clipTo(os.VersionID, maxWord))
	}
	os.Slot, os.BootID = clipTo(os.Slot, maxWord), clipTo(os.BootID, maxWord)
	return os, nil
}

// isVersion reports whether s is a semantic version (semver.org) without a leading v, of bearable length.
func isVersion(s string) bool {
	if len(s) > maxWord {
		return false
	}
	s, build, hasBuild := strings.Cut(s, "+")
	core, pre, hasPre := strings.Cut(s, "-")
	numbers := strings.Split(core, ".")
	if len(numbers) != 3 {
		return false
	}
	for _, n := range numbers {
		if !isNumber(n) {
			return false
		}
	}
	return (!hasPre || areWords(pre, true)) && (!hasBuild || areWords(build, false))
}

// areWords reports whether s is a list of words; numeric is whether those of digits alone must be numbers.
func areWords(s string, numeric bool) bool {
	for word := range strings.SplitSeq(s, ".") {
		if word == "" || !only(word, func(c rune) bool { return isDigit(c) || c == '-' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }) {
			return false
		}
		if numeric && only(word, isDigit) && !isNumber(word) {
			return false
		}
	}
	return true
}

// isNumber reports whether s is a number without a leading zero.
func isNumber(s string) bool {
	return s != "" && only(s, isDigit) && (s == "0" || s[0] != '0')
}

func isDigit(c rune) bool { return '0' <= c && c <= '9' }

// only reports whether all characters of s are of one kind.
func only(s string, kind func(rune) bool) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return !kind(c) })
}
