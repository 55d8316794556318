// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Advice says what a person can do when err is about a file system that takes no more writes, else nothing.
func Advice(err error) string {
	where := "there"
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		where = "in " + filepath.Dir(e.Path)
	} else if e, ok := errors.AsType[*os.LinkError](err); ok {
		where = "in " + filepath.Dir(e.New)
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "free space or inodes " + where + " (df, df -i), then try again"
	case errors.Is(err, syscall.EROFS):
		return "make the file system writable " + where + " (dmesg may say why it is not), then try again"
	}
	return ""
}
