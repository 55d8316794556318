// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/drydock-os/drydock/internal/durable"
)

// seenFile holds the time of the last success.
const seenFile = "seen"

// files is what changes the file system of a host. A test cuts the power in it.
type files interface {
	Write(path string, from io.Reader) error // replaces a file, as durable.WriteFrom does
	Remove(path string) error                // of which a power cut may know nothing
}

type diskFiles struct{}

func (diskFiles) Write(path string, from io.Reader) error {
	return durable.WriteFrom(path, from, 0o600)
}
func (diskFiles) Remove(path string) error { return os.Remove(path) }

// store keeps verified metadata between runs. Nothing in it is trusted for being there.
type store struct {
	dir   string
	files files
}

func (s *store) read(name string, limit int64) ([]byte, error) {
	f, err := os.Open(filepath.Join(s.dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = ErrTooLarge
	}
	return data, err
}

func (s *store) write(name string, data []byte) error {
	if err := s.files.Write(filepath.Join(s.dir, name), bytes.NewReader(data)); err != nil {
		return fmt.Errorf("remembering metadata: %w", err)
	}
	return nil
}
