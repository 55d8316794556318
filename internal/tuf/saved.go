// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"bytes"
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
)

// Folders says where a part of a repository is kept on a host. The layout is that of the original: metadata under the
// names that servers have it under, with all versions of root.json, and targets with their digests in front.
type Folders struct{ Metadata, Targets string }

const timestampFile = metadata.TIMESTAMP + ".json"

// removable are metadata files with their version in front, and what writing one has left behind when the power went.
var removable = regexp.MustCompile(`^[0-9]+\.(snapshot|targets)\.json$|^\..*\.tmp$`)

// Save keeps the metadata that Refresh has verified, and the named targets, for OpenSaved. What is kept there already is
// not downloaded again. OpenSaved finds what was saved before or all of this, also after a power cut, if the repository
// has consistent snapshots: what is new has names of its own, and the timestamp is replaced last. Targets that the
// repository no longer lists are removed. Errors are those of Refresh and Open.
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
	if err := c.saveMetadata(ctx, to.Metadata); err != nil {
		return fmt.Errorf("saving the repository: %w", err)
	}
	if err := c.sweepTargets(to.Targets); err != nil {
		return fmt.Errorf("saving the repository: %w", err)
	}
	return nil
}

// saveTarget streams one target into its file, which it becomes once all of it is verified.
func (c *Client) saveTarget(ctx context.Context, dir, name string) error {
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
	return errors.Join(c.store.files.Write(path, from), from.Close())
}

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
			err = c.store.files.Write(filepath.Join(dir, m.to), bytes.NewReader(data))
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
		if n := e.Name(); removable.MatchString(n) && n != snapshot && n != targets {
			err = errors.Join(err, c.store.files.Remove(filepath.Join(dir, n)))
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
			err = c.store.files.Write(filepath.Join(dir, name), bytes.NewReader(data))
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
			err = errors.Join(err, c.store.files.Remove(filepath.Join(dir, e.Name())))
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
	roots := [][]byte{trustedRoot}
	t, err := trustedFrom(roots)
	if err != nil {
		return nil, err
	}
	s := store{dir: from.Metadata}
	for range maxRootUpdates {
		name := strconv.FormatInt(t.Root.Signed.Version+1, 10) + ".root.json"
		var data []byte
		err = s.use(name, maxRoot, checkRoot, func(d []byte) error { data = d; _, err := t.UpdateRoot(d); return err })
		if err != nil {
			break
		}
		roots = append(roots, data)
	}
	if err != nil && !errors.Is(err, ErrAbsent) {
		return nil, err
	}
	err = s.openRest(t)
	// The power may have gone after the roots were saved and before what their new keys have signed was: the old rest is
	// good still, by an older root. Nobody gains by that who could not as well take the newer roots away.
	for tried := len(roots); errors.Is(err, ErrSignature) && tried > 1; tried-- {
		older, wrong := trustedFrom(roots[:tried-1])
		if wrong == nil && s.openRest(older) == nil {
			t, err = older, nil
		}
	}
	if err != nil {
		return nil, err // by the newest root
	}
	return &Saved{t, from.Targets}, nil
}

// trustedFrom begins with the first of the roots and goes on to the last.
func trustedFrom(roots [][]byte) (*trustedmetadata.TrustedMetadata, error) {
	t, err := trustedmetadata.New(roots[0])
	if err != nil {
		return nil, classify("trusted root.json", err)
	}
	t.RefTime = time.Time{} // before every expiry
	for _, data := range roots[1:] {
		if _, err := t.UpdateRoot(data); err != nil {
			return nil, classify("root.json", err)
		}
	}
	return t, nil
}

// openRest reads what comes after the roots.
func (s *store) openRest(t *trustedmetadata.TrustedMetadata) error {
	c := &Client{}
	if err := s.use(timestampFile, maxTimestamp, checkTimestamp, func(data []byte) error {
		_, err := t.UpdateTimestamp(data)
		return err
	}); err != nil {
		return err
	}
	snapshot := t.Timestamp.Signed.Meta[snapshotFile]
	if err := s.use(c.versioned(t, snapshot.Version, snapshotFile), maxSnapshot,
		func(data []byte) error { return checkSnapshot(data, snapshot.Version) },
		func(data []byte) error { _, err := t.UpdateSnapshot(data, false); return err }); err != nil {
		return err
	}
	targets := t.Snapshot.Signed.Meta[targetsFile]
	return s.use(c.versioned(t, targets.Version, targetsFile), maxTargets,
		func(data []byte) error { return checkTargets(data, targets.Version) },
		func(data []byte) error { _, err := t.UpdateTargets(data); return err })
}

// use reads a file, checks it and hands it on.
func (s *store) use(name string, limit int64, check, use func([]byte) error) error {
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
