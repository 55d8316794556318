// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Command hostd holds the daemons and tools of the host.
//
// It is one static program: called as apiclient, signpost or updog, through a link, it is that tool.
//
// Exit codes: 0 asked to stop and stopped, 1 failed, 2 the command line is wrong.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/hostd/rootdir"
	"github.com/drydock-os/drydock/internal/manpage"
)

// version is set by the linker.
var version = "0.0.0-dev"

func main() {
	args := os.Args[1:]
	if name := filepath.Base(os.Args[0]); tools[name].run != nil || linkNames[name] {
		args = linked(name, args)
	}
	os.Exit(run(context.Background(), args, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot(stdout, stderr)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return cli.ExitOK
	}
	return cli.PrintError(stderr, "hostd", err)
}

// newRoot lists the commands; each file of this package makes one of them.
func newRoot(stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "hostd",
		Short: "Daemons and tools of a Drydock host",
		Long: `Daemons and tools of a Drydock host.

Called by the name of a tool, through a link, this program is that tool.

Exit codes: 0 asked to stop and stopped, 1 failed, 2 the command line is wrong.`,
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
	root.AddCommand(newServeCmd(stdout), newStorewolfCmd(stderr), newMigratorCmd(stderr))
	root.AddCommand(newBootCmds(stderr)...)
	root.AddCommand(newLogdogCmd(stdout))
	root.AddCommand(newContainerCmds(stderr)...)
	root.AddCommand(newStaticPodsCmd(stderr))
	root.AddCommand(newToolCmds(stdout, stderr)...)
	root.AddCommand(manpage.Command(writeToolPages), newCompletionCmd(root, stdout))
	root.CompletionOptions.DisableDefaultCmd = true
	return root
}

// rootFlag adds the flag that names the host.
func rootFlag(f *pflag.FlagSet, root *string) {
	f.StringVar(root, "root", "", "`folder` below which the files and programs of the host are (default: $"+rootdir.Variable+", or /)")
	*root = rootdir.Default() // not the flag's own, which help and manual pages would show
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
