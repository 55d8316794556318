// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/manifest"
	"github.com/drydock-os/drydock/internal/program"
	"github.com/drydock-os/drydock/internal/tuf"
	"github.com/drydock-os/drydock/internal/tuf/release"
)

// newRepoCmd returns 'imgtool repo'.
func newRepoCmd(stdout io.Writer) *cobra.Command {
	c := &cobra.Command{
		Use:   "repo",
		Short: "Make, fill and examine signed update repositories",
		Args:  program.NoArguments,
		RunE:  program.NoCommand,
	}
	c.AddCommand(
		newRepoInitCmd(stdout), newRepoPublishCmd(stdout), newRepoRemoveCmd(stdout), newRepoWavesCmd(stdout),
		newRepoMaxVersionCmd(stdout), newRepoMigrationsCmd(stdout), newRepoRefreshCmd(stdout),
		newRepoNewKeyCmd(stdout), newRepoRotateCmd(stdout), newRepoShowCmd(stdout),
		newRepoCheckCmd(stdout), newRepoExportCmd(stdout), newRepoImportCmd(stdout), newRepoServeCmd(stdout),
	)
	return c
}

// output is the choice that all commands offer.
type output struct{ form string }

func (o *output) register(c *cobra.Command) {
	c.Flags().StringVar(&o.form, "output", "text", "`form` of the report on stdout: text or json")
}

func (o *output) check() error {
	if o.form != "text" && o.form != "json" {
		return fmt.Errorf("--output %q is neither text nor json", o.form)
	}
	return nil
}

// report prints v as JSON, or lets text print it.
func (o *output) report(w io.Writer, v any, text string) error {
	if o.form == "text" {
		_, err := io.WriteString(w, text)
		return err
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// repoOptions are the flags of all commands that sign.
type repoOptions struct {
	output
	repo    string
	keys    []string
	signers []string
	expires []string
}

func (o *repoOptions) register(c *cobra.Command) {
	o.output.register(c)
	f := c.Flags()
	f.StringVar(&o.repo, "repo", "", "`folder` of the repository; what a web server serves (required)")
	f.StringArrayVar(&o.keys, "keys", nil, "`folder` of private keys (*.pem); never publish it (repeatable)")
	f.StringArrayVar(&o.signers, "signer", nil, "`PUBLIC.pem=COMMAND` that signs with this key: it gets the bytes on stdin and prints the signature (repeatable)")
}

// registerLife is for commands that sign metadata with new dates.
func (o *repoOptions) registerLife(c *cobra.Command) {
	c.Flags().StringSliceVar(&o.expires, "expires", nil, "`life` of metadata (default targets=2w,snapshot=2w,timestamp=1w)")
}

func (o *repoOptions) check() error {
	if err := o.output.check(); err != nil {
		return err
	}
	if o.repo == "" {
		return errors.New("--repo is required")
	}
	if len(o.keys)+len(o.signers) == 0 {
		return errors.New("--keys or --signer is required")
	}
	for _, keys := range o.keys {
		inside, err := filepath.Rel(o.repo, keys)
		if err == nil && inside != ".." && !strings.HasPrefix(inside, ".."+string(filepath.Separator)) {
			return fmt.Errorf("--keys %s is inside the repository, which is published", keys)
		}
	}
	return nil
}

// commandSigners are the keys that other programs hold.
func (o *repoOptions) commandSigners() ([]tuf.Signer, error) {
	var list []tuf.Signer
	for _, arg := range o.signers {
		file, command, ok := strings.Cut(arg, "=")
		if !ok || file == "" || command == "" {
			return nil, cli.Usagef("--signer %q: want PUBLIC.pem=COMMAND", arg)
		}
		public, err := tuf.LoadPublicKey(file)
		if err != nil {
			return nil, fmt.Errorf("--signer: %w", err)
		}
		list = append(list, tuf.NewCommandSigner(public, command))
	}
	return list, nil
}

// allSigners are those of commandSigners and the keys of all folders.
func (o *repoOptions) allSigners() ([]tuf.Signer, error) {
	list, err := o.commandSigners()
	if err != nil {
		return nil, err
	}
	for _, dir := range o.keys {
		keys, err := tuf.LoadKeys(dir)
		if err != nil {
			return nil, err
		}
		list = append(list, keys...)
	}
	return list, nil
}

// life reads --expires.
func (o *repoOptions) life() (release.Life, error) {
	var life release.Life
	fields := map[string]*time.Duration{"targets": &life.Targets, "snapshot": &life.Snapshot, "timestamp": &life.Timestamp}
	for _, arg := range o.expires {
		role, value, _ := strings.Cut(arg, "=")
		field := fields[role]
		if field == nil {
			return life, cli.Usagef("--expires %q: want targets=, snapshot= or timestamp=", arg)
		}
		d, err := parseLife(value)
		if err != nil {
			return life, cli.Usage(fmt.Errorf("--expires %s: %w", role, err))
		}
		*field = d
	}
	return life, nil
}

// where checks the flags and reads the keys.
func (o *repoOptions) where(now time.Time) (release.Where, error) {
	w := release.Where{Dir: o.repo, Now: now}
	if err := o.check(); err != nil {
		return w, cli.Usage(err)
	}
	var err error
	if w.Life, err = o.life(); err != nil {
		return w, err
	}
	w.Signers, err = o.allSigners()
	return w, err
}

// partOptions are the flags of commands on one variant and architecture.
type partOptions struct{ variant, arch string }

func (o *partOptions) register(c *cobra.Command) {
	c.Flags().StringVar(&o.variant, "variant", "", "`variant` of the system, for example k8s-1.36 (required)")
	c.Flags().StringVar(&o.arch, "arch", "", "`architecture`: x86_64 or aarch64 (required)")
}

// required refuses empty flags, given as pairs of name and value.
func required(flags ...[2]string) error {
	for _, f := range flags {
		if f[1] == "" {
			return cli.Usagef("--%s is required", f[0])
		}
	}
	return nil
}

// parseLife reads a number of days or weeks.
func parseLife(s string) (time.Duration, error) {
	days := map[string]int{"d": 1, "w": 7}
	for unit, d := range days {
		digits, ok := strings.CutSuffix(s, unit)
		if n, err := strconv.ParseUint(digits, 10, 16); ok && err == nil && n > 0 && n <= 5200 {
			return time.Duration(n) * time.Duration(d) * 24 * time.Hour, nil
		}
	}
	return 0, fmt.Errorf("%q is not a number of days or weeks such as 90d or 52w", s)
}

// repoHint adds what to try next to the errors that people will meet.
func repoHint(c *cobra.Command, err error) error {
	switch {
	case err == nil:
		return nil
	case cli.ExitCode(err) == cli.ExitUsage:
		return program.WithUsage(c, err)
	case cli.Hint(err) != "":
		return err
	case errors.Is(err, tuf.ErrInitialized):
		return cli.WithHint(err, "choose other folders, or publish into it with 'imgtool repo publish'")
	case errors.Is(err, tuf.ErrNoRepository):
		return cli.WithHint(err, "make it with 'imgtool repo init'")
	case errors.Is(err, tuf.ErrNoKey):
		return cli.WithHint(err, "give the keys of this repository with --keys or --signer; 'imgtool repo show' lists them")
	case errors.Is(err, tuf.ErrExpired):
		return cli.WithHint(err, "give root.json new dates with 'imgtool repo rotate-root'")
	case errors.Is(err, tuf.ErrLocked):
		return cli.WithHint(err, "wait until it is done")
	case errors.Is(err, manifest.ErrExists):
		return cli.WithHint(err, "what is published stays as it is; build and publish a higher version")
	case errors.Is(err, manifest.ErrHeldBack):
		return cli.WithHint(err, "take them out for good with 'imgtool repo remove-update' first; or name the greatest version that hosts may run with --max-version")
	case errors.Is(err, manifest.ErrUnknown):
		return cli.WithHint(err, "'imgtool repo show' lists what is published")
	case errors.Is(err, release.ErrImages):
		return cli.WithHint(err, "build it with 'imgtool image' for the same variant, architecture and version")
	case errors.Is(err, release.ErrMigration):
		return cli.WithHint(err, "name the folder of the compiled migrations with --from")
	case errors.Is(err, tuf.ErrKey):
		return cli.WithHint(err, "each *.pem file in a folder of --keys is a private key (PKCS #8), and what --key and --signer name is a key")
	case errors.Is(err, tuf.ErrForeign):
		return cli.WithHint(err, "a bundle goes into mirrors of the repository that it was made from: name another folder with --repo")
	case errors.Is(err, release.ErrBundle):
		return cli.WithHint(err, "copy the file again, or make it anew with 'imgtool repo export'; --root must be the root.json of that repository")
	case errors.Is(err, tuf.ErrDigest), errors.Is(err, tuf.ErrMalformed), errors.Is(err, tuf.ErrSignature), errors.Is(err, tuf.ErrRollback):
		return cli.WithHint(err, "something else than imgtool has changed the folder: restore it from a copy; 'imgtool repo check' names what is wrong")
	case errors.Is(err, os.ErrExist):
		return cli.WithHint(err, "choose another name, or remove it")
	}
	return err
}
