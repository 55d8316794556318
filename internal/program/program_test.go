// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package program

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
)

// run runs a program with one command, which does something.
func run(t *testing.T, kind Kind, do func(context.Context) error, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	root := New(&cobra.Command{Use: "prog", Short: "Try"}, "1.2.3", &out, &errs)
	root.AddCommand(&cobra.Command{Use: "walk", Args: NoArguments, RunE: NoCommand})
	root.AddCommand(&cobra.Command{Use: "work", Args: NoArguments, RunE: func(c *cobra.Command, _ []string) error { return do(c.Context()) }})
	code = Run(t.Context(), root, args, kind)
	return code, out.String(), errs.String()
}

func TestTheEndOfAProgram(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		args   string
		code   int
		stdout string
		stderr string
	}{
		{"done", nil, "work", 0, "", ""},
		{"failed", errors.New("no disk"), "work", 1, "", "prog: error: no disk\n"},
		{"has said it all", ExitCode(7), "work", 7, "", ""},
		{"asks for its version", nil, "--version", 0, "prog version 1.2.3 (go", ""},
		{"no command", nil, "", 2, "", "prog: error: no command given\nprog: hint: see 'prog --help'\n"},
		{"no such command", nil, "fly", 2, "", "prog: error: prog has no command \"fly\"\nprog: hint: 'prog --help' lists the commands\n"},
		{"one that is nearly there", nil, "wolk", 2, "", "prog: error: prog has no command \"wolk\"\nprog: hint: did you mean 'prog walk' or 'prog work'? 'prog --help' lists the commands\n"},
		{"no such flag", nil, "work --fly", 2, "", "prog: error: unknown flag: --fly\nprog: hint: see 'prog work --help'\n"},
		{"an argument too many", nil, "work hard", 2, "", "prog: error: prog work takes no argument, but got \"hard\"\nprog: hint: see 'prog work --help'\n"},
	} {
		code, stdout, stderr := run(t, Task, func(context.Context) error { return c.err }, strings.Fields(c.args)...)
		if code != c.code || !strings.HasPrefix(stdout, c.stdout) || stderr != c.stderr {
			t.Errorf("%s: code %d, stdout %q, stderr %q", c.name, code, stdout, stderr)
		}
	}
}

// A daemon that was stopped has done what it was asked for; a task that was cut off has not.
func TestAskedToStop(t *testing.T) {
	stopped := func(ctx context.Context) error {
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}
	if code, _, stderr := run(t, Service, stopped, "work"); code != 0 || stderr != "" {
		t.Errorf("a service: code %d, %q", code, stderr)
	}
	if code, _, stderr := run(t, Task, stopped, "work"); code != 1 || stderr != "prog: error: context canceled\n" {
		t.Errorf("a task: code %d, %q", code, stderr)
	}
}
