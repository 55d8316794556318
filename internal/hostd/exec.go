// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/drydock-os/drydock/internal/hostd/execute"
)

// DefaultExecSocket is where the containerd that runs host containers listens, below the root.
const DefaultExecSocket = "/run/host-containerd/containerd.sock"

// execArgv returns how commands get into host containers: with the program that runs those, or one that whoever starts
// the daemon names. A host that is only a directory has containers when it has that program; those of the machine are
// never reached from there.
func execArgv(cfg Config) execute.Argv {
	return func(target string, command []string, tty bool) ([]string, error) {
		if cfg.ExecProgram != "" {
			return append([]string{cfg.ExecProgram, target}, command...), nil
		}
		root, err := filepath.Abs(cfg.Root) // it runs in another folder
		if err != nil {
			return nil, err
		}
		args := []string{filepath.Join(root, "usr/bin/host-ctr"), "exec", "--containerd-socket", cfg.ExecSocket}
		if _, err := os.Stat(args[0]); err != nil && root != "/" {
			return nil, errors.New("no program for this: link usr/bin/host-ctr below the root, or name one with --exec-program") // short enough for a goodbye
		}
		if root != "/" {
			args = append(args, "--root", root)
		}
		if tty {
			args = append(args, "--tty")
		}
		return append(append(args, "--", target), command...), nil
	}
}
