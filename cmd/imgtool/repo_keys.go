// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/durable"
	"github.com/drydock-os/drydock/internal/program"
	"github.com/drydock-os/drydock/internal/tuf"
)

// roleKeys are keys by role, as given on the command line.
type roleKeys struct {
	public  map[string][]crypto.PublicKey
	signers []tuf.Signer // those that were given with their private half
}

// readRoleKeys reads arguments of the form ROLE=FILE.
func readRoleKeys(flag string, args []string) (roleKeys, error) {
	k := roleKeys{public: map[string][]crypto.PublicKey{}}
	for _, arg := range args {
		role, file, err := splitRole(flag, arg)
		if err != nil {
			return k, err
		}
		public, err := tuf.LoadPublicKey(file)
		if err != nil {
			return k, fmt.Errorf("--%s: %w", flag, err)
		}
		k.public[role] = append(k.public[role], public)
		if signer, err := tuf.LoadKey(file); err == nil {
			k.signers = append(k.signers, signer)
		}
	}
	return k, nil
}

func splitRole(flag, arg string) (role, value string, err error) {
	role, value, ok := strings.Cut(arg, "=")
	if !ok || value == "" || !slices.Contains(tuf.Roles(), role) {
		return "", "", cli.Usagef("--%s %q: want root=, targets=, snapshot= or timestamp= and a value", flag, arg)
	}
	return role, value, nil
}

// repoInitReport is what --output json of 'repo init' prints.
type repoInitReport struct {
	Root      string    `json:"root"` // path of root.json
	KeyCount  int       `json:"key_count"`
	Threshold int       `json:"threshold"`
	Expires   time.Time `json:"expires"`
}

func newRepoInitCmd(stdout io.Writer) *cobra.Command {
	var o repoOptions
	var opt tuf.InitOptions
	var expires, kind string
	var keys []string
	c := &cobra.Command{
		Use:   "init --repo DIR --keys DIR",
		Short: "Make a new repository and its keys",
		Long: `Make a new repository and its keys.

Images that should trust the repository need its root.json as /usr/share/updog/root.json. Root and
targets get --key-count keys each, of which --threshold must sign; snapshot and timestamp have one.
Keys are readable by their owner only. Nothing that exists is overwritten.

A role can be given keys that exist already with --key, as public or private key (PEM). Those of
root must sign now: give their private halves, or a --signer.`,
		Example: `  imgtool repo init --repo build/repo --keys ~/keys --key-count 3 --threshold 2 --root-expires 52w
  imgtool repo init --repo build/repo --keys ~/keys --key root=hsm.pub --signer 'hsm.pub=hsm-sign --slot 2'`,
		Args: program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return program.WithUsage(c, err)
			}
			if len(o.keys) != 1 {
				return program.WithUsage(c, errors.New("--keys is required once: the folder for the keys that are made"))
			}
			var err error
			if opt.Expires, err = parseLife(expires); err != nil {
				return program.WithUsage(c, fmt.Errorf("--root-expires: %w", err))
			}
			opt.KeyType = tuf.KeyType(kind)
			if !slices.Contains([]tuf.KeyType{tuf.Ed25519, tuf.ECDSA, tuf.RSA}, opt.KeyType) {
				return program.WithUsage(c, fmt.Errorf("--key-type %q: want ed25519, ecdsa or rsa", kind))
			}
			given, err := readRoleKeys("key", keys)
			if err != nil {
				return repoHint(c, err)
			}
			opt.Public = given.public
			for _, role := range []string{"root", "targets"} {
				count := opt.KeyCount
				if n := len(given.public[role]); n > 0 {
					count = n
				}
				if opt.Threshold < 1 || count < opt.Threshold {
					return program.WithUsage(c, fmt.Errorf("%s: --threshold %d with %d keys: want 1 <= threshold <= keys", role, opt.Threshold, count))
				}
			}
			commands, err := o.commandSigners()
			if err != nil {
				return repoHint(c, err)
			}
			opt.Signers = slices.Concat(given.signers, commands)
			opt.Now = time.Now()
			path, err := tuf.Init(c.Context(), o.repo, o.keys[0], opt)
			if err != nil {
				return repoHint(c, err)
			}
			r := repoInitReport{path, opt.KeyCount, opt.Threshold, opt.Now.Add(opt.Expires).UTC().Truncate(time.Second)}
			return o.report(stdout, r, fmt.Sprintf("made repository %s\nroot of trust: %s (expires %s)\nkeep secret: %s\n",
				o.repo, path, r.Expires.Format(time.DateOnly), o.keys[0]))
		},
	}
	o.register(c)
	f := c.Flags()
	f.StringVar(&kind, "key-type", string(tuf.Ed25519), "`kind` of the keys that are made: ed25519, ecdsa or rsa")
	f.IntVar(&opt.Threshold, "threshold", 1, "`number` of keys that must sign root and targets")
	f.IntVar(&opt.KeyCount, "key-count", 1, "`number` of keys made for root and for targets")
	f.StringArrayVar(&keys, "key", nil, "`ROLE=FILE`: a key that exists already, instead of making one (repeatable)")
	f.StringVar(&expires, "root-expires", "52w", "`life` of root.json: days or weeks, for example 90d or 52w")
	return c
}

func newRepoNewKeyCmd(stdout io.Writer) *cobra.Command {
	var o output
	var kind, out string
	c := &cobra.Command{
		Use:   "new-key --out FILE.pem",
		Short: "Make a key for a role",
		Long: `Make a key for a role.

FILE.pem gets the private key, readable by its owner only, and FILE.pub the public key, which is
what others need to count it in. Nothing that exists is overwritten.`,
		Example: "  imgtool repo new-key --out keys/root-4.pem",
		Args:    program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return program.WithUsage(c, err)
			}
			base, ok := strings.CutSuffix(out, ".pem")
			if !ok {
				return program.WithUsage(c, errors.New("--out is required, and ends in .pem"))
			}
			if !slices.Contains([]string{"ed25519", "ecdsa", "rsa"}, kind) {
				return program.WithUsage(c, fmt.Errorf("--key-type %q: want ed25519, ecdsa or rsa", kind))
			}
			if _, err := os.Lstat(base + ".pub"); !errors.Is(err, fs.ErrNotExist) {
				return repoHint(c, fmt.Errorf("making key %s.pub: %w", base, fs.ErrExist))
			}
			if err := os.MkdirAll(filepath.Dir(out), 0o700); err != nil {
				return fmt.Errorf("making key: %w", err)
			}
			key, err := tuf.GenerateKey(out, tuf.KeyType(kind))
			if err != nil {
				return repoHint(c, err)
			}
			public, err := tuf.PublicPEM(key.Public())
			if err == nil {
				err = durable.WriteFile(base+".pub", public, 0o644)
			}
			if err != nil {
				return errors.Join(err, os.Remove(out))
			}
			return o.report(stdout, map[string]string{"private": out, "public": base + ".pub", "type": kind},
				fmt.Sprintf("keep secret: %s\npublic key: %s.pub\n", out, base))
		},
	}
	o.register(c)
	c.Flags().StringVar(&out, "out", "", "`file` for the private key, ending in .pem (required)")
	c.Flags().StringVar(&kind, "key-type", string(tuf.Ed25519), "`kind` of key: ed25519, ecdsa or rsa")
	return c
}

// rotateReport is what --output json of 'repo rotate-root' prints.
type rotateReport struct {
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
	Gap     []string  `json:"gap"` // roles whose old keys could not sign any more
}

func newRepoRotateCmd(stdout io.Writer) *cobra.Command {
	var o repoOptions
	var expires string
	var add, remove, thresholds []string
	c := &cobra.Command{
		Use:   "rotate-root --repo DIR --keys DIR",
		Short: "Publish the next root.json: other keys, thresholds or dates",
		Long: `Publish the next root.json: other keys, thresholds or dates.

Enough keys of the old and of the new root must sign, so give the folders of both. When keys of
another role change, give the old and the new ones too: what is published is then signed by both,
and hosts notice nothing. If the old ones are lost, hosts that ask in that second try again later.

Hosts follow the chain of roots by themselves; images that are built later should hold the new
root.json. Without any change only the dates are renewed.`,
		Example: `  imgtool repo rotate-root --repo build/repo --keys ~/keys --root-expires 52w
  imgtool repo rotate-root --repo build/repo --keys ~/keys --keys usb/keys \
      --add-key root=usb/keys/root-4.pem --remove-key root=lost-root.pub --threshold root=2`,
		Args: program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			now := time.Now()
			w, err := o.where(now)
			if err != nil {
				return repoHint(c, err)
			}
			change := tuf.RootChange{Remove: map[string][]string{}, Threshold: map[string]int{}}
			if change.Expires, err = parseLife(expires); err != nil {
				return program.WithUsage(c, fmt.Errorf("--root-expires: %w", err))
			}
			added, err := readRoleKeys("add-key", add)
			if err != nil {
				return repoHint(c, err)
			}
			change.Add = added.public
			for _, arg := range thresholds {
				role, value, err := splitRole("threshold", arg)
				if err != nil {
					return program.WithUsage(c, err)
				}
				if change.Threshold[role], err = strconv.Atoi(value); err != nil {
					return program.WithUsage(c, fmt.Errorf("--threshold %q is not a number", arg))
				}
			}
			if len(remove) > 0 {
				info, err := tuf.ReadRoot(o.repo)
				if err != nil {
					return repoHint(c, err)
				}
				for _, arg := range remove {
					role, value, err := splitRole("remove-key", arg)
					if err != nil {
						return program.WithUsage(c, err)
					}
					id, err := findKey(info, role, value)
					if err != nil {
						return repoHint(c, err)
					}
					change.Remove[role] = append(change.Remove[role], id)
				}
			}
			r, err := tuf.RotateRoot(c.Context(), tuf.RepositoryConfig{
				Dir: o.repo, Signers: slices.Concat(w.Signers, added.signers), Now: now,
				TargetsLife: w.Life.Targets, SnapshotLife: w.Life.Snapshot, TimestampLife: w.Life.Timestamp,
			}, change)
			if err != nil {
				return repoHint(c, err)
			}
			text := fmt.Sprintf("published root version %d (expires %s)\n", r.Version, r.Expires.Format(time.DateOnly))
			if len(r.Gap) > 0 {
				text += fmt.Sprintf("old keys of %s did not sign: hosts that asked meanwhile will try again\n", strings.Join(r.Gap, ", "))
			}
			return o.report(stdout, rotateReport{r.Version, r.Expires, append([]string{}, r.Gap...)}, text)
		},
	}
	o.register(c)
	o.registerLife(c)
	f := c.Flags()
	f.StringArrayVar(&add, "add-key", nil, "`ROLE=FILE`: count in this key, public or private (repeatable)")
	f.StringArrayVar(&remove, "remove-key", nil, "`ROLE=ID|FILE`: no longer count this key (repeatable)")
	f.StringArrayVar(&thresholds, "threshold", nil, "`ROLE=NUMBER` of keys that must sign (repeatable)")
	f.StringVar(&expires, "root-expires", "52w", "`life` of root.json: days or weeks, for example 90d or 52w")
	return c
}

// findKey returns the id of a role's key that is named by its id or by a file that holds it.
func findKey(info *tuf.RootInfo, role, name string) (string, error) {
	public, err := tuf.LoadPublicKey(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, key := range info.Keys[role] {
		if key.ID == name || public != nil && key.Public.(interface{ Equal(crypto.PublicKey) bool }).Equal(public) {
			return key.ID, nil
		}
	}
	return "", cli.WithHint(fmt.Errorf("--remove-key %s: %w: %s", role, tuf.ErrKeyUnknown, name), "'imgtool repo show' lists the keys")
}
