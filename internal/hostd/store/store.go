// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/Masterminds/semver/v3"
)

var (
	// ErrLocked means that another process has the store open.
	ErrLocked = errors.New("another process has the settings store open")

	// ErrCorrupt means that the layout on disk is not that of a store.
	ErrCorrupt = errors.New("settings store damaged")

	// ErrNothingPending means that the transaction has no settings to commit.
	ErrNothingPending = errors.New("nothing pending")

	// ErrTransaction means that a text cannot be the name of a transaction.
	ErrTransaction = errors.New("invalid transaction name")
)

// Config says where a store is. Fields are required unless they name a default.
type Config struct {
	Dir string       // the directory that has the link current
	FS  FS           // default: that of the operating system
	Log *slog.Logger // default: discard

	// Check is asked before a commit counts, about its changes and what they lead to. Default: everything is right.
	Check func(changes, result map[Key]Value) error
}

// Store is one open settings store. Its methods may be called at the same time.
type Store struct {
	cfg  Config
	lock *os.File

	mu   sync.RWMutex // of pending and of what place says; readers of live need none
	at   place
	live atomic.Pointer[Data]
}

func (c *Config) fill() {
	if c.FS == nil {
		c.FS = DiskFS{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Open opens the store below cfg.Dir. It returns fs.ErrNotExist when there is none, ErrLocked and ErrCorrupt. What an
// interrupted commit has left behind is removed.
func Open(cfg Config) (*Store, error) {
	cfg.fill()
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s, err := open(cfg, lock)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

func open(cfg Config, lock *os.File) (*Store, error) {
	at, err := find(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening settings store: %w", err)
	}
	s := &Store{cfg: cfg, lock: lock, at: at}
	live, err := readTree(filepath.Join(at.dir(), liveDir), cfg.Log)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("opening settings store: %w: %s has no live settings", ErrCorrupt, at.name)
	}
	if err != nil {
		return nil, fmt.Errorf("opening settings store: %w", err)
	}
	s.live.Store(&live)
	s.sweep()
	return s, nil
}

// Create makes a store for a version (semver, without v) with live as its content, and opens it. The directory is made
// when it is missing. Data of that version that is there without a way to it from the link current is used instead of
// live: it is newer than any default.
func Create(cfg Config, version string, live Data) (*Store, error) {
	cfg.fill()
	v, err := semver.StrictNewVersion(version)
	if err != nil {
		return nil, fmt.Errorf("creating settings store: version %q: %w", version, err)
	}
	if err := makeDirs(cfg.FS, cfg.Dir); err != nil {
		return nil, fmt.Errorf("creating settings store: %w", err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	if err := build(cfg, v, live); err != nil {
		return nil, errors.Join(fmt.Errorf("creating settings store: %w", err), lock.Close())
	}
	s, err := open(cfg, lock)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

// makeDirs makes a directory and those that it is in, durably.
func makeDirs(f FS, dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeDirs(f, parent); err != nil {
		return err
	}
	// These hold more than settings: /var/lib is one of them.
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return f.SyncDir(parent)
}

// build writes the first data directory and its links.
func build(cfg Config, v *semver.Version, live Data) error {
	links := chain(v)
	if _, err := os.Lstat(filepath.Join(cfg.Dir, currentLink)); err == nil {
		return fmt.Errorf("%w: link %s exists", fs.ErrExist, currentLink)
	}
	target, err := os.Readlink(filepath.Join(cfg.Dir, links[0]))
	if _, bad := os.ReadDir(filepath.Join(cfg.Dir, target, liveDir)); err != nil || bad != nil {
		target = newName(links[0])
		if err := cfg.FS.Mkdir(filepath.Join(cfg.Dir, target)); err != nil {
			return err
		}
		if err := writeTree(cfg.FS, filepath.Join(cfg.Dir, target, liveDir), live.files()); err != nil {
			return errors.Join(err, cfg.FS.RemoveAll(filepath.Join(cfg.Dir, target)))
		}
		if err := syncNew(cfg.FS, place{base: cfg.Dir, name: target}); err != nil {
			return err
		}
	}
	for _, link := range links {
		if link == currentLink {
			// What it leads to must be durable before it is. Before, nobody looks at the others.
			if err := cfg.FS.SyncDir(cfg.Dir); err != nil {
				return err
			}
		}
		if link != target {
			if err := point(cfg.FS, cfg.Dir, link, target); err != nil {
				return err
			}
		}
		target = link
	}
	return cfg.FS.SyncDir(cfg.Dir)
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("opening settings store: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, errors.Join(fmt.Errorf("opening settings store %s: %w", dir, err), f.Close())
	}
	return f, nil
}

// sweep removes data directories of the current version that no link leads to, and temporary names: what a commit leaves
// behind when it is interrupted. Those of other versions belong to migrations.
func (s *Store) sweep() {
	entries, err := os.ReadDir(s.at.base)
	if err != nil {
		s.cfg.Log.Warn("settings store not cleaned", "error", err)
		return
	}
	for _, e := range entries {
		m := dataDir.FindStringSubmatch(e.Name())
		superseded := m != nil && e.IsDir() && m[1] == s.at.link && e.Name() != s.at.name
		if !superseded && !strings.HasPrefix(e.Name(), temporaryPrefix) {
			continue
		}
		if err := s.cfg.FS.RemoveAll(filepath.Join(s.at.base, e.Name())); err != nil {
			s.cfg.Log.Warn("settings store not cleaned", "error", err)
		}
	}
}

// Close gives the store back. No other method may be called after it.
func (s *Store) Close() error { return s.lock.Close() }

// Version returns the version that the store's data is of, without v.
func (s *Store) Version() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return strings.TrimPrefix(s.at.link, "v")
}

// Live returns what counts now. It never changes; the next commit makes a new one. Callers must not change it either.
func (s *Store) Live() Data { return *s.live.Load() }
