// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// MakeDir makes a folder and those above it that are missing. undo removes the ones that it made, as long as nothing is
// in them: for whoever then fails at what the folder was for.
func MakeDir(path string, mode os.FileMode) (undo func(), err error) {
	var made []string
	for dir := filepath.Clean(path); ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		made = append(made, dir)
	}
	undo = func() {
		for _, dir := range made { // from the innermost
			if os.Remove(dir) != nil {
				return // in use by now
			}
		}
	}
	if err := os.MkdirAll(path, mode); err != nil {
		undo()
		return nil, err
	}
	return undo, nil
}
