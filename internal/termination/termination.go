// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package termination leaves the error that ended a program where the kubelet looks for it, so that "kubectl describe
// pod" shows it as the message of the ended container.
//
// The file is named by the variable of the original. Outside of a container there is none, and nothing is written.
package termination

import (
	"errors"
	"io"
	"os"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/setting"
)

// Variable names the file.
const Variable = "TERMINATION_LOG"

// standard is the file that the kubelet makes in every container.
const standard = "/dev/termination-log"

// maxMessage is what the kubelet reads of the file, in bytes.
const maxMessage = 4096

// Setting declares the variable.
func Setting() setting.Setting {
	return setting.Setting{
		Name: Variable, Fallback: standard,
		Meaning: "file for the error that ends the program, which the kubelet shows; there need not be one unless it is named here",
		Allowed: "the path of a file that can be written",
		Set: func(path string) error {
			f, err := open(path, os.O_WRONLY)
			if path == standard && errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return errors.Join(err, f.Close())
		},
	}
}

// Tell writes err and its hint to the file that the environment names, in place of what it holds. It does nothing
// without an error, and where there is no such file: nobody could be told about that.
func Tell(env setting.Env, program string, err error) {
	if err == nil {
		return
	}
	f, openErr := open(env.Or(Variable, standard), os.O_WRONLY|os.O_TRUNC)
	if openErr != nil {
		return
	}
	defer f.Close()
	cli.PrintError(&limited{f, maxMessage}, program, err)
}

// open opens the file. That of the kubelet is not made where there is none; one that somebody has named is.
func open(path string, flags int) (*os.File, error) {
	if path != standard {
		flags |= os.O_CREATE
	}
	return os.OpenFile(path, flags, 0o644)
}

// limited drops what would not be read.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	if _, err := l.w.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}
