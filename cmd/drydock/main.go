// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Command drydock holds the operator's roles in the cluster. Called as controller or apiserver, as the
// original manifests do, it takes that role; otherwise the first argument names it.
//
// Exit codes: 0 when it was asked to stop and stopped, 1 when it failed, 2 when its command line or its
// environment is wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
)

// version is set by the linker.
var version = "0.0.0-dev"

func main() {
	p := process{env: os.Getenv, stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(run(context.Background(), p, os.Args))
}

// run does what main does, inside a test or not; args begin with the name of the program.
func run(ctx context.Context, p process, args []string) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	name, args := filepath.Base(args[0]), args[1:]
	for _, role := range roles {
		if role.name == name {
			args = append([]string{name}, args...)
		}
	}
	root := newRoot(p)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return cli.ExitOK // asked to stop, and stopped
	}
	return cli.PrintError(p.stderr, "drydock", err)
}

// roles are the long-running parts that the binary also plays when it is called by their name.
var roles = []struct {
	name    string
	command func(process) *cobra.Command
}{
	{"controller", controllerCommand},
	{"apiserver", apiServerCommand},
}

func newRoot(p process) *cobra.Command {
	root := &cobra.Command{
		Use:           "drydock",
		Short:         "Update container hosts, node by node",
		SilenceErrors: true, // run prints them, once
		SilenceUsage:  true,
		Args:          noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return cli.WithHint(cli.Usage(err), "run '%s --help'", cmd.CommandPath())
	})
	for _, role := range roles {
		root.AddCommand(role.command(p))
	}
	root.AddCommand(&cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(p.stdout, "drydock %s (%s)\n", version, runtime.Version())
			return err
		},
	})
	return root
}

// noArgs refuses arguments as a mistake on the command line.
func noArgs(cmd *cobra.Command, args []string) error {
	return cli.WithHint(cli.Usage(cobra.NoArgs(cmd, args)), "run '%s --help'", cmd.CommandPath())
}
