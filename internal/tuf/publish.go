// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/drydock-os/drydock/internal/durable"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sys/unix"
)

// Default life of signed metadata.
const (
	defaultTargetsLife   = 2 * 7 * 24 * time.Hour
	defaultSnapshotLife  = 2 * 7 * 24 * time.Hour
	defaultTimestampLife = 7 * 24 * time.Hour
)

// RepositoryConfig says where a repository is and how it is signed. Fields are required unless they name a default.
type RepositoryConfig struct {
	Dir     string // made by Init
	KeysDir string // its private keys
	Now     time.Time

	TargetsLife, SnapshotLife, TimestampLife time.Duration // defaults: 2 weeks, 2 weeks, 1 week
}

// Repository publishes into a repository on disk. Below its Dir, "<part>/" holds the metadata of one part (a variant
// and arch) and "targets/" the targets of all parts.
type Repository struct {
	cfg   RepositoryConfig
	roots []rootFile // oldest first
	root  rootFile   // the newest
	keys  []crypto.Signer
	lock  *os.File
}

// OpenRepository reads roots and keys, checks that they belong together, and locks the repository against other
// publishers until Close.
func OpenRepository(cfg RepositoryConfig) (*Repository, error) {
	if cfg.Now.IsZero() {
		return nil, errors.New("opening repository: no time given")
	}
	for life, standard := range map[*time.Duration]time.Duration{
		&cfg.TargetsLife: defaultTargetsLife, &cfg.SnapshotLife: defaultSnapshotLife, &cfg.TimestampLife: defaultTimestampLife,
	} {
		if *life == 0 {
			*life = standard
		}
	}
	r := &Repository{cfg: cfg}
	var err error
	if r.roots, err = loadRoots(cfg.Dir); err != nil {
		return nil, err
	}
	r.root = r.roots[len(r.roots)-1]
	if r.keys, err = loadKeys(cfg.KeysDir); err != nil {
		return nil, err
	}
	// Signing something now tells before any work whether the keys are those of this repository.
	for _, role := range []string{metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP} {
		if err := sign(metadata.Targets(), role, &r.root.Signed, r.keys); err != nil {
			return nil, err
		}
	}
	if r.root.Signed.IsExpired(cfg.Now) {
		return nil, fmt.Errorf("opening repository: root.json: %w", ErrExpired)
	}
	if r.lock, err = os.Open(cfg.Dir); err != nil {
		return nil, fmt.Errorf("locking repository: %w", err)
	}
	if err := unix.Flock(int(r.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = r.lock.Close()
		return nil, fmt.Errorf("locking repository %s: another program is publishing: %w", cfg.Dir, err)
	}
	return r, nil
}

// Close releases the lock.
func (r *Repository) Close() error { return r.lock.Close() }

// state is what one part of the repository says now.
type state struct {
	timestamp, snapshot, targets int64 // versions; 0: nothing published yet
	files                        map[string]*metadata.TargetFiles
}

// load reads the present state of a part and verifies that this repository's keys have signed it. Expiry does not
// matter: publishing is what cures it.
func (r *Repository) load(part string) (*state, error) {
	dir := filepath.Join(r.cfg.Dir, part)
	data, err := os.ReadFile(filepath.Join(dir, metadata.TIMESTAMP+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return &state{files: map[string]*metadata.TargetFiles{}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading repository: %w", err)
	}
	if err := checkTimestamp(data); err != nil {
		return nil, fmt.Errorf("reading repository: %w", malformed("timestamp.json", err))
	}
	timestamp, err := verified[metadata.TimestampType](r, metadata.TIMESTAMP, data)
	if err != nil {
		return nil, err
	}
	meta := timestamp.Signed.Meta[snapshotFile]
	if data, err = r.readMeta(dir, snapshotFile, meta); err == nil {
		err = checkSnapshot(data, meta.Version)
	}
	if err != nil {
		return nil, fmt.Errorf("reading repository: %w", malformed(snapshotFile, err))
	}
	snapshot, err := verified[metadata.SnapshotType](r, metadata.SNAPSHOT, data)
	if err != nil {
		return nil, err
	}
	meta = snapshot.Signed.Meta[targetsFile]
	if data, err = r.readMeta(dir, targetsFile, meta); err == nil {
		err = checkTargets(data, meta.Version)
	}
	if err != nil {
		return nil, fmt.Errorf("reading repository: %w", malformed(targetsFile, err))
	}
	targets, err := verified[metadata.TargetsType](r, metadata.TARGETS, data)
	if err != nil {
		return nil, err
	}
	return &state{timestamp.Signed.Version, snapshot.Signed.Version, targets.Signed.Version, targets.Signed.Targets}, nil
}

func (r *Repository) readMeta(dir, name string, meta *metadata.MetaFiles) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(dir, strconv.FormatInt(meta.Version, 10)+"."+name))
	if err == nil {
		err = meta.VerifyLengthHashes(data)
	}
	return data, err
}

// verified parses metadata that the checks of check.go have passed, and verifies its signatures. Those of an older
// root will do: what is there may have been signed before the keys were changed.
func verified[T metadata.Roles](r *Repository, role string, data []byte) (*metadata.Metadata[T], error) {
	m, err := (&metadata.Metadata[T]{}).FromBytes(data)
	if err != nil {
		return nil, fmt.Errorf("reading repository: %w", malformed(role+".json", err))
	}
	for _, root := range slices.Backward(r.roots) {
		if err = root.VerifyDelegate(role, m); err == nil {
			return m, nil
		}
	}
	return nil, fmt.Errorf("reading repository: %w", classify(role+".json", err))
}

// ReadTarget returns the content of a small target as it is published now, or ErrAbsent.
func (r *Repository) ReadTarget(part, name string) ([]byte, error) {
	s, err := r.load(part)
	if err != nil {
		return nil, err
	}
	file := s.files[name]
	if file == nil {
		return nil, fmt.Errorf("%s: %w", name, ErrAbsent)
	}
	data, err := os.ReadFile(filepath.Join(r.cfg.Dir, targetsDir, hex.EncodeToString(file.Hashes["sha256"])+"."+name))
	if err != nil {
		return nil, fmt.Errorf("reading target: %w", err)
	}
	if err := file.VerifyLengthHashes(data); err != nil {
		return nil, fmt.Errorf("reading target: %w", classify(name, err))
	}
	return data, nil
}

// targetsDir is the folder of all targets, shared by all parts.
const targetsDir = "targets"

// Source is one target to publish: a file, or, when Path is "", bytes.
type Source struct {
	Name string
	Path string
	Data []byte
}

// Published says what a publication consists of.
type Published struct {
	Version int64 // of the new metadata
	Targets []Target
}

// Publish adds targets to a part of the repository (replacing those of the same name) and signs everything anew. It
// also renews expiry, so that a Publish without sources only does that. The part becomes visible all at once, when the
// timestamp is replaced at the end; after an error it is unchanged, save for files that nothing refers to.
func (r *Repository) Publish(ctx context.Context, part string, sources []Source) (*Published, error) {
	s, err := r.load(part)
	if err != nil {
		return nil, err
	}
	// The original numbers metadata by the time; ours also rises when two publications share a second.
	p := &Published{Version: max(r.cfg.Now.Unix(), s.timestamp+1, s.snapshot+1, s.targets+1)}
	dir := filepath.Join(r.cfg.Dir, part)
	for _, d := range []string{dir, filepath.Join(r.cfg.Dir, targetsDir)} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, fmt.Errorf("publishing: %w", err)
		}
	}
	targets := metadata.Targets(expiry(r.cfg.Now, r.cfg.TargetsLife))
	targets.Signed.SpecVersion, targets.Signed.Version = specVersion, p.Version
	maps.Copy(targets.Signed.Targets, s.files)
	for _, source := range sources {
		t, err := r.addTarget(ctx, source)
		if err != nil {
			return nil, fmt.Errorf("publishing %s: %w", source.Name, err)
		}
		p.Targets = append(p.Targets, t)
		targets.Signed.Targets[t.Name] = &metadata.TargetFiles{Length: t.Length, Hashes: metadata.Hashes{"sha256": t.SHA256[:]}}
	}
	if err := durable.SyncDir(filepath.Join(r.cfg.Dir, targetsDir)); err != nil {
		return nil, fmt.Errorf("publishing: %w", err)
	}
	for _, root := range r.roots {
		if err := durable.WriteFile(filepath.Join(dir, root.name), root.data, 0o644); err != nil {
			return nil, fmt.Errorf("publishing: %w", err)
		}
	}
	meta, err := write(r, targets, metadata.TARGETS, dir, strconv.FormatInt(p.Version, 10)+"."+targetsFile, p.Version)
	if err != nil {
		return nil, err
	}
	snapshot := metadata.Snapshot(expiry(r.cfg.Now, r.cfg.SnapshotLife))
	snapshot.Signed.SpecVersion, snapshot.Signed.Version = specVersion, p.Version
	snapshot.Signed.Meta[targetsFile] = meta
	meta, err = write(r, snapshot, metadata.SNAPSHOT, dir, strconv.FormatInt(p.Version, 10)+"."+snapshotFile, p.Version)
	if err != nil {
		return nil, err
	}
	timestamp := metadata.Timestamp(expiry(r.cfg.Now, r.cfg.TimestampLife))
	timestamp.Signed.SpecVersion, timestamp.Signed.Version = specVersion, p.Version
	timestamp.Signed.Meta[snapshotFile] = meta
	if _, err := write(r, timestamp, metadata.TIMESTAMP, dir, metadata.TIMESTAMP+".json", p.Version); err != nil {
		return nil, err
	}
	return p, nil
}

// write signs m, writes it, and describes the file for the metadata that refers to it.
func write[T metadata.Roles](r *Repository, m *metadata.Metadata[T], role, dir, name string, version int64) (*metadata.MetaFiles, error) {
	if err := sign(m, role, &r.root.Signed, r.keys); err != nil {
		return nil, err
	}
	data, err := m.ToBytes(true)
	if err != nil {
		return nil, fmt.Errorf("publishing %s: %w", name, err)
	}
	if err := durable.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
		return nil, fmt.Errorf("publishing: %w", err)
	}
	sum := sha256.Sum256(data)
	return &metadata.MetaFiles{Version: version, Length: int64(len(data)), Hashes: metadata.Hashes{"sha256": sum[:]}}, nil
}

// addTarget copies one target to its place, named by what it holds, in one pass over its bytes.
func (r *Repository) addTarget(ctx context.Context, source Source) (_ Target, err error) {
	t := Target{Name: source.Name}
	if source.Name == "" || source.Name != filepath.Base(source.Name) {
		return t, errors.New("a target's name is a plain file name")
	}
	dir := filepath.Join(r.cfg.Dir, targetsDir)
	if source.Path == "" {
		t.Length, t.SHA256 = int64(len(source.Data)), sha256.Sum256(source.Data)
		return t, durable.WriteFile(filepath.Join(dir, t.file()), source.Data, 0o644)
	}
	in, err := os.Open(source.Path)
	if err != nil {
		return t, err
	}
	defer in.Close()
	out, err := os.CreateTemp(dir, ".publish-*")
	if err != nil {
		return t, err
	}
	defer func() {
		if err != nil {
			_ = out.Close()
			_ = os.Remove(out.Name())
		}
	}()
	digest := sha256.New()
	if t.Length, err = io.Copy(io.MultiWriter(out, digest), contextReader{ctx, in}); err != nil {
		return t, err
	}
	digest.Sum(t.SHA256[:0])
	if err := out.Chmod(0o644); err != nil {
		return t, err
	}
	if err := out.Sync(); err != nil {
		return t, err
	}
	if err := out.Close(); err != nil {
		return t, err
	}
	return t, os.Rename(out.Name(), filepath.Join(dir, t.file()))
}

// contextReader makes a long copy stop when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
