// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package durable writes files that survive a power cut.
//
// After WriteFile or WriteFrom returns nil, the file holds the new content even if the power goes at once. At every
// instant before that, a reader (also one after a power cut) finds either the whole old content or the
// whole new one, never a mixture and never an empty file.
package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// WriteFile replaces the file at path with data, atomically and durably. The file gets exactly mode
// (the umask does not apply). The directory must exist. A temporary file next to path is used and is
// removed when anything fails; if path is a symbolic link, the link itself is replaced.
func WriteFile(path string, data []byte, mode os.FileMode) error {
	return WriteFrom(path, bytes.NewReader(data), mode)
}

// WriteFrom is WriteFile with everything that is read from src until io.EOF. An error of src is returned as it is, and
// leaves the file as it was.
func WriteFrom(path string, src io.Reader, mode os.FileMode) (err error) {
	from := &source{Reader: src}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() {
		if err == nil {
			return
		}
		// Closing twice and removing a renamed file are harmless, and the first error is the one to tell.
		_ = f.Close()
		_ = os.Remove(f.Name())
		if from.err == nil {
			err = fmt.Errorf("writing %s: %w", path, err)
		}
	}()
	if _, err := io.Copy(f, from); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	// Without this, the rename may reach the disk before the content does.
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

// source tells errors of reading from those of writing.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// SyncDir makes creations, renames and removals in the directory at path durable.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("syncing directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("syncing directory %s: %w", path, err)
	}
	return nil
}
