// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Command imgtool builds system images and publishes signed update repositories. It runs on build machines
// and never on the hosts that use what it makes.
//
// Exit codes: 0 done, 1 failed, 2 the command line is wrong.
package main

import (
	"context"
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
	root.SetArgs(args)
	return cli.PrintError(stderr, "imgtool", root.ExecuteContext(ctx))
}

// newRoot lists the commands; each file of this package makes one of them.
func newRoot(stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "imgtool",
		Short: "Build system images and publish signed update repositories",
		Long: `Build system images and publish signed update repositories.

Exit codes: 0 done, 1 failed, 2 the command line is wrong.`,
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
	root.AddCommand(
		newImageCmd(stdout, stderr),
		newBootCmd(stdout),
		newRepoCmd(stdout),
		manpage.Command(nil),
	)
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
