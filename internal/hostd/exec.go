// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"crypto/rand"
	"errors"

	"github.com/drydock-os/drydock/internal/hostd/execute"
)

// DefaultExecSocket is where the containerd that runs host containers listens.
const DefaultExecSocket = "/run/host-containerd/containerd.sock"

// execArgv returns how commands get into host containers: with containerd's own client on a host, and with a program
// that whoever serves another root names. The containers of the machine are never reached from there.
func execArgv(cfg Config) execute.Argv {
	return func(target string, command []string, tty bool) ([]string, error) {
		switch {
		case cfg.ExecProgram != "":
			return append([]string{cfg.ExecProgram, target}, command...), nil
		case cfg.Root != "/":
			return nil, errors.New("no program runs commands here: name one with 'hostd serve --exec-program'")
		}
		args := []string{"/usr/bin/ctr", "-a", cfg.ExecSocket, "task", "exec", "--exec-id", "apiexec-" + rand.Text()[:16]}
		if tty {
			args = append(args, "--tty")
		}
		return append(append(args, target), command...), nil
	}
}
