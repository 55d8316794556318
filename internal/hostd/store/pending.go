// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

func checkTransaction(tx string) error {
	switch {
	case tx == "":
		return fmt.Errorf("%w: it is empty", ErrTransaction)
	case len(encode(tx)) > maxFileName:
		return fmt.Errorf("%w: it is too long", ErrTransaction)
	}
	return nil
}

func (s *Store) pendingDir(tx string) string {
	return filepath.Join(s.at.dir(), pendingDir, encode(tx))
}

// Put adds values to a transaction, which begins with its first value. It returns ErrTransaction. When the disk
// is full, the transaction is as it was before.
func (s *Store) Put(tx string, values map[Key]Value) error {
	if err := checkTransaction(tx); err != nil {
		return err
	}
	if len(values) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.put(tx, Data{Values: values}.files()); err != nil {
		return fmt.Errorf("writing to transaction %q: %w", tx, err)
	}
	return nil
}

// put brings all content onto the disk, which may be full, under temporary names before the first of them gets its own.
func (s *Store) put(tx string, files map[string][]byte) (err error) {
	f, dir := s.cfg.FS, s.pendingDir(tx)
	_, statErr := os.Lstat(dir)
	var staged []string
	defer func() {
		if err == nil {
			return
		}
		if statErr != nil { // the transaction did not exist
			_ = f.RemoveAll(dir) // the first error is the one to tell
			return
		}
		for _, name := range staged {
			_ = f.RemoveAll(name)
		}
	}()
	made := dirs{f, s.at.dir(), map[string]bool{".": true}}
	names := sortedPaths(files)
	for _, name := range names {
		at := filepath.Join(pendingDir, encode(tx), name)
		if err := made.ensure(filepath.Dir(at)); err != nil {
			return err
		}
		temporary := filepath.Join(s.at.dir(), filepath.Dir(at), temporaryPrefix+randomName())
		staged = append(staged, temporary)
		if err := f.Create(temporary, files[name]); err != nil {
			return err
		}
	}
	for i, name := range names {
		if err := f.Rename(staged[i], filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// Pending returns the values of a transaction; an unknown one has none. It returns ErrTransaction.
func (s *Store) Pending(tx string) (map[Key]Value, error) {
	if err := checkTransaction(tx); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.readPending(tx)
}

func (s *Store) readPending(tx string) (map[Key]Value, error) {
	d, err := readTree(s.pendingDir(tx), s.cfg.Log)
	if errors.Is(err, fs.ErrNotExist) {
		return map[Key]Value{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading transaction %q: %w", tx, err)
	}
	return d.Values, nil
}

// Transactions returns the names of all pending transactions, sorted.
func (s *Store) Transactions() ([]string, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	entries, err := os.ReadDir(filepath.Join(s.at.dir(), pendingDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing transactions: %w", err)
	}
	names := []string{}
	for _, e := range entries {
		if name, ok := decode(e.Name()); ok && e.IsDir() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Drop forgets a transaction and returns the keys it had, sorted; an unknown one had none. It returns ErrTransaction.
func (s *Store) Drop(tx string) ([]Key, error) {
	if err := checkTransaction(tx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	values, err := s.readPending(tx)
	if err != nil {
		return nil, err
	}
	if err := s.remove(s.pendingDir(tx)); err != nil {
		return nil, fmt.Errorf("dropping transaction %q: %w", tx, err)
	}
	return Data{Values: values}.Keys(""), nil
}

// DropAll forgets every transaction, as each boot does.
func (s *Store) DropAll() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.remove(filepath.Join(s.at.dir(), pendingDir)); err != nil {
		return fmt.Errorf("dropping pending transactions: %w", err)
	}
	return nil
}

// remove asks the file system only when there is something: a disk that cannot be written to need not be then.
func (s *Store) remove(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return s.cfg.FS.RemoveAll(path)
}
