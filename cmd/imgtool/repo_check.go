// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/program"
	"github.com/drydock-os/drydock/internal/tuf"
	"github.com/drydock-os/drydock/internal/tuf/release"
)

// errFaults means that a repository was examined and is not as it should be.
var errFaults = errors.New("the repository has faults")

// maxRoot bounds a root.json in bytes.
const maxRoot = 1 << 20

func newRepoCheckCmd(stdout io.Writer) *cobra.Command {
	var o output
	var p partOptions
	var repo, root, warn string
	var quick bool
	c := &cobra.Command{
		Use:     "check --repo DIR|URL",
		Aliases: []string{"validate"},
		Short:   "Examine a repository as a host would read it",
		Long: `Examine a repository as a host would read it: signatures, dates, the manifest, and the length and
digest of each target. Each fault is named.

For a URL (the folder above VARIANT/ARCH/ and targets/), --root, --variant and --arch are required.
For a folder, trust starts from the first root.json in it unless --root names another.

Exit codes: 0 no fault, 1 faults or not able to look, 2 the command line is wrong.`,
		Example: `  imgtool repo check --repo build/repo --warn 3d
  imgtool repo check --repo https://updates.example.org/ --root root.json --variant k8s-1.36 --arch x86_64`,
		Args: program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return program.WithUsage(c, err)
			}
			if err := required([2]string{"repo", repo}); err != nil {
				return program.WithUsage(c, err)
			}
			cfg := release.CheckConfig{Quick: quick, Now: time.Now()}
			var err error
			if warn != "0" {
				if cfg.Warn, err = parseLife(warn); err != nil {
					return program.WithUsage(c, fmt.Errorf("--warn: %w", err))
				}
			}
			if (p.variant == "") != (p.arch == "") {
				return program.WithUsage(c, errors.New("--variant and --arch go together"))
			}
			if p.variant != "" {
				cfg.Parts = []string{path.Join(p.variant, p.arch)}
			}
			if strings.Contains(repo, "://") {
				if err := required([2]string{"root", root}, [2]string{"variant", p.variant}); err != nil {
					return program.WithUsage(c, fmt.Errorf("%w for a URL", err))
				}
				cfg.URL = repo
			} else {
				if root == "" {
					root = filepath.Join(repo, "1.root.json")
				}
				if _, err := tuf.ReadRoot(repo); err != nil {
					return repoHint(c, err)
				}
				cfg.Files = os.DirFS(repo)
			}
			if cfg.TrustedRoot, err = readFile(root, maxRoot); err != nil {
				return fmt.Errorf("reading the trusted root: %w", err)
			}
			r, err := release.Check(c.Context(), cfg)
			if err != nil {
				return repoHint(c, err)
			}
			if err := o.report(stdout, r, checkText(r)); err != nil {
				return err
			}
			if len(r.Faults) > 0 {
				return fmt.Errorf("%w: %d", errFaults, len(r.Faults))
			}
			return nil
		},
	}
	o.register(c)
	p.register(c)
	f := c.Flags()
	f.Lookup("variant").Usage = "`variant` to examine (default: all in the folder)"
	f.Lookup("arch").Usage = "`architecture` to examine (default: all in the folder)"
	f.StringVar(&repo, "repo", "", "`folder or URL` of the repository (required)")
	f.StringVar(&root, "root", "", "trusted root.json `file`, as in the images of the hosts")
	f.StringVar(&warn, "warn", "3d", "what expires within this `time` is a fault; 0: only what has expired")
	f.BoolVar(&quick, "quick", false, "do not read targets, only see that they are there")
	return c
}

func checkText(r *release.Report) string {
	var b strings.Builder
	for _, p := range r.Parts {
		if len(p.Expires) == 0 { // its faults say why
			fmt.Fprintf(&b, "%s: cannot be read\n", p.Part)
			continue
		}
		fmt.Fprintf(&b, "%s: versions %s; %d targets, %d bytes\n", p.Part, strings.Join(p.Updates, " "), p.Targets, p.Bytes)
		for _, role := range tuf.Roles() {
			if at, ok := p.Expires[role]; ok {
				fmt.Fprintf(&b, "  %-9s valid until %s\n", role, at.Format(time.RFC3339))
			}
		}
	}
	for _, fault := range r.Faults {
		fmt.Fprintf(&b, "fault: %s\n", fault)
	}
	return b.String()
}

// showReport is what --output json of 'repo show' prints.
type showReport struct {
	RootVersion int64                `json:"root_version"`
	RootExpires time.Time            `json:"root_expires"`
	Roles       map[string]showRole  `json:"roles"`
	Parts       []release.PartReport `json:"parts"`
}

type showRole struct {
	Threshold int       `json:"threshold"`
	Keys      []tuf.Key `json:"keys"`
}

func newRepoShowCmd(stdout io.Writer) *cobra.Command {
	var o output
	var repo string
	c := &cobra.Command{
		Use:   "show --repo DIR",
		Short: "Show whose keys count and what is published",
		Args:  program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			err := o.check()
			if err == nil {
				err = required([2]string{"repo", repo})
			}
			if err != nil {
				return program.WithUsage(c, err)
			}
			info, err := tuf.ReadRoot(repo)
			if err != nil {
				return repoHint(c, err)
			}
			root, err := readFile(filepath.Join(repo, "1.root.json"), maxRoot)
			if err != nil {
				return fmt.Errorf("reading repository: %w", err)
			}
			state := &release.Report{}
			if parts, err := tuf.Parts(os.DirFS(repo)); err != nil {
				return err
			} else if len(parts) > 0 {
				if state, err = release.Check(c.Context(), release.CheckConfig{Files: os.DirFS(repo), TrustedRoot: root, Quick: true, Now: time.Now()}); err != nil {
					return err
				}
			}
			r := showReport{info.Version, info.Expires, map[string]showRole{}, append([]release.PartReport{}, state.Parts...)}
			var b strings.Builder
			fmt.Fprintf(&b, "root version %d, valid until %s\n", info.Version, info.Expires.Format(time.RFC3339))
			for _, role := range tuf.Roles() {
				r.Roles[role] = showRole{info.Thresholds[role], info.Keys[role]}
				fmt.Fprintf(&b, "%s: %d of %d keys\n", role, info.Thresholds[role], len(info.Keys[role]))
				for _, key := range info.Keys[role] {
					fmt.Fprintf(&b, "  %s %s\n", key.ID, key.Type)
				}
			}
			b.WriteString(checkText(state))
			return o.report(stdout, r, b.String())
		},
	}
	o.register(c)
	c.Flags().StringVar(&repo, "repo", "", "`folder` of the repository (required)")
	return c
}

// usage marks err as a mistake on the command line; where to look is added by repoHint.
func usage(err error) error { return cli.Usage(err) }
