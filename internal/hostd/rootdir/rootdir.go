// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package rootdir says which host a program is for: this machine, or one that is only a directory.
//
// Programs that the host daemon runs act on the daemon's host, also when nobody gives them --root.
package rootdir

import (
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
)

// Variable names, in the environment of programs that the host daemon runs, the folder below which the files of its
// host are.
const Variable = "DRYDOCK_ROOT"

// Default is the host that a tool acts on when it is not told.
func Default() string {
	if root := os.Getenv(Variable); root != "" {
		return root
	}
	return "/"
}

// Flag adds the flag that names the host.
func Flag(f *pflag.FlagSet, root *string) {
	f.StringVar(root, "root", "", "`folder` below which the files and programs of the host are (default: $"+Variable+", or /)")
	*root = Default() // not the flag's own, which help and manual pages would show
}

// Environment is that of programs of the host below root: our own, with the root in place of what may be there.
func Environment(root string) ([]string, error) {
	root, err := filepath.Abs(root) // they may run in another folder
	if err != nil {
		return nil, err
	}
	return append(os.Environ(), Variable+"="+root), nil
}
