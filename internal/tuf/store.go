// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/drydock-os/drydock/internal/durable"
)

// seenFile holds the time of the last success.
const seenFile = "seen"

// store keeps verified metadata between runs. Nothing in it is trusted for being there.
type store struct{ dir string }

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
	if err := durable.WriteFile(filepath.Join(s.dir, name), data, 0o600); err != nil {
		return fmt.Errorf("remembering metadata: %w", err)
	}
	return nil
}
