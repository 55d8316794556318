// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Command host-ctr runs containers of the host itself.
//
// Exit codes: 0 the container ended well or was stopped, 1 failed, 2 the command line is wrong; of exec, that of the
// command.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/manpage"
)

// version is set by the linker.
var version = "0.0.0-dev"

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot(stdout, stderr)
	root.SetArgs(modern(args))
	err := root.ExecuteContext(ctx)
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return cli.ExitOK // asked to stop, and stopped
	}
	return cli.PrintError(stderr, "host-ctr", err)
}

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	s := &settings{stdout: stdout, stderr: stderr}
	root := &cobra.Command{
		Use:   "host-ctr",
		Short: "Run containers of the host itself",
		Long: `Run containers of the host itself, beside those of an orchestrator, with a containerd of their own.
The unit host-containers@NAME runs this program; 'hostd host-containers' starts and stops the unit as the
settings say.

Exit codes: 0 the container ended well or was stopped, 1 failed, 2 the command line is wrong; of exec, that
of the command.`,
		Args:          noArguments,
		RunE:          func(c *cobra.Command, _ []string) error { return withUsage(c, cli.Usagef("no command given")) },
		SilenceErrors: true, // run prints them, once
		SilenceUsage:  true,
	}
	root.Version = cli.Version(version)
	root.Flags().Bool("version", false, "print the version")
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return withUsage(c, err) })
	s.flags(root.PersistentFlags())
	root.AddCommand(newRunCmd(s), newExecCmd(s), newPullCmd(s), newCleanUpCmd(s), manpage.Command(nil))
	return root
}

// noArguments refuses words that are neither commands nor flags.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return withUsage(c, cli.Usagef("unexpected argument %q", args[0]))
	}
	return nil
}

// withUsage marks err as a mistake on the command line of c and says where to look.
func withUsage(c *cobra.Command, err error) error {
	return cli.WithHint(cli.Usage(err), "see '%s --help'", c.CommandPath())
}
