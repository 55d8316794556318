// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package cli gives every Drydock program the same manners on the command line.
//
// An error is printed once, as `prog: error: …`, followed by `prog: hint: …` with the next thing to try when
// somebody along the way knew one. Exit codes are 0 (done), 1 (failed) and 2 (the command line itself is wrong).
// Data goes to stdout and everything about the work to stderr, so that output can be piped.
package cli

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
)

// Exit codes of all programs.
const (
	ExitOK      = 0
	ExitFailure = 1
	ExitUsage   = 2
)

// hintError carries advice beside an error without changing what the error says or is.
type hintError struct {
	error
	hint string
}

func (e *hintError) Unwrap() error { return e.error }

// WithHint attaches the next thing to try to err. A nil err stays nil.
// The outermost hint wins, because it knows most about what the person was doing.
func WithHint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hintError{err, fmt.Sprintf(format, args...)}
}

// Hint returns the advice attached to err, or "".
func Hint(err error) string {
	if h, ok := errors.AsType[*hintError](err); ok {
		return h.hint
	}
	return ""
}

// usageError marks an error as a mistake on the command line.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// Usage marks err as a mistake on the command line: the program exits with ExitUsage. A nil err stays nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{err}
}

// Usagef is Usage(fmt.Errorf(…)).
func Usagef(format string, args ...any) error {
	return Usage(fmt.Errorf(format, args...))
}

// ExitCode tells with which code a program that got err should exit.
func ExitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return ExitUsage
	}
	return ExitFailure
}

// PrintError writes err and its hint to w under the program's name and returns the exit code. A nil err prints
// nothing and returns ExitOK. Further lines of a long error are indented, so that each message stays one block.
func PrintError(w io.Writer, prog string, err error) int {
	if err == nil {
		return ExitOK
	}
	fmt.Fprintf(w, "%s: error: %s\n", prog, indent(err.Error()))
	if hint := Hint(err); hint != "" {
		fmt.Fprintf(w, "%s: hint: %s\n", prog, indent(hint))
	}
	return ExitCode(err)
}

func indent(s string) string {
	return strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n    ")
}

// Count is a number of things in words, such as 1 node or 3 nodes.
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Version is what every program says of its version for --version, after its name and the word version. Those are
// cobra's: with a template of our own, the linker could leave out nothing that a template might call, half a program.
func Version(version string) string {
	return fmt.Sprintf("%s (%s)", version, runtime.Version())
}
