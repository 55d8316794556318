// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/program"
)

func newDownCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Remove the directories of labs that no longer run",
		Long: "down removes what can outlive a lab: directories kept by 'lab run --keep', and those of labs that were killed\n" +
			"before they could clean up. Processes, mounts and namespaces never outlive a lab; labs that run are left alone.",
		Args: program.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			base := labsDir()
			entries, err := os.ReadDir(base)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("listing labs: %w", err)
			}
			out := cmd.OutOrStdout()
			removed, running := 0, 0
			for _, e := range entries {
				path := filepath.Join(base, e.Name())
				d, err := lockDir(path)
				if err != nil {
					fmt.Fprintf(out, "left alone: %v\n", err)
					running++
					continue
				}
				if err := d.release(); err != nil {
					return fmt.Errorf("removing %s: %w", path, err)
				}
				fmt.Fprintf(out, "removed %s\n", path)
				removed++
			}
			fmt.Fprintf(out, "%d removed, %d running\n", removed, running)
			return nil
		},
	}
}
