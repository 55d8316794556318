// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// leftover is the name of a temporary file of WriteFrom.
var leftover = regexp.MustCompile(`^\..+\.[0-9]+\.tmp$`)

// Sweep removes what WriteFile and WriteFrom have left in the directory at path when the power went or the process was
// killed. Only files that were last changed before the given time count: later ones may be in the middle of their
// writing. Nothing else is touched, and a directory that does not exist is no error.
func Sweep(path string, before time.Time) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !leftover.MatchString(e.Name()) {
			continue
		}
		info, wrong := e.Info()
		if wrong == nil && info.ModTime().Before(before) {
			wrong = os.Remove(filepath.Join(path, e.Name()))
		}
		if !errors.Is(wrong, fs.ErrNotExist) { // else its writer was faster
			err = errors.Join(err, wrong)
		}
	}
	return err
}
