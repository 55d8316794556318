// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/apiclient"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostd/rootdir"
	"github.com/drydock-os/drydock/internal/hostd/signpost"
	"github.com/drydock-os/drydock/internal/hostd/updog"
	"github.com/drydock-os/drydock/internal/manpage"
	"github.com/drydock-os/drydock/internal/program"
)

// tool is a program that this one becomes when it is called by that name, through a link, or by a subcommand. Its
// arguments are its own: other programs depend on them, so they are not those of the rest of this program.
type tool struct {
	short string
	words []string // first words, for the completion of shells
	help  string
	run   func(ctx context.Context, args []string, stdout, stderr io.Writer) int
}

var tools = map[string]tool{
	"apiclient": {"Talk to the API of this host", apiclient.Words(), apiclient.Usage, func(ctx context.Context, args []string, stdout, stderr io.Writer) int {
		socket := filepath.Join(rootdir.Default(), hostapi.DefaultSocket)
		return apiclient.Run(ctx, apiclient.Config{Stdin: os.Stdin, Stdout: stdout, Stderr: stderr, Socket: socket}, args)
	}},
	"signpost": {"Show and change the two system slots", signpost.Words(), signpost.Usage, func(_ context.Context, args []string, stdout, stderr io.Writer) int {
		return signpost.Run(signpost.Config{Stdout: stdout, Stderr: stderr}, args)
	}},
	"updog": {"Look for, write and activate updates", updog.Words(), updog.Usage, func(ctx context.Context, args []string, stdout, stderr io.Writer) int {
		return updog.Run(ctx, updog.Config{Stdout: stdout, Stderr: stderr}, args)
	}},
}

// writeToolPages writes the manual pages of the tools.
func writeToolPages(dir string) error {
	for name, t := range tools {
		if err := manpage.WriteText(dir, name, t.short, t.help); err != nil {
			return err
		}
	}
	return nil
}

// newToolCmds makes the tools subcommands.
func newToolCmds(stdout, stderr io.Writer) []*cobra.Command {
	var list []*cobra.Command
	for name, t := range tools {
		list = append(list, &cobra.Command{
			Use: name, Short: t.short, DisableFlagParsing: true, ValidArgs: t.words,
			RunE: func(c *cobra.Command, args []string) error {
				return program.ExitCode(t.run(c.Context(), args, stdout, stderr))
			},
		})
	}
	return list
}
