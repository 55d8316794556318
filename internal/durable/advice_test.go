// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"
)

func TestAdvice(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("writing: %w", &fs.PathError{Op: "write", Path: "/run/x", Err: syscall.ENOSPC}), "free space or inodes in /run (df, df -i), then try again"},
		{&os.LinkError{Op: "rename", Old: "/a/b", New: "/c/d", Err: syscall.EDQUOT}, "free space or inodes in /c (df, df -i), then try again"},
		{syscall.EROFS, "make the file system writable there (dmesg may say why it is not), then try again"},
		{&fs.PathError{Op: "open", Path: "/run/x", Err: syscall.EACCES}, ""},
		{errors.New("other"), ""},
		{nil, ""},
	} {
		if got := Advice(tc.err); got != tc.want {
			t.Errorf("%v: %q, want %q", tc.err, got, tc.want)
		}
	}
}
