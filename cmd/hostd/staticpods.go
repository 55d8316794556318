// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/hostd/rootdir"
	"github.com/drydock-os/drydock/internal/hostd/staticpods"
	"github.com/drydock-os/drydock/internal/program"
)

func newStaticPodsCmd(stderr io.Writer) *cobra.Command {
	var root, file string
	var logFlags program.Log
	c := &cobra.Command{
		Use:   "static-pods",
		Short: "Put the manifests of static pods where the kubelet looks for them",
		Long: `Write the manifests of the static pods that the settings enable to /etc/kubernetes/static-pods, and remove
the others there. The kubelet starts and stops the pods by itself. A pod whose manifest is wrong is reported and
keeps none of the others from running.`,
		Args: program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := logFlags.New(stderr)
			if err != nil {
				return program.WithUsage(c, err)
			}
			if file == "" {
				file = filepath.Join(root, staticpods.DefaultFile)
			}
			return staticpods.Run(root, file, log)
		},
	}
	f := c.Flags()
	rootdir.Flag(f, &root)
	f.StringVar(&file, "config-path", "", "TOML `file` of the pods (default: "+staticpods.DefaultFile+" below --root)")
	logFlags.Flags(f, "stderr")
	return c
}
