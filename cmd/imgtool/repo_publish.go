// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/manifest"
	"github.com/drydock-os/drydock/internal/tuf/release"
)

func newRepoPublishCmd(stdout io.Writer) *cobra.Command {
	var o repoOptions
	var cfg release.Config
	var waves, limit string
	c := &cobra.Command{
		Use:   "publish --repo DIR --keys DIR --variant NAME --arch ARCH --version X.Y.Z --images DIR",
		Short: "Publish a system image as an update",
		Long: `Publish a system image as an update.

The image must have been built by 'imgtool image': its compressed files are taken from --images by
their names. The update is added to what is published already; everything is checked before anything
is written, and hosts see the update complete or not at all.

--waves says when which hosts may move: 'now' (all at once), or a policy file in TOML:
  [[waves]]
  start_after = "1 hour"
  fleet_percentage = 5
Hosts that run a version above --max-version are moved down to it.`,
		Example: "  imgtool repo publish --repo build/repo --keys ~/keys --variant k8s-1.36 --arch x86_64 --version 1.21.0 --images build/1.21.0",
		Args:    noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return withUsage(c, err)
			}
			for _, required := range [][2]string{{"variant", cfg.Variant}, {"arch", cfg.Arch}, {"version", cfg.Version}, {"images", cfg.Images}} {
				if required[1] == "" {
					return withUsage(c, fmt.Errorf("--%s is required", required[0]))
				}
			}
			cfg.Dir, cfg.KeysDir, cfg.Now = o.repo, o.keys, time.Now()
			if _, err := manifest.ParseVersion(cfg.Version); err != nil {
				return withUsage(c, fmt.Errorf("--version %w", err))
			}
			if limit != "" {
				v, err := manifest.ParseVersion(limit)
				if err != nil {
					return withUsage(c, fmt.Errorf("--max-version %w", err))
				}
				cfg.MaxVersion = v
			}
			var err error
			if cfg.Waves, err = readWaves(waves, cfg.Now); err != nil {
				return err
			}
			r, err := release.Publish(c.Context(), cfg)
			if err != nil {
				return publishHint(err)
			}
			var text strings.Builder
			fmt.Fprintf(&text, "published %s %s %s (metadata version %d, no host above %s)\n", r.Variant, r.Arch, r.Version, r.MetadataVersion, r.MaxVersion)
			for _, t := range r.Targets {
				fmt.Fprintf(&text, "  %s (%d bytes)\n", t.Name, t.Length)
			}
			return o.report(stdout, r, text.String())
		},
	}
	o.register(c)
	f := c.Flags()
	f.StringVar(&cfg.Variant, "variant", "", "`variant` of the system, for example k8s-1.36 (required)")
	f.StringVar(&cfg.Arch, "arch", "", "`architecture`: x86_64 or aarch64 (required)")
	f.StringVar(&cfg.Version, "version", "", "semantic `version` without a leading v (required)")
	f.StringVar(&cfg.Images, "images", "", "`folder` that 'imgtool image' has filled (required)")
	f.StringVar(&waves, "waves", "now", "'now', or the `file` of a wave policy")
	f.StringVar(&limit, "max-version", "", "greatest `version` that hosts may run (default: the newest published)")
	return c
}

// readWaves turns --waves into dates that count from start.
func readWaves(arg string, start time.Time) (manifest.Waves, error) {
	if arg == "now" {
		return nil, nil
	}
	data, err := os.ReadFile(arg)
	if err != nil {
		return nil, fmt.Errorf("--waves: %w", err)
	}
	policy, err := manifest.ParsePolicy(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", arg, err)
	}
	waves, err := policy.Waves(start.UTC().Truncate(time.Second))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", arg, err)
	}
	return waves, nil
}

func publishHint(err error) error {
	switch {
	case errors.Is(err, manifest.ErrExists):
		return cli.WithHint(err, "what is published stays as it is; build and publish a higher version")
	case errors.Is(err, release.ErrImages):
		return cli.WithHint(err, "build it with 'imgtool image' for the same variant, architecture and version")
	}
	return repoHint(err)
}
