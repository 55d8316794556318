// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package plane

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"
)

// stopLimit is how long a component may take to end by itself before it is killed.
const stopLimit = 3 * time.Second

// tailBytes is how much of a dead component's log goes into the error.
const tailBytes = 2048

// process is one component as a child process.
type process struct {
	cmd      *exec.Cmd
	stopping atomic.Bool
	ended    chan struct{}
}

// run starts a component by the name it has in the multi-call binary.
func (p *Plane) run(name string, args []string) error {
	log, err := os.Create(p.path(name + ".log"))
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", name, err)
	}
	defer log.Close()
	cmd := exec.Command(p.cfg.Binary, args...)
	cmd.Args[0] = name // the binary acts by the name it is called by
	cmd.Dir = p.cfg.Dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	pr := &process{cmd: cmd, ended: make(chan struct{})}
	p.processes = append(p.processes, pr)
	go func() {
		defer close(pr.ended)
		err := cmd.Wait()
		if pr.stopping.Load() {
			return
		}
		p.failed <- fmt.Errorf("%s ended unexpectedly (%v): %w", name, err, lastLines(log.Name()))
	}()
	p.cfg.Log.Debug("component started", "name", name, "pid", cmd.Process.Pid)
	return nil
}

// stop asks the component to end, kills it after stopLimit, and returns when it is gone.
func (pr *process) stop() {
	pr.stopping.Store(true)
	_ = pr.cmd.Process.Signal(syscall.SIGTERM) // already ended is fine
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-pr.ended:
	case <-limit.C:
		_ = pr.cmd.Process.Kill()
		<-pr.ended
	}
}

// lastLines returns the end of a log as an error, for a message that says why a component died.
func lastLines(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if end, err := f.Seek(0, io.SeekEnd); err == nil && end > tailBytes {
		_, _ = f.Seek(-tailBytes, io.SeekEnd)
	} else {
		_, _ = f.Seek(0, io.SeekStart)
	}
	tail, err := io.ReadAll(io.LimitReader(f, tailBytes))
	if err != nil {
		return err
	}
	return errors.New("the end of its log:\n" + string(bytes.TrimSpace(tail)))
}
