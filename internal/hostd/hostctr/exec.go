// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostctr

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/term"

	"github.com/drydock-os/drydock/internal/pty"
)

// Command is one to run in a container that runs already.
type Command struct {
	Container string // as containerd has it
	Args      []string
	Stdin     *os.File
	TTY       bool   // Stdin is a terminal, and the command gets one that follows it
	Term      string // kind of terminal, for images that name none

	// Signals are passed on to the command; a second SIGTERM kills it. SIGWINCH is about the terminal.
	Signals <-chan os.Signal
}

// ErrNotRunning means that there is no container to run a command in.
var ErrNotRunning = errors.New("the container does not run")

// Exec runs a command and returns its exit code. Nothing of it is left then, but what it put aside itself.
func (r *Runtime) Exec(ctx context.Context, c Command) (code uint32, err error) {
	failed := func(err error) (uint32, error) {
		return 0, fmt.Errorf("running a command in container %s: %w", c.Container, err)
	}
	task, own, err := r.running(ctx, c.Container)
	if errdefs.IsNotFound(err) {
		err = ErrNotRunning
	}
	if err != nil {
		return failed(err)
	}
	fifos := r.path(fifoDir)
	if err := os.MkdirAll(fifos, 0o700); err != nil {
		return failed(err)
	}
	input := &ending{Reader: c.Stdin, ended: make(chan struct{})}
	streams := []cio.Opt{cio.WithFIFODir(fifos), cio.WithStreams(input, r.cfg.Stdout, r.cfg.Stderr)}
	if c.TTY {
		streams = append(streams, cio.WithStreams(input, r.cfg.Stdout, nil), cio.WithTerminal)
		state, err := term.MakeRaw(int(c.Stdin.Fd()))
		if err != nil {
			return failed(fmt.Errorf("handing the terminal to the command: %w", err))
		}
		defer func() { _ = term.Restore(int(c.Stdin.Fd()), state) }() // there is no other way to do it
	}
	always := context.WithoutCancel(ctx) // what may have begun is told of signals, and seen to its end
	starting, cancel := context.WithTimeout(always, startLimit)
	defer cancel()
	process, err := task.Exec(starting, "apiexec-"+rand.Text()[:16], c.process(own), cio.NewCreator(streams...))
	if err != nil {
		return failed(err)
	}
	defer process.IO().Close() // also when the container is gone before the command is removed
	defer func() {
		ctx, cancel := context.WithTimeout(always, removeLimit)
		defer cancel()
		if _, deleteErr := process.Delete(ctx, containerd.WithProcessKill); missing(deleteErr) != nil && !gone(ctx, task) {
			err = errors.Join(err, fmt.Errorf("removing the command: %w", deleteErr))
		}
	}()
	exited, err := process.Wait(always)
	if err != nil {
		return failed(err)
	}
	if err := process.Start(starting); err != nil {
		return failed(err)
	}
	if c.TTY {
		c.resize(always, process)
	} else {
		go func() { // ends with the input, or with this program
			<-input.ended
			_ = process.CloseIO(always, containerd.WithStdinCloser) // it has ended otherwise
		}()
	}
	status := c.await(always, process, exited)
	code, _, err = status.Result()
	drain(process.IO())
	if err != nil {
		if gone(always, task) {
			err = errGone
		}
		return failed(err)
	}
	return code, nil
}

// running returns the task of a container, and what its own process is like.
func (r *Runtime) running(ctx context.Context, id string) (containerd.Task, *specs.Process, error) {
	container, err := r.client.LoadContainer(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	spec, err := container.Spec(ctx)
	if err != nil {
		return nil, nil, err
	}
	task, err := container.Task(ctx, nil)
	return task, spec.Process, err
}

// process is what the command is to the runtime: as the container's own, but for what is said here.
func (c Command) process(own *specs.Process) *specs.Process {
	p := *own
	p.Args, p.Terminal = c.Args, c.TTY
	if c.TTY && c.Term != "" && !slices.ContainsFunc(p.Env, func(e string) bool { return strings.HasPrefix(e, "TERM=") }) {
		p.Env = append(slices.Clone(p.Env), "TERM="+c.Term)
	}
	return &p
}

// await passes signals on until the command has ended.
func (c Command) await(ctx context.Context, process containerd.Process, exited <-chan containerd.ExitStatus) containerd.ExitStatus {
	told := false
	for {
		select {
		case status := <-exited:
			return status
		case s := <-c.Signals:
			signal, ok := s.(syscall.Signal)
			switch {
			case !ok:
				continue
			case signal == syscall.SIGWINCH:
				c.resize(ctx, process)
				continue
			case signal == syscall.SIGTERM && told:
				signal = syscall.SIGKILL
			}
			told = told || signal == syscall.SIGTERM
			_ = process.Kill(ctx, signal) // it has ended otherwise, or its shim has, which ends the wait too
		}
	}
}

func (c Command) resize(ctx context.Context, process containerd.Process) {
	if rows, cols, err := pty.Size(c.Stdin); err == nil && c.TTY {
		_ = process.Resize(ctx, uint32(cols), uint32(rows)) // it has ended otherwise
	}
}

// ending tells when what it reads has ended.
type ending struct {
	io.Reader
	once  sync.Once
	ended chan struct{}
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	if err != nil {
		e.once.Do(func() { close(e.ended) })
	}
	return n, err
}
