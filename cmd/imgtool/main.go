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

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/manpage"
	"github.com/drydock-os/drydock/internal/program"
)

// version is set by the linker.
var version = "0.0.0-dev"

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return program.Run(ctx, newRoot(stdout, stderr), args, program.Task)
}

// newRoot lists the commands; each file of this package makes one of them.
func newRoot(stdout, stderr io.Writer) *cobra.Command {
	root := program.New(&cobra.Command{
		Use:   "imgtool",
		Short: "Build system images and publish signed update repositories",
		Long: `Build system images and publish signed update repositories.

Exit codes: 0 done, 1 failed, 2 the command line is wrong.`,
	}, version, stdout, stderr)
	root.AddCommand(
		newImageCmd(stdout, stderr),
		newBootCmd(stdout),
		newRepoCmd(stdout),
		manpage.Command(nil),
	)
	return root
}
