// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	timeLimit = 5 * time.Minute // of one migration; they copy small files
	afterKill = 2 * time.Second // for output of children of a program that was killed
	maxOutput = 4 << 10         // bytes of a failed migration's output that are repeated
)

// run runs a program that is in no file: nothing may be executed from where the settings are, and what was verified
// cannot change any more.
func run(ctx context.Context, name string, program []byte, args ...string) error {
	f, err := sealed(name, program)
	if err != nil {
		return fmt.Errorf("loading: %w", err)
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, descriptorPath(f), args...)
	cmd.Args[0], cmd.WaitDelay = name, afterKill
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(out.String())
		return fmt.Errorf("%w: %s", err, text[max(0, len(text)-maxOutput):])
	}
	return nil
}

func descriptorPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// sealed returns a file in memory that nobody can change.
func sealed(name string, content []byte) (_ *os.File, err error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, err
	}
	w := os.NewFile(uintptr(fd), name)
	// The kernel runs no file that is open for writing, so this one is closed and another one returned.
	defer func() { err = errors.Join(err, w.Close()) }()
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(w.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, err
	}
	return os.Open(descriptorPath(w))
}
