// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubetest

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// guardScript waits until its standard input ends, which happens when the test binary is gone, however it
// went. Then it ends every process whose id is in the file pids and removes the directory. A second pass
// catches a process that was starting during the first.
const guardScript = `
cat >/dev/null
for pass in 1 2; do
  if [ -f "$1/pids" ]; then
    while read -r pid; do kill -KILL "$pid" 2>/dev/null; done <"$1/pids"
  fi
  rm -rf "$1" && exit 0
done
rm -rf "$1"
`

// wrapperScript notes its process id and then becomes the real program, which so has the noted id.
const wrapperScript = `#!/bin/sh
echo $$ >>'%s/pids'
exec '%s' "$@"
`

// guard is a directory and the processes started from its wrappers; none of it outlives the test binary.
type guard struct {
	dir string
	// lifeline is held open as long as the test binary lives; nothing is ever written to it.
	lifeline io.WriteCloser
}

// newGuard starts the watching shell. It runs in a session of its own, so that the Ctrl-C that ends the
// test does not end the guard first.
func newGuard() (*guard, error) {
	dir, err := os.MkdirTemp("", "drydock-kubetest-")
	if err != nil {
		return nil, fmt.Errorf("making a directory for the control plane: %w", err)
	}
	cmd := exec.Command("/bin/sh", "-c", guardScript, "guard", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("making the lifeline pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the process guard: %w", err)
	}
	return &guard{dir: dir, lifeline: lifeline}, nil
}

// wrap returns a program that runs the given one under the guard.
func (g *guard) wrap(program string) (string, error) {
	if _, err := os.Stat(program); err != nil {
		return "", err
	}
	path := filepath.Join(g.dir, filepath.Base(program))
	script := fmt.Sprintf(wrapperScript, g.dir, program)
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		return "", fmt.Errorf("writing wrapper of %s: %w", program, err)
	}
	return path, nil
}

// subdir makes a directory that goes away with the guard.
func (g *guard) subdir(name string) (string, error) {
	path := filepath.Join(g.dir, name)
	if err := os.Mkdir(path, 0o700); err != nil {
		return "", fmt.Errorf("making a directory for %s: %w", name, err)
	}
	return path, nil
}
