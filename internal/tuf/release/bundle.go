// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package release

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/drydock-os/drydock/internal/durable"
	"github.com/drydock-os/drydock/internal/manifest"
	"github.com/drydock-os/drydock/internal/tuf"
)

// ErrBundle means that a file is not a bundle made by Export, or not a whole and valid one.
var ErrBundle = errors.New("not a valid bundle")

// Export writes one version as a bundle: a tar file that holds a whole, small repository with nothing but this update
// and the migrations up to it. Its metadata is signed anew, so that hosts which read it are offered nothing that is
// not there, and lives as long as Where.Life says. An existing file is not replaced. Errors: manifest.ErrUnknown and
// those of tuf.OpenRepository.
func Export(ctx context.Context, w Where, version *semver.Version, out string) (_ *Changed, err error) {
	if err := w.check(); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(out); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("exporting: %s: %w", out, errors.Join(fs.ErrExist, err))
	}
	repo, err := w.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, repo.Close()) }()
	m, err := load(repo, w.part())
	if err != nil {
		return nil, err
	}
	u := m.Find(w.Variant, w.Arch, version)
	if u == nil {
		return nil, fmt.Errorf("exporting: %s %s %v: %w", w.Variant, w.Arch, version, manifest.ErrUnknown)
	}
	only := &manifest.Manifest{Updates: []manifest.Update{*u}}
	for _, g := range m.Migrations {
		if !g.From.GreaterThan(version) && !g.To.GreaterThan(version) {
			only.Migrations = append(only.Migrations, g)
		}
	}
	data, err := only.JSON()
	if err != nil {
		return nil, fmt.Errorf("exporting: %w", err)
	}
	sources := []tuf.Source{{Name: manifest.TargetName, Data: data}}
	for _, name := range only.Targets() {
		file, err := repo.TargetFile(w.part(), name)
		if err != nil {
			return nil, fmt.Errorf("exporting: %w", err)
		}
		sources = append(sources, tuf.Source{Name: name, Path: file, Want: filepath.Base(file)})
	}
	// The small repository is made beside the bundle, where there must be room for it anyway.
	dir, err := os.MkdirTemp(filepath.Dir(out), ".export-*")
	if err != nil {
		return nil, fmt.Errorf("exporting: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := repo.CopyRoots(dir); err != nil {
		return nil, fmt.Errorf("exporting: %w", err)
	}
	least, err := repo.Version(w.part())
	if err != nil {
		return nil, fmt.Errorf("exporting: %w", err)
	}
	small := w
	small.Dir, small.least = dir, least+1 // so that later bundles replace earlier ones, however fast they are made
	to, err := small.open()
	if err != nil {
		return nil, err
	}
	published, err := to.Publish(ctx, w.part(), sources)
	if err := errors.Join(err, to.Close()); err != nil {
		return nil, err
	}
	if err := pack(ctx, dir, out, w.Now); err != nil {
		return nil, fmt.Errorf("exporting: %w", err)
	}
	return changed(w, published, nil)
}

// pack writes the files of dir as a tar file, all or nothing.
func pack(ctx context.Context, dir, out string, now time.Time) (err error) {
	f, err := os.CreateTemp(filepath.Dir(out), ".export-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	tw := tar.NewWriter(f)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		header := &tar.Header{Name: filepath.ToSlash(name), Mode: 0o644, Size: info.Size(), ModTime: now.Truncate(time.Second), Format: tar.FormatPAX}
		if err := tw.WriteHeader(header); err != nil {
			return err
		}
		return copyFile(ctx, tw, path)
	})
	if err != nil {
		return err
	}
	if err := tw.Close(); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), out)
}

func copyFile(ctx context.Context, w io.Writer, path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(w, cancellable{ctx, in})
	return err
}

// cancellable makes a long copy stop when its context ends.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// ImportConfig says which bundle goes where.
type ImportConfig struct {
	Bundle      string // file
	Dir         string // of the repository or mirror; made if missing
	TrustedRoot []byte // a root.json
	Now         time.Time
}

// Import verifies a bundle and puts its repository in place of the same part of the one in Dir, or makes it one.
// Readers of Dir see the old or the new state. No keys are needed. Errors: ErrBundle, tuf.ErrForeign,
// tuf.ErrRollback, tuf.ErrLocked; after them Dir means what it meant before.
func Import(ctx context.Context, cfg ImportConfig) (parts []string, err error) {
	undo, err := durable.MakeDir(cfg.Dir, 0o755)
	if err != nil {
		return nil, fmt.Errorf("importing: %w", err)
	}
	defer func() {
		if err != nil {
			undo()
		}
	}()
	staging, err := os.MkdirTemp(cfg.Dir, ".import-*")
	if err != nil {
		return nil, fmt.Errorf("importing: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staging)) }()
	if err := unpack(ctx, cfg.Bundle, staging); err != nil {
		return nil, fmt.Errorf("importing: %w", err)
	}
	report, err := Check(ctx, CheckConfig{Files: os.DirFS(staging), TrustedRoot: cfg.TrustedRoot, Now: cfg.Now})
	if err != nil {
		return nil, err
	}
	if len(report.Faults) > 0 {
		return nil, fmt.Errorf("importing %s: %w: %s", cfg.Bundle, ErrBundle, strings.Join(report.Faults, "; "))
	}
	return tuf.Merge(ctx, cfg.Dir, staging)
}

// bundled is what a bundle may hold: roots, the metadata of parts, targets.
var bundled = regexp.MustCompile(`^(root\.json|[0-9]{1,4}\.root\.json|` +
	`[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*/(timestamp\.json|[0-9]{1,19}\.(root|snapshot|targets)\.json)|` +
	`targets/[0-9a-f]{64}\.[^/\x00]{1,180})$`)

// maxBundled bounds the number of files in a bundle.
const maxBundled = 10000

// unpack writes the files of a bundle below dir. Names that a bundle cannot have are refused, so nothing outside of
// dir is touched.
func unpack(ctx context.Context, bundle, dir string) error {
	f, err := os.Open(bundle)
	if err != nil {
		return err
	}
	defer f.Close()
	tr := tar.NewReader(f)
	for n := 0; ; n++ {
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			if n == 0 {
				return fmt.Errorf("%s: %w: it is empty", bundle, ErrBundle)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w: %w", bundle, ErrBundle, err)
		}
		if header.Typeflag != tar.TypeReg || !bundled.MatchString(header.Name) || n >= maxBundled {
			return fmt.Errorf("%s: %w: it holds %q", bundle, ErrBundle, header.Name)
		}
		to := filepath.Join(dir, filepath.FromSlash(header.Name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, cancellable{ctx, tr})
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%s: %w: it ends too early", bundle, ErrBundle)
		}
		if err == nil {
			err = out.Sync()
		}
		if err := errors.Join(err, out.Close()); err != nil {
			return err
		}
	}
}
