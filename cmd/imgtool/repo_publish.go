// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/manifest"
	"github.com/drydock-os/drydock/internal/program"
	"github.com/drydock-os/drydock/internal/tuf/release"
)

func newRepoPublishCmd(stdout io.Writer) *cobra.Command {
	var o repoOptions
	var p partOptions
	var cfg release.Config
	var waves, start, limit string
	c := &cobra.Command{
		Use:     "publish --repo DIR --keys DIR --variant NAME --arch ARCH --version X.Y.Z --images DIR",
		Aliases: []string{"add-update"},
		Short:   "Publish a system image as an update",
		Long: `Publish a system image as an update.

The image must have been built by 'imgtool image': its compressed files are taken from --images by
their names. The update is added to what is published already; everything is checked before anything
is written, and hosts see the update complete or not at all.

--waves says when which hosts may move; see 'imgtool repo set-waves'. Hosts that run a version above
--max-version are moved down to it. Without that flag it rises to the new version, and stays when it is
greater; a rise that would offer versions again that 'imgtool repo set-max-version' has withdrawn is refused.`,
		Example: "  imgtool repo publish --repo build/repo --keys ~/keys --variant k8s-1.36 --arch x86_64 --version 1.21.0 --images build/1.21.0",
		Args:    program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg.Now = time.Now()
			if err := o.check(); err != nil {
				return program.WithUsage(c, err)
			}
			if err := required([2]string{"variant", p.variant}, [2]string{"arch", p.arch}, [2]string{"version", cfg.Version}, [2]string{"images", cfg.Images}); err != nil {
				return program.WithUsage(c, err)
			}
			if _, err := manifest.ParseVersion(cfg.Version); err != nil {
				return program.WithUsage(c, fmt.Errorf("--version %w", err))
			}
			if limit != "" {
				v, err := manifest.ParseVersion(limit)
				if err != nil {
					return program.WithUsage(c, fmt.Errorf("--max-version %w", err))
				}
				cfg.MaxVersion = v
			}
			var err error
			if cfg.Waves, err = readWaves(waves, start, cfg.Now); err != nil {
				return repoHint(c, err)
			}
			w, err := o.where(cfg.Now)
			if err != nil {
				return repoHint(c, err)
			}
			cfg.Dir, cfg.Signers, cfg.Life, cfg.Variant, cfg.Arch = w.Dir, w.Signers, w.Life, p.variant, p.arch
			r, err := release.Publish(c.Context(), cfg)
			if err != nil {
				return repoHint(c, err)
			}
			var text strings.Builder
			limit := r.MaxVersion
			if r.RaisedFrom != "" {
				limit += ", raised from " + r.RaisedFrom
			}
			fmt.Fprintf(&text, "published %s %s %s (metadata version %d, no host above %s)\n", r.Variant, r.Arch, r.Version, r.MetadataVersion, limit)
			for _, t := range r.Targets {
				fmt.Fprintf(&text, "  %s (%d bytes)\n", t.Name, t.Length)
			}
			for _, way := range r.Plain {
				fmt.Fprintf(&text, "no migrations from %s to %s: hosts keep their settings as they are\n", way.From, way.To)
			}
			return o.report(stdout, r, text.String())
		},
	}
	o.register(c)
	o.registerLife(c)
	p.register(c)
	f := c.Flags()
	f.StringVar(&cfg.Version, "version", "", "semantic `version` without a leading v (required)")
	f.StringVar(&cfg.Images, "images", "", "`folder` that 'imgtool image' has filled (required)")
	f.StringVar(&limit, "max-version", "", "greatest `version` that hosts may run (default: this one, or what it is when that is greater)")
	registerWaves(c, &waves, &start, "waves", "now")
	return c
}

// registerWaves is for commands that take a wave policy.
func registerWaves(c *cobra.Command, waves, start *string, flag, standard string) {
	f := c.Flags()
	f.StringVar(waves, flag, standard, "`policy`: none (or now), "+strings.Join(manifest.NamedPolicies(), ", ")+", or a file")
	f.StringVar(start, "start", "", "`time` from which the policy counts, as 2026-09-01T20:00:00Z (default: now)")
}

// readWaves gives a policy dates. No policy means that all hosts may move at once.
func readWaves(arg, start string, now time.Time) (manifest.Waves, error) {
	at := now
	if start != "" {
		var err error
		if at, err = time.Parse(time.RFC3339, start); err != nil {
			return nil, cli.Usagef("--start %q is not a time such as 2026-09-01T20:00:00Z", start)
		}
	}
	if arg == "now" || arg == "none" {
		return nil, nil
	}
	name, policy := arg, manifest.NamedPolicy(arg)
	if policy == nil {
		data, err := os.ReadFile(arg)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, cli.WithHint(fmt.Errorf("no wave policy or file %q", arg), "known policies: none, %s", strings.Join(manifest.NamedPolicies(), ", "))
		}
		if err != nil {
			return nil, fmt.Errorf("reading wave policy: %w", err)
		}
		if policy, err = manifest.ParsePolicy(data); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	waves, err := policy.Waves(at.UTC().Truncate(time.Second))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return waves, nil
}
