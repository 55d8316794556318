// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Command host-ctr runs containers of the host itself.
//
// Exit codes: 0 the container ended well or was stopped, 1 failed, 2 the command line is wrong; of exec, that of the
// command.
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
	return program.Run(ctx, newRoot(stdout, stderr), modern(args), program.Service)
}

func newRoot(stdout, stderr io.Writer) *cobra.Command {
	s := &settings{stdout: stdout, stderr: stderr}
	root := program.New(&cobra.Command{
		Use:   "host-ctr",
		Short: "Run containers of the host itself",
		Long: `Run containers of the host itself, beside those of an orchestrator, with a containerd of their own.
The unit host-containers@NAME runs this program; 'hostd host-containers' starts and stops the unit as the
settings say.

Exit codes: 0 the container ended well or was stopped, 1 failed, 2 the command line is wrong; of exec, that
of the command.`,
	}, version, stdout, stderr)
	s.flags(root.PersistentFlags())
	root.AddCommand(newRunCmd(s), newExecCmd(s), newPullCmd(s), newCleanUpCmd(s), manpage.Command(nil))
	return root
}
