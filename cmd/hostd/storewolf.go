// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/hostd/rootdir"
	"github.com/drydock-os/drydock/internal/hostd/store"
	"github.com/drydock-os/drydock/internal/hostd/storewolf"
	"github.com/drydock-os/drydock/internal/osimage"
	"github.com/drydock-os/drydock/internal/program"
)

func newStorewolfCmd(stderr io.Writer) *cobra.Command {
	cfg := storewolf.Config{}
	var logFlags program.Log
	c := &cobra.Command{
		Use:   "storewolf",
		Short: "Make the settings store ready, once per boot",
		Long: `Create the settings store when there is none, drop the transactions of the boot before, and
fill in missing defaults: settings into the transaction bottlerocket-launch, everything else so
that it counts at once. What is set stays as it is. 'hostd serve' does the same when nobody has
done it since the boot.`,
		Example: "  hostd storewolf --version 1.2.3",
		Args:    program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if cfg.Log, err = logFlags.New(stderr); err != nil {
				return program.WithUsage(c, err)
			}
			if err := identify(&cfg); err != nil {
				return err
			}
			s, err := storewolf.PrepareAgain(cfg)
			if errors.Is(err, store.ErrLocked) {
				err = cli.WithHint(err, "the host daemon keeps it open; run storewolf before it starts")
			}
			if err != nil {
				return err
			}
			return s.Close()
		},
	}
	f := c.Flags()
	rootdir.Flag(f, &cfg.Root)
	f.StringVar(&cfg.Dir, "data-store-base-path", storewolf.Dir, "`folder` of the store, below --root")
	f.StringVar(&cfg.Version, "version", "", "`version` of a new store (default: from /usr/lib/os-release)")
	f.StringVar(&cfg.Variant, "variant", "", "`variant` that the defaults are for (default: from /usr/lib/os-release)")
	logFlags.Flags(f, "stderr")
	return c
}

// identify fills in what flags have left open.
func identify(cfg *storewolf.Config) error {
	if cfg.Version == "" || cfg.Variant == "" {
		release, err := releaseOf(cfg.Root)
		if err != nil {
			return cli.WithHint(err, "give --version and --variant")
		}
		if cfg.Version == "" {
			cfg.Version = release.Version
		}
		if cfg.Variant == "" {
			cfg.Variant = release.Variant
		}
	}
	// Without the id of the boot, the host daemon only cannot tell that the store is ready.
	id, err := os.ReadFile(filepath.Join(cfg.Root, "proc/sys/kernel/random/boot_id"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("identifying the running system: %w", err)
	}
	cfg.BootID = string(bytes.TrimSpace(id))
	return nil
}

// releaseOf says which system is installed below root.
func releaseOf(root string) (osimage.Release, error) {
	f, err := os.Open(filepath.Join(root, "usr/lib/os-release"))
	if err != nil {
		return osimage.Release{}, fmt.Errorf("identifying the running system: %w", err)
	}
	defer f.Close()
	release, err := osimage.ParseRelease(f)
	if err != nil {
		return osimage.Release{}, fmt.Errorf("identifying the running system: %w", err)
	}
	return release, nil
}
