// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/program"
	"github.com/drydock-os/drydock/internal/tuf"
	"github.com/drydock-os/drydock/internal/tuf/release"
)

func newRepoExportCmd(stdout io.Writer) *cobra.Command {
	var o editOptions
	var out string
	c := &cobra.Command{
		Use:   "export --repo DIR --keys DIR --variant NAME --arch ARCH --version X.Y.Z --out FILE.tar",
		Short: "Write one version as a bundle for places without a network",
		Long: `Write one version as a bundle for places without a network.

The bundle is a tar file with a whole small repository: this version, the migrations up to it, and
metadata that is signed anew for it. Give it a long life, since nobody can refresh it there. It is
put in place with 'imgtool repo import', or unpacked with tar below any web server.`,
		Example: `  imgtool repo export --repo build/repo --keys ~/keys --variant k8s-1.36 --arch x86_64 --version 1.21.0 \
      --expires targets=26w,snapshot=26w,timestamp=26w --out drydock-1.21.0.tar`,
		Args: program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			w, v, err := o.where(time.Now(), "version", o.version)
			if err == nil {
				err = required([2]string{"out", out})
			}
			if err != nil {
				return repoHint(c, err)
			}
			r, err := release.Export(c.Context(), w, v, out)
			if err != nil {
				return repoHint(c, err)
			}
			return o.report(stdout, r, fmt.Sprintf("exported %s %s %v to %s (metadata version %d)\n", r.Variant, r.Arch, v, out, r.MetadataVersion))
		},
	}
	o.register(c)
	o.registerVersion(c)
	c.Flags().StringVar(&out, "out", "", "`file` for the bundle (required)")
	return c
}

func newRepoImportCmd(stdout io.Writer) *cobra.Command {
	var o output
	var bundle, repo, root string
	c := &cobra.Command{
		Use:   "import --bundle FILE.tar --repo DIR --root root.json",
		Short: "Verify a bundle and put it into a repository or mirror",
		Long: `Verify a bundle and put it into a repository or mirror. No keys are needed.

The bundle replaces what is published there for the same variant and architecture, at once for all
readers. An older one than is there is refused. Trust starts from --root, by default from the first
root.json in the folder.`,
		Example: "  imgtool repo import --bundle drydock-1.21.0.tar --repo /srv/updates --root root.json",
		Args:    program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			err := o.check()
			if err == nil {
				err = required([2]string{"bundle", bundle}, [2]string{"repo", repo})
			}
			if err != nil {
				return program.WithUsage(c, err)
			}
			cfg := release.ImportConfig{Bundle: bundle, Dir: repo, Now: time.Now()}
			if root == "" {
				root = filepath.Join(repo, "1.root.json")
			}
			cfg.TrustedRoot, err = readFile(root, maxRoot)
			if errors.Is(err, fs.ErrNotExist) {
				err = cli.WithHint(err, "name the root.json that the hosts trust with --root")
			}
			if err != nil {
				return fmt.Errorf("reading the trusted root: %w", err)
			}
			parts, err := release.Import(c.Context(), cfg)
			switch {
			case errors.Is(err, tuf.ErrRollback):
				return cli.WithHint(err, "export it again from the repository, then import that")
			case err != nil:
				return repoHint(c, err)
			}
			return o.report(stdout, map[string][]string{"parts": parts}, "imported "+strings.Join(parts, ", ")+"\n")
		},
	}
	o.register(c)
	f := c.Flags()
	f.StringVar(&bundle, "bundle", "", "`file` made by 'imgtool repo export' (required)")
	f.StringVar(&repo, "repo", "", "`folder` to put it into; made if missing (required)")
	f.StringVar(&root, "root", "", "trusted root.json `file`, as in the images of the hosts")
	return c
}
