// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// defaultPath is where commands are looked for when the container sets no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// outputDelay bounds how long the end of a container waits for its output. All its processes are gone by
// then, so only a slow reader can make it wait.
const outputDelay = 2 * time.Second

// process is a container's first process, and all others of the container end with it.
type process struct {
	cmd    *exec.Cmd
	output *lineWriter
	exited chan struct{}
	state  *os.ProcessState // valid once exited is closed
}

// start runs a command in a new container root. inNetwork runs a function on a throw-away thread inside the
// pod's network namespace. After the last line for out, done is called.
func start(inNetwork func(func() error) error, root *rootfs, argv, env []string, dir string, out io.Writer, done func()) (*process, error) {
	p := &process{output: &lineWriter{w: out}, exited: make(chan struct{})}
	err := inNetwork(func() error {
		if err := root.enter(); err != nil {
			return err
		}
		var err error
		p.cmd, err = command(argv, env, dir)
		if err != nil {
			return err
		}
		p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
		p.cmd.WaitDelay = outputDelay
		// The first process of a pid namespace takes all others with it when it ends, as in a cluster. No
		// Pdeathsig: it would fire at the end of this very thread.
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: unix.CLONE_NEWPID}
		return p.cmd.Start()
	})
	if err != nil {
		return nil, err
	}
	go func() {
		defer close(p.exited)
		// Its error only repeats what the state says, or that the output was cut off.
		_ = p.cmd.Wait()
		p.state = p.cmd.ProcessState
		p.output.flush()
		done()
	}()
	return p, nil
}

// command prepares a command for the present root directory.
func command(argv, env []string, dir string) (*exec.Cmd, error) {
	if dir == "" {
		dir = "/"
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("working directory %s: no such directory", dir)
	}
	path, err := lookPath(argv[0], env, dir)
	if err != nil {
		return nil, err
	}
	return &exec.Cmd{Path: path, Args: argv, Env: env, Dir: dir}, nil
}

// lookPath finds a program as a container runtime does: with the container's PATH and working directory.
func lookPath(name string, env []string, dir string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		if _, err := os.Stat(name); err != nil {
			return "", fmt.Errorf("command %s: no such file in the image", name)
		}
		return name, nil
	}
	path := defaultPath
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			path = v
		}
	}
	for d := range strings.SplitSeq(path, ":") {
		full := filepath.Join("/", d, name)
		if info, err := os.Stat(full); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return full, nil
		}
	}
	return "", fmt.Errorf("command %s: not found in PATH %s", name, path)
}

// signal sends s to the container's first process. One that has ended is not an error.
func (p *process) signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signalling process %d: %w", p.cmd.Process.Pid, err)
	}
	return nil
}

// exitCode is 128 plus the signal for a process that a signal ended, as shells and Kubernetes count.
func (p *process) exitCode() (code, signal int32) {
	if p.state == nil {
		return 255, 0
	}
	if s, ok := p.state.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return 128 + int32(s.Signal()), int32(s.Signal())
	}
	return int32(p.state.ExitCode()), 0
}

// execIn runs a command inside the namespaces of a running container and returns its error, if it did not end
// with 0 before ctx did.
func execIn(ctx context.Context, inNetwork func(func() error) error, pid int, argv, env []string, dir string) error {
	var cmd *exec.Cmd
	err := inNetwork(func() error {
		if err := unix.Unshare(unix.CLONE_FS); err != nil { // a thread that shares its root cannot change it
			return fmt.Errorf("preparing thread: %w", err)
		}
		var fds []int
		defer func() {
			for _, fd := range fds {
				_ = unix.Close(fd)
			}
		}()
		kinds := []int{unix.CLONE_NEWPID, unix.CLONE_NEWUTS, unix.CLONE_NEWNS}
		for _, name := range []string{"pid", "uts", "mnt"} { // opened first: /proc may be another one afterwards
			fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/ns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("opening container: %w", err)
			}
			fds = append(fds, fd)
		}
		for i, fd := range fds {
			if err := unix.Setns(fd, kinds[i]); err != nil {
				return fmt.Errorf("entering container: %w", err)
			}
		}
		var err error
		if cmd, err = command(argv, env, dir); err != nil {
			return err
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.WaitDelay = outputDelay
		return cmd.Start()
	})
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	return cmd.Wait()
}

// maxLine bounds how much of an unfinished line is kept, in bytes.
const maxLine = 64 << 10

// lineWriter passes on whole lines, so that the output of several containers can share a stream.
type lineWriter struct {
	w   io.Writer
	buf []byte
}

// Write never fails: a container must not notice that nobody reads its output.
func (l *lineWriter) Write(p []byte) (int, error) {
	l.buf = append(l.buf, p...)
	if i := bytes.LastIndexByte(l.buf, '\n'); i >= 0 {
		_, _ = l.w.Write(l.buf[:i+1])
		l.buf = append(l.buf[:0], l.buf[i+1:]...)
	}
	if len(l.buf) > maxLine {
		l.flush()
	}
	return len(p), nil
}

func (l *lineWriter) flush() {
	if len(l.buf) > 0 {
		_, _ = l.w.Write(append(l.buf, '\n'))
		l.buf = l.buf[:0]
	}
}
