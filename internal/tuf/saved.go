// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/drydock-os/drydock/internal/durable"
)

// Folders says where a part of a repository is kept on a host. The layout is that of the original: metadata under the
// names that servers have it under, with all versions of root.json, and targets with their digests in front.
type Folders struct{ Metadata, Targets string }

const timestampFile = metadata.TIMESTAMP + ".json"

// numbered are metadata files with their version in front.
var numbered = regexp.MustCompile(`^[0-9]+\.(snapshot|targets)\.json$`)

// Save keeps the metadata that Refresh has verified, and the named targets, for OpenSaved. What is kept there already is
// not downloaded again. Readers find what was saved before or all of this, also after a power cut: the timestamp is
// replaced last. Targets that the repository no longer lists are removed. Errors are those of Refresh and Open.
func (c *Client) Save(ctx context.Context, to Folders, names []string) error {
	if c.trusted == nil {
		return errors.New("saving a repository that was not refreshed")
	}
	for _, dir := range []string{to.Metadata, to.Targets} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("saving the repository: %w", err)
		}
	}
	for _, name := range names {
		if err := c.saveTarget(ctx, to.Targets, name); err != nil {
			return fmt.Errorf("saving %w", err)
		}
	}
	if err := durable.SyncDir(to.Targets); err != nil {
		return fmt.Errorf("saving the repository: %w", err)
	}
	if err := c.saveMetadata(ctx, to.Metadata); err != nil {
		return fmt.Errorf("saving the repository: %w", err)
	}
	if err := c.sweepTargets(to.Targets); err != nil {
		return fmt.Errorf("saving the repository: %w", err)
	}
	return nil
}

// saveTarget streams one target into its file, which it becomes once all of it is verified.
func (c *Client) saveTarget(ctx context.Context, dir, name string) (err error) {
	t, err := c.Lookup(name)
	if err != nil {
		return err
	}
	if name != filepath.Base(name) {
		return fmt.Errorf("%s: %w: its name is no file name", name, ErrMalformed)
	}
	path := filepath.Join(dir, c.targetFile(t))
	if have, err := digestOf(path); err == nil && have == t.SHA256 {
		return nil
	}
	from, _, err := c.Open(ctx, name)
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := os.CreateTemp(dir, temporaryTarget)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close() // the first error is the one to tell
			_ = os.Remove(f.Name())
		}
	}()
	if _, err := io.Copy(f, from); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// temporaryTarget is the pattern of names of targets that are not complete.
const temporaryTarget = ".saving-*"

func digestOf(path string) (sum [sha256.Size]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	digest := sha256.New()
	_, err = io.Copy(digest, f)
	copy(sum[:], digest.Sum(nil))
	return sum, err
}

// targetFile is the name of a target's file in this repository.
func (c *Client) targetFile(t Target) string {
	if c.trusted.Root.Signed.ConsistentSnapshot {
		return t.file()
	}
	return t.Name
}

// saveMetadata writes what the client remembers under the names of the repository.
func (c *Client) saveMetadata(ctx context.Context, dir string) error {
	if err := c.saveRoots(ctx, dir); err != nil {
		return err
	}
	t := c.trusted
	snapshot := c.versioned(t, t.Snapshot.Signed.Version, snapshotFile)
	targets := c.versioned(t, t.Targets[metadata.TARGETS].Signed.Version, targetsFile)
	for _, m := range []struct {
		from, to string
		limit    int64
	}{{targetsFile, targets, maxTargets}, {snapshotFile, snapshot, maxSnapshot}, {timestampFile, timestampFile, maxTimestamp}} {
		data, err := c.store.read(m.from, m.limit)
		if err == nil {
			err = durable.WriteFile(filepath.Join(dir, m.to), data, 0o600)
		}
		if err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if n := e.Name(); numbered.MatchString(n) && n != snapshot && n != targets {
			err = errors.Join(err, os.Remove(filepath.Join(dir, n)))
		}
	}
	return err
}

// saveRoots writes all versions of root.json: whoever opens this later may start from an older one than ours. Of those
// before ours nothing is known but what the server says; their reader starts from one that it trusts.
func (c *Client) saveRoots(ctx context.Context, dir string) error {
	root, err := parse(metadata.Root().FromBytes, c.cfg.TrustedRoot)
	if err != nil {
		return malformed("trusted root.json", err)
	}
	ours, newest := root.Signed.Version, c.trusted.Root.Signed.Version
	for v := newest; v > 0; v-- {
		name := strconv.FormatInt(v, 10) + ".root.json"
		var data []byte
		switch {
		case v > ours:
			data, err = c.store.read(name, maxRoot)
		case v == ours:
			data = c.cfg.TrustedRoot
		default:
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				continue
			}
			data, err = c.fetch.file(ctx, c.metadata, name, maxRoot)
			if errors.Is(err, ErrAbsent) {
				return nil // nor are those before it
			}
			if err == nil {
				err = checkRoot(data)
			}
		}
		if err == nil {
			err = durable.WriteFile(filepath.Join(dir, name), data, 0o600)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// sweepTargets removes what no signed name leads to any more. It stays where that is not certain.
func (c *Client) sweepTargets(dir string) error {
	known := map[string]bool{}
	for name, file := range c.trusted.Targets[metadata.TARGETS].Signed.Targets {
		t := Target{Name: name, Length: file.Length}
		copy(t.SHA256[:], file.Hashes["sha256"])
		known[c.targetFile(t)] = true
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type().IsRegular() && !known[e.Name()] {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// Saved is what Save has kept.
type Saved struct {
	trusted *trustedmetadata.TrustedMetadata
	targets string
}

// OpenSaved verifies saved metadata, beginning with a root.json that is trusted beforehand. That it has expired is no
// error: hosts boot long after they saved it. Nor is a wrong clock. Errors: ErrAbsent, ErrSignature, ErrRollback,
// ErrDigest, ErrMalformed, ErrTooLarge.
func OpenSaved(trustedRoot []byte, from Folders) (*Saved, error) {
	if err := checkRoot(trustedRoot); err != nil {
		return nil, malformed("trusted root.json", err)
	}
	t, err := trustedmetadata.New(trustedRoot)
	if err != nil {
		return nil, classify("trusted root.json", err)
	}
	t.RefTime = time.Time{} // before every expiry
	s := store{from.Metadata}
	load := func(name string, limit int64, check func([]byte) error, use func([]byte) error) error {
		data, err := s.read(name, limit)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", name, ErrAbsent)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := check(data); err != nil {
			return malformed(name, err)
		}
		if err := use(data); err != nil {
			return classify(name, err)
		}
		return nil
	}
	for range maxRootUpdates {
		name := strconv.FormatInt(t.Root.Signed.Version+1, 10) + ".root.json"
		err = load(name, maxRoot, checkRoot, func(data []byte) error { _, err := t.UpdateRoot(data); return err })
		if err != nil {
			break
		}
	}
	if err != nil && !errors.Is(err, ErrAbsent) {
		return nil, err
	}
	c := &Client{}
	if err := load(timestampFile, maxTimestamp, checkTimestamp, func(data []byte) error {
		_, err := t.UpdateTimestamp(data)
		return err
	}); err != nil {
		return nil, err
	}
	snapshot := t.Timestamp.Signed.Meta[snapshotFile]
	if err := load(c.versioned(t, snapshot.Version, snapshotFile), maxSnapshot,
		func(data []byte) error { return checkSnapshot(data, snapshot.Version) },
		func(data []byte) error { _, err := t.UpdateSnapshot(data, false); return err }); err != nil {
		return nil, err
	}
	targets := t.Snapshot.Signed.Meta[targetsFile]
	if err := load(c.versioned(t, targets.Version, targetsFile), maxTargets,
		func(data []byte) error { return checkTargets(data, targets.Version) },
		func(data []byte) error { _, err := t.UpdateTargets(data); return err }); err != nil {
		return nil, err
	}
	return &Saved{t, from.Targets}, nil
}

// Read returns a saved target of at most limit bytes. Errors: ErrAbsent, ErrTooLarge, and ErrDigest when it is not what
// was signed.
func (s *Saved) Read(name string, limit int64) ([]byte, error) {
	c := &Client{trusted: s.trusted}
	t, err := c.Lookup(name)
	if err != nil {
		return nil, err
	}
	if t.Length > limit {
		return nil, fmt.Errorf("%s: %w: %d bytes, at most %d", name, ErrTooLarge, t.Length, limit)
	}
	if name != filepath.Base(name) {
		return nil, fmt.Errorf("%s: %w: its name is no file name", name, ErrMalformed)
	}
	f, err := os.Open(filepath.Join(s.targets, c.targetFile(t)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, ErrAbsent)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, t.Length+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if sum := sha256.Sum256(data); !slices.Equal(sum[:], t.SHA256[:]) {
		return nil, &DigestError{Name: name, Want: "sha256 " + hex.EncodeToString(t.SHA256[:]), Got: "sha256 " + hex.EncodeToString(sum[:])}
	}
	return data, nil
}
