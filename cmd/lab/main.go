// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Command lab runs a whole fleet on one machine: a real Kubernetes control plane, hosts with real A/B
// disks, a signed update repository and the operator. It needs Linux with user namespaces (or root),
// and leaves nothing behind.
//
// Exit codes: 0 every node was updated and every promise kept (for up and down: done), 1 something
// failed, 2 the command line is wrong, 130 interrupted.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/program"
	"github.com/drydock-os/drydock/lab/sandbox"
)

// version is set by the linker.
var version = "0.0.0-dev"

// exitInterrupted is 128 and the number of SIGINT, as shells report it.
const exitInterrupted = 130

// The main goroutine stays on the main thread: the sandbox is tied to its life, and the threads that
// enter pods' namespaces must be others.
func init() { runtime.LockOSThread() }

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if sandbox.Inside() {
		// The keeper outside handles signals and sends at most one on.
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
	}
	root := newRoot(stdout, stderr)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var code exitCode
	switch {
	case errors.As(err, &code):
		return int(code)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	default:
		return cli.PrintError(stderr, "lab", err)
	}
}

// exitCode ends the program with a code whose reason was already told.
type exitCode int

func (c exitCode) Error() string { return "exit" }

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           "lab",
		Short:         "Run a fleet of updating hosts on this machine",
		Long:          "lab runs a real Kubernetes control plane, hosts with real A/B disks, a signed update repository\nand the update operator on this machine, inside namespaces of its own.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          program.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cli.WithHint(cli.Usagef("no command given"), "run 'lab --help' to see the commands, or 'lab run' for the whole show")
		},
	}
	root.Version = cli.Version(version)
	root.Flags().Bool("version", false, "print the version")
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return cli.WithHint(cli.Usage(err), "run '%s --help' to see the flags", cmd.CommandPath())
	})
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(newRunCmd(), newUpCmd(), newScaleCmd(), newDownCmd())
	return root
}
