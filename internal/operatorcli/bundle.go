// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/program"
)

func (t *tool) bundleCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "support-bundle",
		Short: "Collect what helps to find a fault into one file, without secrets",
		Long: `Collect what helps to find a fault into one file, without secrets.

The file, a tar.gz, holds the nodes' records, labels and conditions of the nodes, and the operator's deployments, pods,
leases, events and logs. Secret objects are never read. Values of variables whose name contains TOKEN, SECRET, PASSWORD,
CREDENTIAL or KEY are replaced, as is everything in objects and logs that looks like a token, a password or a private
key. Look through it all the same before you pass it on: it names your nodes and their labels.

What cannot be read is left out, and named in the file about.yaml of the bundle.`,
		Example: fmt.Sprintf("  %[1]s support-bundle\n  %[1]s support-bundle --file - | tar tz", t.Program),
		Args:    program.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := t.connect()
			if err != nil {
				return err
			}
			ctx, cancel := t.bounded(cmd.Context(), bundleTimeout)
			defer cancel()
			return t.bundle(ctx, c, file)
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "where to write it, - for stdout (default: drydock-support-TIME.tar.gz here)")
	return cmd
}

// bundle collects first and writes then, so that a cluster that cannot be reached leaves no file.
func (t *tool) bundle(ctx context.Context, c *cluster, file string) error {
	now := t.Now().UTC()
	name := "drydock-support-" + now.Format("20060102-150405")
	entries, missing, err := t.collect(ctx, c)
	if err != nil {
		return err
	}
	switch n := len(missing); {
	case n == 1:
		t.warn("left out: %s", missing[0])
	case n > 1:
		t.warn("left out: %s; about.yaml in the bundle names %d more", missing[0], n-1)
	}
	if file == "-" {
		return writeBundle(t.Stdout, name, now, entries)
	}
	if file == "" {
		file = name + ".tar.gz"
	}
	if err := createBundle(file, name, now, entries); err != nil {
		return err
	}
	fmt.Fprintln(t.Stderr, "Look through the file before you pass it on: secrets are taken out, names are not.")
	_, err = fmt.Fprintln(t.Stdout, file)
	return err
}

// createBundle writes a new file that only its owner may read. It leaves none behind when it fails.
func createBundle(file, name string, now time.Time, entries []entry) error {
	f, err := os.OpenFile(filepath.Clean(file), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return cli.WithHint(fmt.Errorf("creating the bundle: %w", err), "name another file with --file; an existing one is never overwritten")
	}
	err = errors.Join(writeBundle(f, name, now, entries), f.Sync(), f.Close())
	if err != nil {
		return errors.Join(fmt.Errorf("writing the bundle: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// entry is one file of the bundle.
type entry struct {
	name string
	data []byte
}

func writeBundle(w io.Writer, name string, now time.Time, entries []entry) error {
	zw := gzip.NewWriter(w)
	tw := tar.NewWriter(zw)
	for _, e := range entries {
		if err := tw.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: path.Join(name, e.name), Size: int64(len(e.data)), Mode: 0o600, ModTime: now,
		}); err != nil {
			return fmt.Errorf("adding %s: %w", e.name, err)
		}
		if _, err := tw.Write(e.data); err != nil {
			return fmt.Errorf("adding %s: %w", e.name, err)
		}
	}
	return errors.Join(tw.Close(), zw.Close())
}
