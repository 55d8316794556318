// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/hostd/migrate"
	"github.com/drydock-os/drydock/internal/hostd/rootdir"
	"github.com/drydock-os/drydock/internal/hostd/store"
	"github.com/drydock-os/drydock/internal/hostd/storewolf"
	"github.com/drydock-os/drydock/internal/hostd/system"
	"github.com/drydock-os/drydock/internal/manifest"
	"github.com/drydock-os/drydock/internal/program"
	"github.com/drydock-os/drydock/internal/tuf"
)

// migrator is the command line of the program.
type migrator struct {
	root, store, trusted, version string
	saved                         tuf.Folders
	running                       bool
	log                           program.Log
}

func newMigratorCmd(stderr io.Writer) *cobra.Command {
	m := migrator{}
	c := &cobra.Command{
		Use:   "migrator {--migrate-to-version V | --migrate-to-version-from-os-release}",
		Short: "Bring the settings store to another version, before anybody opens it",
		Long: `Bring the settings store to the version of the system that boots, forward or back, by the
migrations that were saved when the update was prepared. All of them must succeed, else the store
stays as it is. Without a store, and when it is of the version, there is nothing to do. 'hostd
serve' does the same before it opens the store.`,
		Example: "  hostd migrator --migrate-to-version-from-os-release",
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return notUsage(c, fmt.Errorf("unexpected argument %q", args[0]))
			}
			return m.run(c, stderr)
		},
	}
	// Unlike our other programs it ends with 1 then, as the original does.
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return notUsage(c, err) })
	f := c.Flags()
	rootdir.Flag(f, &m.root)
	f.StringVar(&m.store, "datastore-path", storewolf.Dir+"/current", "`path` of the store, below --root")
	f.StringVar(&m.saved.Targets, "migration-directory", migrate.TargetsDir, "`folder` with the saved migrations, below --root")
	f.StringVar(&m.saved.Metadata, "metadata-directory", migrate.MetadataDir, "`folder` with the saved signatures, below --root")
	f.StringVar(&m.trusted, "root-path", system.TrustedRootPath, "`path` of the root.json that is trusted, below --root")
	f.StringVar(&m.version, "migrate-to-version", "", "`version` that the store is to have, with or without v")
	f.BoolVar(&m.running, "migrate-to-version-from-os-release", false, "the version is that of /usr/lib/os-release")
	m.log.Flags(f, "stderr")
	return c
}

func (m migrator) run(c *cobra.Command, stderr io.Writer) error {
	log, err := m.log.New(stderr)
	if err == nil && m.running == (m.version != "") {
		err = errors.New("one of --migrate-to-version and --migrate-to-version-from-os-release is required")
	}
	if err != nil {
		return notUsage(c, err)
	}
	if m.running {
		release, err := releaseOf(m.root)
		if err != nil {
			return cli.WithHint(err, "give --migrate-to-version")
		}
		m.version = release.Version
	}
	to, err := manifest.ParseVersion(trimVersion(m.version))
	if err != nil {
		return notUsage(c, fmt.Errorf("version %w", err))
	}
	dir := filepath.Join(m.root, m.store)
	if filepath.Base(dir) == "current" {
		dir = filepath.Dir(dir)
	}
	err = migrate.Run(c.Context(), migrate.Config{
		Dir: dir, To: to, Log: log,
		Open: func() (migrate.Repository, error) {
			trusted, err := os.ReadFile(filepath.Join(m.root, m.trusted))
			if err != nil {
				return nil, fmt.Errorf("reading the trusted root: %w", err)
			}
			return migrate.OpenSaved(trusted, tuf.Folders{
				Metadata: filepath.Join(m.root, m.saved.Metadata), Targets: filepath.Join(m.root, m.saved.Targets),
			})
		},
	})
	switch {
	case errors.Is(err, store.ErrLocked):
		return cli.WithHint(err, "the host daemon keeps it open; run migrator before it starts")
	case errors.Is(err, manifest.ErrNoPath):
		return cli.WithHint(err, "the publisher adds them with 'imgtool repo set-migrations'; the store is as it was")
	case errors.Is(err, tuf.ErrAbsent):
		return cli.WithHint(err, "preparing an update saves it; the store is as it was")
	}
	return err
}

// notUsage says where to look after a mistake on the command line, and takes away what would make the exit code 2.
func notUsage(c *cobra.Command, err error) error {
	return cli.WithHint(errors.New(err.Error()), "see '%s --help'", c.CommandPath())
}

// trimVersion takes the v away that people write.
func trimVersion(s string) string {
	if len(s) > 1 && s[0] == 'v' {
		return s[1:]
	}
	return s
}
