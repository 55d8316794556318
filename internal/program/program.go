// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package program is what our programs with commands share before and after their work: signals, exit codes, --version,
// mistakes on the command line, and the flags of a log.
//
// Every error is printed once, with its hint, and a mistake on the command line says where to look.
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/drydock-os/drydock/internal/cli"
)

// Kind says what it means for a program that it was asked to stop and stopped.
type Kind int

// Kinds of programs.
const (
	Task    Kind = iota // its work is not done: it has failed
	Service             // it has done what it was asked for
)

// ExitCode is the end of a command that has said itself all there is to say.
type ExitCode int

func (e ExitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// New gives the outermost command of a program, of which only the texts are set, the manners of all.
func New(root *cobra.Command, version string, stdout, stderr io.Writer) *cobra.Command {
	root.Args, root.RunE = NoArguments, NoCommand
	root.SilenceErrors, root.SilenceUsage = true, true // Run prints them, once
	root.Version = cli.Version(version)
	root.Flags().Bool("version", false, "print the version")
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(WithUsage)
	return root
}

// Run does what a command line says, until it is done or SIGTERM or SIGINT asks it to stop, and returns the exit code.
func Run(ctx context.Context, root *cobra.Command, args []string, kind Kind) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if code, ok := errors.AsType[ExitCode](err); ok {
		return int(code)
	}
	if kind == Service && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return cli.ExitOK
	}
	return cli.PrintError(root.ErrOrStderr(), root.Name(), err)
}

// NoArguments refuses words that are neither commands nor flags. Where there are commands, the hint names those that may
// have been meant.
func NoArguments(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	path := c.CommandPath()
	if !c.HasAvailableSubCommands() {
		return WithUsage(c, cli.Usagef("%s takes no argument, but got %q", path, args[0]))
	}
	hint := fmt.Sprintf("'%s --help' lists the commands", path)
	c.SuggestionsMinimumDistance = 2 // letters that may be wrong in a command
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("did you mean '%s %s'? %s", path, strings.Join(near, "' or '"+path+" "), hint)
	}
	return cli.WithHint(cli.Usagef("%s has no command %q", path, args[0]), "%s", hint)
}

// NoCommand is for a command that only has commands below it.
func NoCommand(c *cobra.Command, _ []string) error {
	return WithUsage(c, cli.Usagef("no command given"))
}

// WithUsage marks err as a mistake on the command line of c and says where to look.
func WithUsage(c *cobra.Command, err error) error {
	return cli.WithHint(cli.Usage(err), "see '%s --help'", c.CommandPath())
}

// Log is what flags say about a log.
type Log struct{ format, level string }

// Flags adds the flags of a log that goes to a stream of that name.
func (l *Log) Flags(f *pflag.FlagSet, stream string) {
	f.StringVar(&l.format, "log-format", "text", "`form` of the log on "+stream+": text or json")
	f.StringVar(&l.level, "log-level", "info", "least `level` to log: debug, info, warn or error")
}

// New makes the log. An error is a mistake on the command line.
func (l *Log) New(w io.Writer) (*slog.Logger, error) {
	o, level := &slog.HandlerOptions{}, l.level
	if level == "trace" { // a word of the original's programs
		level = "debug"
	}
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, cli.Usagef("--log-level %q: want debug, info, warn or error", l.level)
	}
	o.Level = least
	switch l.format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, cli.Usagef("--log-format %q: want text or json", l.format)
}
