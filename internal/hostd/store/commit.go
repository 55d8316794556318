// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Settings is the first segment of the keys that transactions can change.
const Settings = "settings"

// Commit makes the settings of a transaction count and drops the transaction. It returns their keys, sorted, whether or
// not their values differ from before. It returns ErrNothingPending, ErrTransaction, and what Config.Check says.
// When it fails, nothing has changed, and the transaction is still there.
func (s *Store) Commit(tx string) ([]Key, error) {
	if err := checkTransaction(tx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	changes := NewData()
	pending, err := s.readPending(tx)
	if err != nil {
		return nil, err
	}
	outer := Key{Settings}
	for k, v := range pending {
		if k.Below(outer) {
			changes.Values[k] = v
		}
	}
	if len(changes.Values) == 0 {
		return nil, fmt.Errorf("%w in transaction %q", ErrNothingPending, tx)
	}
	if s.cfg.Check != nil {
		if err := s.cfg.Check(changes.Values, s.Live().with(changes).Values); err != nil {
			return nil, fmt.Errorf("committing transaction %q: %w", tx, err)
		}
	}
	if err := s.replace(changes, encode(tx)); err != nil {
		return nil, fmt.Errorf("committing transaction %q: %w", tx, err)
	}
	return changes.Keys(""), nil
}

// Write makes values and metadata count at once, outside of any transaction. It is for what is not a setting: services,
// files and metadata, which no client can change. When it fails, nothing has changed.
func (s *Store) Write(changes Data) error {
	if changes.empty() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.replace(changes, ""); err != nil {
		return fmt.Errorf("writing to settings store: %w", err)
	}
	return nil
}

// replace builds the data directory anew, with changes and without the transaction directory dropped, and switches to
// it.
func (s *Store) replace(changes Data, dropped string) error {
	f, old := s.cfg.FS, s.at
	next := place{base: old.base, link: old.link, name: newName(old.link)}
	if err := s.buildNext(next, changes, dropped); err != nil {
		return errors.Join(err, f.RemoveAll(next.dir()))
	}
	if err := point(f, old.base, old.link, next.name); err != nil {
		return errors.Join(err, f.RemoveAll(next.dir()))
	}
	if err := f.SyncDir(old.base); err != nil {
		// Nobody knows which of the two the disk has. Go back, and leave both for the next start to look at.
		return errors.Join(err, point(f, old.base, old.link, old.name))
	}
	live := s.Live().with(changes)
	s.live.Store(&live)
	s.at = next
	if !strings.HasPrefix(old.name, old.link+"_") {
		return nil // it is another version's too, which may come back
	}
	if err := f.RemoveAll(old.dir()); err != nil {
		s.cfg.Log.Warn("settings store not cleaned", "error", err)
	}
	return nil
}

// buildNext fills a fresh data directory and makes it durable.
func (s *Store) buildNext(next place, changes Data, dropped string) error {
	f, old := s.cfg.FS, s.at.dir()
	if err := f.Mkdir(next.dir()); err != nil {
		return err
	}
	files := changes.files()
	// Files that nobody understands are taken along: they are somebody's.
	err := linkTree(f, filepath.Join(old, liveDir), filepath.Join(next.dir(), liveDir), func(name string) bool {
		_, changed := files[name]
		return !changed
	})
	if err != nil {
		return err
	}
	if err := writeTree(f, filepath.Join(next.dir(), liveDir), files); err != nil {
		return err
	}
	err = linkTree(f, filepath.Join(old, pendingDir), filepath.Join(next.dir(), pendingDir), func(name string) bool {
		return dropped == "" || first(name) != dropped
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncNew(f, next)
}

// syncNew makes a data directory durable that no link leads to yet.
func syncNew(f FS, at place) error {
	if err := f.SyncAll(at.dir()); err != nil {
		return err
	}
	return f.SyncDir(at.base)
}

// linkTree makes to with the files of from that keep says, as links.
func linkTree(f FS, from, to string, keep func(name string) bool) error {
	var files []string
	err := walk(from, func(name string) error {
		if keep(name) {
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	made := dirs{f, to, map[string]bool{}}
	if err := made.ensure("."); err != nil {
		return err
	}
	for _, name := range files {
		if err := made.ensure(filepath.Dir(name)); err != nil {
			return err
		}
		if err := f.Link(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return nil
}

// writeTree makes new files below to.
func writeTree(f FS, to string, files map[string][]byte) error {
	made := dirs{f, to, map[string]bool{}}
	if err := made.ensure("."); err != nil {
		return err
	}
	for _, name := range sortedPaths(files) {
		if err := made.ensure(filepath.Dir(name)); err != nil {
			return err
		}
		if err := f.Create(filepath.Join(to, name), files[name]); err != nil {
			return err
		}
	}
	return nil
}

// dirs makes directories below top, each once.
type dirs struct {
	fs   FS
	top  string
	have map[string]bool
}

func (d dirs) ensure(name string) error {
	if d.have[name] {
		return nil
	}
	if name != "." {
		if err := d.ensure(filepath.Dir(name)); err != nil {
			return err
		}
	}
	full := filepath.Join(d.top, name)
	if info, err := os.Stat(full); err != nil || !info.IsDir() {
		if err := d.fs.Mkdir(full); err != nil {
			return err
		}
	}
	d.have[name] = true
	return nil
}

// first returns the first element of a relative path.
func first(name string) string {
	for i := range len(name) {
		if name[i] == '/' {
			return name[:i]
		}
	}
	return name
}
