// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package logdog collects what people need who look for the cause of a problem on a host: one archive of logs, states
// and settings.
//
// A request that fails is noted in the archive and stops nothing. Settings that are secret are never in it.
package logdog

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

const (
	top        = "bottlerocket-logs/" // folder of the archive
	errorsFile = "logdog.errors"
	maxFile    = 256 << 20        // bytes of one file of the archive; the rest is left out, with a note
	timeLimit  = 60 * time.Second // of one request
	afterKill  = 2 * time.Second  // for output of children of a program that was killed

	// DefaultOutput is where the archive goes, below the root.
	DefaultOutput = "/var/log/support/bottlerocket-logs.tar.gz"

	// oldOutput is where releases of 2020 left it.
	oldOutput = "/tmp/bottlerocket-logs.tar.gz"
)

var errTooLong = fmt.Errorf("more than %d bytes: the rest is left out", maxFile)

// LinkOld lets the archive at the default place be found where releases of 2020 left it, for scripts that fetch it there.
func LinkOld(root string) error {
	target, err := filepath.Rel(filepath.Dir(oldOutput), DefaultOutput) // the same below any root
	if err != nil {
		return err
	}
	link := filepath.Join(root, oldOutput)
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return err
	}
	// Everybody may write there: what is in the way goes, and is neither followed nor written to.
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink(target, link)
}

// Settings returns the host's settings as JSON, as the API has them.
type Settings func(context.Context) ([]byte, error)

// Config holds what collecting needs. All fields are required.
type Config struct {
	Root     string // below which all files and programs of the host are
	Requests []string
	Settings Settings
	Output   string // path of the archive, not below Root
	Now      time.Time
	Stdout   io.Writer // is told about each request
}

// collection is one archive in the making.
type collection struct {
	cfg    Config
	tar    *tar.Writer
	spool  *os.File // of the file that is collected; an archive wants to know sizes first
	failed bytes.Buffer
}

// Collect makes the archive. Its error is one of writing the archive; what else goes wrong is in the archive.
func Collect(ctx context.Context, cfg Config) (err error) {
	dir := filepath.Dir(cfg.Output)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("writing archive: %w", err)
	}
	out, err := os.CreateTemp(dir, ".logdog.*.tmp") // readable by its owner only
	if err != nil {
		return fmt.Errorf("writing archive: %w", err)
	}
	spool, err := os.CreateTemp(dir, ".logdog.*.tmp")
	if err != nil {
		return errors.Join(fmt.Errorf("writing archive: %w", err), out.Close(), os.Remove(out.Name()))
	}
	defer func() {
		_, _ = spool.Close(), os.Remove(spool.Name())
		if err != nil {
			_, _ = out.Close(), os.Remove(out.Name())
			err = fmt.Errorf("writing archive: %w", err)
		}
	}()
	z := gzip.NewWriter(out)
	c := &collection{cfg: cfg, tar: tar.NewWriter(z), spool: spool}
	for _, r := range cfg.Requests {
		if _, err := fmt.Fprintf(cfg.Stdout, "Running: %s\n", r); err != nil {
			return err
		}
		if err := c.request(ctx, r); err != nil {
			if archive, ok := errors.AsType[*archiveError](err); ok {
				return archive
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			fmt.Fprintf(&c.failed, "Error running command '%s': '%v'\n", r, err)
		}
	}
	if err := c.add(errorsFile, func(w io.Writer) error { _, err := w.Write(c.failed.Bytes()); return err }); err != nil {
		return err
	}
	for _, finish := range []func() error{c.tar.Close, z.Close, out.Sync, out.Close} {
		if err := finish(); err != nil {
			return err
		}
	}
	return os.Rename(out.Name(), cfg.Output)
}

// archiveError is an error of the archive itself.
type archiveError struct{ error }

func (e *archiveError) Unwrap() error { return e.error }

// add makes a file of what fill writes. Also what was written before an error is there.
func (c *collection) add(name string, fill func(io.Writer) error) error {
	if !filepath.IsLocal(name) {
		return fmt.Errorf("%q is no name for a file of the archive", name)
	}
	_, err := c.spool.Seek(0, io.SeekStart)
	if err == nil {
		err = c.spool.Truncate(0)
	}
	if err != nil {
		return &archiveError{err}
	}
	w := &limited{w: c.spool, left: maxFile}
	filled := fill(w)
	if w.err != nil {
		return &archiveError{w.err}
	}
	if w.cut {
		filled = errors.Join(filled, errTooLong)
	}
	size, err := c.spool.Seek(0, io.SeekCurrent)
	if err == nil {
		_, err = c.spool.Seek(0, io.SeekStart)
	}
	if err == nil {
		err = c.tar.WriteHeader(&tar.Header{Name: path.Join(top, name), Size: size, Mode: 0o600, ModTime: c.cfg.Now, Format: tar.FormatPAX})
	}
	if err == nil {
		_, err = io.CopyN(c.tar, c.spool, size)
	}
	if err != nil {
		return &archiveError{err}
	}
	return filled
}

// limited passes on as much as may be in a file.
type limited struct {
	w    io.Writer
	left int
	cut  bool
	err  error
}

func (l *limited) Write(p []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	n := min(len(p), l.left)
	l.left -= n
	l.cut = l.cut || n < len(p)
	_, l.err = l.w.Write(p[:n])
	return len(p), l.err
}

// Requests returns those of the files in /usr/share/logdog.d, or ours for the variant when there are none.
func Requests(root, variant string) ([]string, error) {
	dir := filepath.Join(root, "/usr/share/logdog.d")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return lines(defaults(root, variant)), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading requests: %w", err)
	}
	var list []string
	for _, e := range entries { // sorted by name
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading requests: %w", err)
		}
		data, err := io.ReadAll(io.LimitReader(f, 1<<20))
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("reading requests: %w", err)
		}
		list = append(list, lines(string(data))...)
	}
	return list, nil
}

func lines(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			list = append(list, line)
		}
	}
	return list
}
