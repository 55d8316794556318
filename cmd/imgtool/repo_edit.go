// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/manifest"
	"github.com/drydock-os/drydock/internal/program"
	"github.com/drydock-os/drydock/internal/tuf/release"
)

// editOptions are the flags of commands that change what is published about one variant and architecture.
type editOptions struct {
	repoOptions
	partOptions
	version string // as given, when the command has --version
}

func (o *editOptions) register(c *cobra.Command) {
	o.repoOptions.register(c)
	o.registerLife(c)
	o.partOptions.register(c)
}

// registerVersion is for commands on one published version.
func (o *editOptions) registerVersion(c *cobra.Command) {
	c.Flags().StringVar(&o.version, "version", "", "published `version` without a leading v (required)")
}

// where checks all flags, and parses the version that is named by flag unless it is "".
func (o *editOptions) where(now time.Time, flag, version string) (w release.Where, v *semver.Version, err error) {
	if err := o.check(); err != nil {
		return w, nil, usage(err)
	}
	if err := required([2]string{"variant", o.variant}, [2]string{"arch", o.arch}); err != nil {
		return w, nil, err
	}
	if flag != "" {
		if err := required([2]string{flag, version}); err != nil {
			return w, nil, err
		}
		if v, err = manifest.ParseVersion(version); err != nil {
			return w, nil, usage(fmt.Errorf("--%s %w", flag, err))
		}
	}
	w, err = o.repoOptions.where(now)
	w.Variant, w.Arch = o.variant, o.arch
	return w, v, err
}

func newRepoRemoveCmd(stdout io.Writer) *cobra.Command {
	var o editOptions
	c := &cobra.Command{
		Use:   "remove-update --repo DIR --keys DIR --variant NAME --arch ARCH --version X.Y.Z",
		Short: "Take a published version out of the offer",
		Long: `Take a published version out of the offer.

Hosts that have not moved to it will not. Those that run it stay on it: 'imgtool repo
set-max-version' moves them down. Its files stay in the repository for hosts that are
downloading them.`,
		Args: program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			w, v, err := o.where(time.Now(), "version", o.version)
			if err != nil {
				return repoHint(c, err)
			}
			r, err := release.RemoveUpdate(c.Context(), w, v)
			if err != nil {
				return repoHint(c, err)
			}
			return o.report(stdout, r, fmt.Sprintf("removed %s %s %v (metadata version %d)\n", r.Variant, r.Arch, v, r.MetadataVersion))
		},
	}
	o.register(c)
	o.registerVersion(c)
	return c
}

func newRepoWavesCmd(stdout io.Writer) *cobra.Command {
	var o editOptions
	var policy, start string
	c := &cobra.Command{
		Use:   "set-waves --repo DIR --keys DIR --variant NAME --arch ARCH --version X.Y.Z --policy POLICY",
		Short: "Say when which hosts may move to a version",
		Long: `Say when which hosts may move to a version.

POLICY is none (all at once), the name of a policy, or a file in TOML. Times count from --start:
  [[waves]]
  start_after = "30 minutes"
  fleet_percentage = 5
Known policies: default-waves (a week), accelerated-waves (a day), slow-roll (two weeks) and ohno
(three hours).`,
		Example: "  imgtool repo set-waves --repo build/repo --keys ~/keys --variant k8s-1.36 --arch x86_64 --version 1.21.0 --policy default-waves",
		Args:    program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			now := time.Now()
			w, v, err := o.where(now, "version", o.version)
			if err == nil {
				err = required([2]string{"policy", policy})
			}
			if err != nil {
				return repoHint(c, err)
			}
			waves, err := readWaves(policy, start, now)
			if err != nil {
				return repoHint(c, err)
			}
			r, err := release.SetWaves(c.Context(), w, v, waves)
			if err != nil {
				return repoHint(c, err)
			}
			return o.report(stdout, r, fmt.Sprintf("set %d waves for %s %s %v (metadata version %d)\n", len(waves), r.Variant, r.Arch, v, r.MetadataVersion))
		},
	}
	o.register(c)
	o.registerVersion(c)
	registerWaves(c, &policy, &start, "policy", "")
	return c
}

// maxVersionReport is what --output json of 'repo set-max-version' prints.
type maxVersionReport struct {
	release.Changed
	MaxVersion string `json:"max_version"`
	Left       int    `json:"versions_left"` // that hosts can move to
}

func newRepoMaxVersionCmd(stdout io.Writer) *cobra.Command {
	var o editOptions
	var limit string
	c := &cobra.Command{
		Use:   "set-max-version --repo DIR --keys DIR --variant NAME --arch ARCH --max-version X.Y.Z",
		Short: "Set the greatest version that hosts may run",
		Long: `Set the greatest version that hosts may run.

Hosts above it move down to the newest published version that is not above it: this is how a bad
release is withdrawn.`,
		Args: program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			w, v, err := o.where(time.Now(), "max-version", limit)
			if err != nil {
				return repoHint(c, err)
			}
			r, left, err := release.SetMaxVersion(c.Context(), w, v)
			if err != nil {
				return repoHint(c, err)
			}
			text := fmt.Sprintf("no host of %s %s above %v (metadata version %d)\n", r.Variant, r.Arch, v, r.MetadataVersion)
			if left == 0 {
				text += fmt.Sprintf("no published version is at or below %v: all hosts stay where they are\n", v)
			}
			return o.report(stdout, maxVersionReport{*r, v.String(), left}, text)
		},
	}
	o.register(c)
	c.Flags().StringVar(&limit, "max-version", "", "greatest `version`, without a leading v (required)")
	return c
}

// maxReleaseFile bounds a file of migrations in bytes.
const maxReleaseFile = 8 << 20

func newRepoMigrationsCmd(stdout io.Writer) *cobra.Command {
	var o editOptions
	var file, from string
	c := &cobra.Command{
		Use:   "set-migrations --repo DIR --keys DIR --variant NAME --arch ARCH --file Release.toml",
		Short: "Replace the table of data migrations",
		Long: `Replace the table of data migrations.

The file is TOML and says which programs carry the data of a host from one version to the next:
  [migrations]
  "(1.20.0, 1.21.0)" = ["migrate_v1.21.0_add-setting.lz4"]
Programs that are not published yet are taken from --from by their names.`,
		Args: program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			w, _, err := o.where(time.Now(), "", "")
			if err == nil {
				err = required([2]string{"file", file})
			}
			if err != nil {
				return repoHint(c, err)
			}
			data, err := readFile(file, maxReleaseFile)
			if err != nil {
				return fmt.Errorf("reading migrations: %w", err)
			}
			list, err := manifest.ParseMigrations(data)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			r, err := release.SetMigrations(c.Context(), w, list, from)
			if err != nil {
				return repoHint(c, err)
			}
			return o.report(stdout, r, fmt.Sprintf("set %d migrations for %s %s (metadata version %d)\n", len(list), r.Variant, r.Arch, r.MetadataVersion))
		},
	}
	o.register(c)
	c.Flags().StringVar(&file, "file", "", "`file` with the table (required)")
	c.Flags().StringVar(&from, "from", "", "`folder` of compiled migrations that are not published yet")
	return c
}

// readFile reads a file of at most limit bytes.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = errors.New("the file is too large")
	}
	return data, err
}

func newRepoRefreshCmd(stdout io.Writer) *cobra.Command {
	var o repoOptions
	var timestampOnly bool
	c := &cobra.Command{
		Use:   "refresh --repo DIR --keys DIR",
		Short: "Sign everything anew with new dates",
		Long: `Sign everything anew with new dates, and change nothing else.

Run it from a timer, well before the timestamp (a week) and the other metadata (two weeks) expire:
hosts refuse a repository that has expired. With --timestamp-only, no other key than that of the
timestamp is needed; the rest then keeps its dates.`,
		Args: program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			w, err := o.where(time.Now())
			if err != nil {
				return repoHint(c, err)
			}
			parts, err := refresh(c.Context(), w, timestampOnly)
			if err != nil {
				return repoHint(c, err)
			}
			return o.report(stdout, map[string][]string{"parts": parts}, "refreshed "+strings.Join(parts, ", ")+"\n")
		},
	}
	o.register(c)
	o.registerLife(c)
	c.Flags().BoolVar(&timestampOnly, "timestamp-only", false, "renew the timestamp only, with its key alone")
	return c
}

func refresh(ctx context.Context, w release.Where, timestampOnly bool) ([]string, error) {
	parts, err := release.Refresh(ctx, w, timestampOnly)
	if err == nil && len(parts) == 0 {
		err = errors.New("nothing is published in " + w.Dir)
	}
	return parts, err
}
