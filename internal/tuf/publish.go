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
	"maps"
	"os"
	"path"
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
	Dir     string   // made by Init
	KeysDir string   // its private keys; default: only Signers
	Signers []Signer // further keys
	Now     time.Time

	TargetsLife, SnapshotLife, TimestampLife time.Duration // defaults: 2 weeks, 2 weeks, 1 week

	LeastVersion int64 // of metadata that is published; default: any

	TimestampOnly bool // nothing but RefreshTimestamp will be called, so the other keys may be elsewhere
}

// Repository publishes into a repository on disk. Below its Dir, "<part>/" holds the metadata of one part (a variant
// and arch) and "targets/" the targets of all parts.
type Repository struct {
	cfg     RepositoryConfig
	roots   []rootFile // oldest first
	signers []Signer
	lock    *os.File

	// asks says whose keys sign for a role: those of the newest root, and while keys are changed those of two.
	asks map[string][]*metadata.RootType
}

// OpenRepository reads roots and keys, checks that they belong together, and locks the repository against other
// publishers until Close. Errors: ErrNoRepository, ErrNoKey, ErrKey, ErrExpired when root.json needs new dates first,
// ErrLocked.
func OpenRepository(cfg RepositoryConfig) (*Repository, error) {
	r, err := openRepository(cfg)
	if err != nil {
		return nil, err
	}
	// Looking at the keys now tells before any work whether they are those of this repository.
	roles := []string{metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP}
	if cfg.TimestampOnly {
		roles = roles[2:]
	}
	for _, role := range roles {
		if err := canSign(role, r.root(), r.signers); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	if r.root().IsExpired(cfg.Now) {
		return nil, errors.Join(fmt.Errorf("opening repository: root.json: %w", ErrExpired), r.Close())
	}
	return r, nil
}

// ErrLocked means that another program is publishing into the same repository.
var ErrLocked = errors.New("another program is publishing")

// openRepository leaves open whether the keys at hand are enough.
func openRepository(cfg RepositoryConfig) (*Repository, error) {
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
	r := &Repository{cfg: cfg, signers: slices.Clone(cfg.Signers), asks: map[string][]*metadata.RootType{}}
	var err error
	if r.roots, err = loadRoots(cfg.Dir); err != nil {
		return nil, err
	}
	for _, role := range Roles() {
		r.asks[role] = []*metadata.RootType{r.root()}
	}
	if cfg.KeysDir != "" {
		keys, err := LoadKeys(cfg.KeysDir)
		if err != nil {
			return nil, err
		}
		r.signers = append(r.signers, keys...)
	}
	if r.lock, err = os.Open(cfg.Dir); err != nil {
		return nil, fmt.Errorf("locking repository: %w", err)
	}
	if err := unix.Flock(int(r.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = r.lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, fmt.Errorf("locking repository %s: %w", cfg.Dir, err)
	}
	return r, nil
}

// root is the newest root.
func (r *Repository) root() *metadata.RootType { return &r.roots[len(r.roots)-1].Signed }

// Close releases the lock.
func (r *Repository) Close() error { return r.lock.Close() }

// state is what one part of the repository says now.
type state struct {
	timestamp, snapshot, targets int64 // versions; 0: nothing published yet
	files                        map[string]*metadata.TargetFiles
	snapshotMeta                 *metadata.MetaFiles // what the timestamp says of the snapshot
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
	snapshotMeta := meta
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
	return &state{timestamp.Signed.Version, snapshot.Signed.Version, targets.Signed.Version, targets.Signed.Targets, snapshotMeta}, nil
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
	m, err := parse((&metadata.Metadata[T]{}).FromBytes, data)
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
	data, err := os.ReadFile(filepath.Join(r.cfg.Dir, targetsDir, targetFile(name, file)))
	if err != nil {
		return nil, fmt.Errorf("reading target: %w", err)
	}
	if err := file.VerifyLengthHashes(data); err != nil {
		return nil, fmt.Errorf("reading target: %w", classify(name, err))
	}
	return data, nil
}

// Version returns the version of a part's metadata; 0 when nothing is published.
func (r *Repository) Version(part string) (int64, error) {
	s, err := r.load(part)
	if err != nil {
		return 0, err
	}
	return s.timestamp, nil
}

// TargetFile returns the path of a published target, or ErrAbsent. What the file holds is not looked at.
func (r *Repository) TargetFile(part, name string) (string, error) {
	s, err := r.load(part)
	if err != nil {
		return "", err
	}
	file := s.files[name]
	if file == nil {
		return "", fmt.Errorf("%s: %w", name, ErrAbsent)
	}
	return filepath.Join(r.cfg.Dir, targetsDir, targetFile(name, file)), nil
}

func targetFile(name string, file *metadata.TargetFiles) string {
	return hex.EncodeToString(file.Hashes["sha256"]) + "." + name
}

// targetsDir is the folder of all targets, shared by all parts.
const targetsDir = "targets"

// Source is one target to publish: a file, or, when Path is "", bytes.
type Source struct {
	Name string
	Path string
	Data []byte
	Want string // name that the file must get in the repository, which names its digest; default: any
}

// Published says what a publication consists of.
type Published struct {
	Version int64 // of the new metadata
	Targets []Target
}

// Publish adds targets to a part of the repository (replacing those of the same name), removes those named in remove,
// and signs everything anew. It also renews expiry, so that a Publish without sources only does that. The part becomes
// visible all at once, when the timestamp is replaced at the end; after an error it is unchanged, save for files that
// nothing refers to. Files of removed targets stay, for hosts that are downloading them.
func (r *Repository) Publish(ctx context.Context, part string, sources []Source, remove ...string) (*Published, error) {
	s, err := r.load(part)
	if err != nil {
		return nil, err
	}
	// The original numbers metadata by the time; ours also rises when two publications share a second.
	p := &Published{Version: max(r.cfg.Now.Unix(), r.cfg.LeastVersion, s.timestamp+1, s.snapshot+1, s.targets+1)}
	dir := filepath.Join(r.cfg.Dir, part)
	for _, d := range []string{dir, filepath.Join(r.cfg.Dir, targetsDir)} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, fmt.Errorf("publishing: %w", err)
		}
	}
	targets := metadata.Targets(expiry(r.cfg.Now, r.cfg.TargetsLife))
	targets.Signed.SpecVersion, targets.Signed.Version = specVersion, p.Version
	maps.Copy(targets.Signed.Targets, s.files)
	for _, name := range remove {
		delete(targets.Signed.Targets, name)
	}
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
	if err := r.copyRoots(part); err != nil {
		return nil, err
	}
	meta, err := write(ctx, r, targets, metadata.TARGETS, dir, strconv.FormatInt(p.Version, 10)+"."+targetsFile, p.Version)
	if err != nil {
		return nil, err
	}
	snapshot := metadata.Snapshot(expiry(r.cfg.Now, r.cfg.SnapshotLife))
	snapshot.Signed.SpecVersion, snapshot.Signed.Version = specVersion, p.Version
	snapshot.Signed.Meta[targetsFile] = meta
	meta, err = write(ctx, r, snapshot, metadata.SNAPSHOT, dir, strconv.FormatInt(p.Version, 10)+"."+snapshotFile, p.Version)
	if err != nil {
		return nil, err
	}
	return p, r.writeTimestamp(ctx, dir, p.Version, meta)
}

func (r *Repository) writeTimestamp(ctx context.Context, dir string, version int64, snapshot *metadata.MetaFiles) error {
	timestamp := metadata.Timestamp(expiry(r.cfg.Now, r.cfg.TimestampLife))
	timestamp.Signed.SpecVersion, timestamp.Signed.Version = specVersion, version
	timestamp.Signed.Meta[snapshotFile] = snapshot
	_, err := write(ctx, r, timestamp, metadata.TIMESTAMP, dir, metadata.TIMESTAMP+".json", version)
	return err
}

// RefreshTimestamp gives the timestamp of a part a new date. It needs no other key, so that the machine that does it
// every day can do nothing else.
func (r *Repository) RefreshTimestamp(ctx context.Context, part string) error {
	s, err := r.load(part)
	if err != nil {
		return err
	}
	if s.timestamp == 0 {
		return fmt.Errorf("%s: %w", part, ErrAbsent)
	}
	if err := r.copyRoots(part); err != nil {
		return err
	}
	return r.writeTimestamp(ctx, filepath.Join(r.cfg.Dir, part), max(r.cfg.Now.Unix(), s.timestamp+1), s.snapshotMeta)
}

// copyRoots puts the chain of roots beside the metadata of a part, where readers look for it.
func (r *Repository) copyRoots(part string) error {
	for _, root := range r.roots {
		if err := durable.WriteFile(filepath.Join(r.cfg.Dir, part, root.name), root.data, 0o644); err != nil {
			return fmt.Errorf("publishing: %w", err)
		}
	}
	return nil
}

// CopyRoots makes the empty folder dir a repository with the same roots, and nothing published.
func (r *Repository) CopyRoots(dir string) error {
	for _, root := range r.roots {
		if err := durable.WriteFile(filepath.Join(dir, root.name), root.data, 0o644); err != nil {
			return fmt.Errorf("writing root.json: %w", err)
		}
	}
	return durable.WriteFile(filepath.Join(dir, "root.json"), r.roots[len(r.roots)-1].data, 0o644)
}

// Parts lists the parts of the repository, each a variant and arch, sorted.
func (r *Repository) Parts() ([]string, error) { return Parts(os.DirFS(r.cfg.Dir)) }

// Parts lists the parts of a repository in files: the folders that hold a timestamp.
func Parts(files fs.FS) ([]string, error) {
	found, err := fs.Glob(files, "*/*/"+metadata.TIMESTAMP+".json")
	if err != nil {
		return nil, fmt.Errorf("reading repository: %w", err)
	}
	for i := range found {
		found[i] = path.Dir(found[i])
	}
	slices.Sort(found)
	return found, nil
}

// write signs m, writes it, and describes the file for the metadata that refers to it.
func write[T metadata.Roles](ctx context.Context, r *Repository, m *metadata.Metadata[T], role, dir, name string, version int64) (*metadata.MetaFiles, error) {
	if err := sign(ctx, m, role, r.signers, r.asks[role]...); err != nil {
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
	if source.Want != "" && source.Want != t.file() {
		return t, fmt.Errorf("%s: %w", source.Path, ErrDigest)
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
