// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestPrintError(t *testing.T) {
	base := errors.New("disk is full")
	for _, tc := range []struct {
		name string
		err  error
		want string
		code int
	}{
		{"nothing went wrong", nil, "", ExitOK},
		{"plain failure", base, "tool: error: disk is full\n", ExitFailure},
		{"with a hint", WithHint(base, "free %d MiB", 3), "tool: error: disk is full\ntool: hint: free 3 MiB\n", ExitFailure},
		{
			"hint survives wrapping", fmt.Errorf("writing image: %w", WithHint(base, "free some space")),
			"tool: error: writing image: disk is full\ntool: hint: free some space\n", ExitFailure,
		},
		{
			"outer hint wins", WithHint(WithHint(base, "inner"), "outer"),
			"tool: error: disk is full\ntool: hint: outer\n", ExitFailure,
		},
		{"usage", Usagef("unknown flag %q", "--x"), "tool: error: unknown flag \"--x\"\n", ExitUsage},
		{"usage with a hint", WithHint(Usage(base), "see --help"), "tool: error: disk is full\ntool: hint: see --help\n", ExitUsage},
		{"many lines", errors.Join(base, base), "tool: error: disk is full\n    disk is full\n", ExitFailure},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out strings.Builder
			if code := PrintError(&out, "tool", tc.err); code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			if out.String() != tc.want {
				t.Errorf("printed %q, want %q", out.String(), tc.want)
			}
		})
	}
}

func TestOneIsNotMany(t *testing.T) {
	for want, got := range map[string]string{"0 nodes": Count(0, "node"), "1 node": Count(1, "node"), "2 nodes": Count(2, "node")} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestWrappersKeepNilAndIdentity(t *testing.T) {
	if WithHint(nil, "x") != nil || Usage(nil) != nil {
		t.Error("a nil error became an error")
	}
	if !errors.Is(WithHint(Usage(io.EOF), "x"), io.EOF) {
		t.Error("the wrapped error can no longer be recognised")
	}
}
