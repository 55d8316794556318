// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/hostd/staticpods"
)

func newStaticPodsCmd(stderr io.Writer) *cobra.Command {
	var root, file, format, level string
	c := &cobra.Command{
		Use:   "static-pods",
		Short: "Put the manifests of static pods where the kubelet looks for them",
		Long: `Write the manifests of the static pods that the settings enable to /etc/kubernetes/static-pods, and remove
the others there. The kubelet starts and stops the pods by itself. A pod whose manifest is wrong is reported and
keeps none of the others from running.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := newLog(stderr, format, level)
			if err != nil {
				return withUsage(c, err)
			}
			if file == "" {
				file = filepath.Join(root, staticpods.DefaultFile)
			}
			return staticpods.Run(root, file, log)
		},
	}
	f := c.Flags()
	rootFlag(f, &root)
	f.StringVar(&file, "config-path", "", "TOML `file` of the pods (default: "+staticpods.DefaultFile+" below --root)")
	f.StringVar(&format, "log-format", "text", "`form` of the log on stderr: text or json")
	f.StringVar(&level, "log-level", "info", "least `level` to log: debug, info, warn or error")
	return c
}
