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
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/manpage"
	"github.com/drydock-os/drydock/internal/program"
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
	return program.Run(ctx, newRoot(stdout, stderr), args, program.Service)
}

// newRoot lists the commands; each file of this package makes one of them.
func newRoot(stdout, stderr io.Writer) *cobra.Command {
	root := program.New(&cobra.Command{
		Use:   "hostd",
		Short: "Daemons and tools of a Drydock host",
		Long: `Daemons and tools of a Drydock host.

Called by the name of a tool, through a link, this program is that tool.

Exit codes: 0 asked to stop and stopped, 1 failed, 2 the command line is wrong.`,
	}, version, stdout, stderr)
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
