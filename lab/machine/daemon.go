// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package machine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/lab/network"
)

// Restarting the host daemon waits like systemd's RestartSec would, but grows from a little.
const (
	restartFirst = 100 * time.Millisecond
	restartMost  = 5 * time.Second
)

// killWait is how long the daemon has between being asked to end and being killed at power-off.
const killWait = time.Second

// maxLogLine bounds one line of the daemon's log that is looked at; longer lines are only stored.
const maxLogLine = 64 << 10

// keepDaemon runs the host daemon of the booted system until ctx ends, starting it again when it dies.
func (m *Machine) keepDaemon(ctx context.Context, sys system, ready func()) error {
	log, err := m.openLog()
	if err != nil {
		return fmt.Errorf("opening the host daemon's log: %w", err)
	}
	defer log.Close()
	pause := restartFirst
	for {
		err := m.runDaemon(ctx, sys, log, ready)
		if ctx.Err() != nil {
			return nil
		}
		m.notify(Event{Kind: DaemonEnded, Boot: sys.boot, Reason: fmt.Sprint(err)})
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		pause = min(2*pause, restartMost)
	}
}

func (m *Machine) runDaemon(ctx context.Context, sys system, log io.Writer, ready func()) error {
	cmd := exec.CommandContext(ctx, filepath.Join(sys.tree, "usr", "bin", "hostd"), "serve",
		"--root", m.Root(), "--disk", m.Disk(),
		"--reboot-program", m.rebootProgram(), "--log-format", "json")
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.Dir = m.cfg.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killWait
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	if err := startYielding(cmd); err != nil {
		return fmt.Errorf("starting the host daemon: %w", err)
	}
	m.setDaemon(cmd.Process)
	defer m.setDaemon(nil)
	read := make(chan struct{})
	go func() {
		defer close(read)
		m.follow(sys.boot, out, log, ready)
	}()
	err := cmd.Wait()
	in.Close()
	<-read
	if err == nil {
		err = errors.New("it ended by itself")
	}
	return err
}

// bootPrograms bring the settings of a boot from user data to files, in the order of the units in deploy/systemd. What
// comes before them, migrations and the store, the daemon does itself.
var bootPrograms = [][]string{
	{"early-boot-config"}, {"settings-committer"}, {"sundog"}, {"settings-committer"}, {"thar-be-settings", "--all"},
}

// bootLimit bounds one of them.
const bootLimit = time.Minute

// bootPath runs the programs of a boot, once the API answers and before any service starts. Where one fails, the boot
// stops, as the units of an image would have it.
func (m *Machine) bootPath(ctx context.Context, sys system) error {
	for _, args := range bootPrograms {
		limited, cancel := context.WithTimeout(ctx, bootLimit)
		cmd := exec.CommandContext(limited, filepath.Join(sys.tree, "usr", "bin", "hostd"), append(args, "--root", m.Root())...)
		cmd.Env = []string{"PATH=/usr/bin:/bin"}
		cmd.Dir = m.cfg.Dir
		cmd.WaitDelay = killWait
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := startYielding(cmd)
		if err == nil {
			err = cmd.Wait()
		}
		cancel()
		if ctx.Err() != nil {
			return nil // the power was cut
		}
		if err != nil {
			return fmt.Errorf("the boot stopped at %s: %w: %s", args[0], err, bytes.TrimSpace(out.Bytes()))
		}
	}
	return nil
}

// hostNiceness makes a host's programs give way to the control plane and the operator (see setpriority(2)). In a cluster
// these have machines of their own; here all hosts share theirs, and whatever writes an image would hold up every other
// node's update.
const hostNiceness = 10

// startYielding starts a program of a host.
func startYielding(cmd *exec.Cmd) error {
	return network.Thread(func() error { // a program inherits the niceness of the thread that starts it
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, hostNiceness); err != nil {
			return fmt.Errorf("lowering its priority: %w", err)
		}
		return cmd.Start()
	})
}

func (m *Machine) setDaemon(p *os.Process) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.daemon = p
}

// follow stores the daemon's log and turns the lines that tell of its work into events.
func (m *Machine) follow(b Boot, from io.Reader, log io.Writer, ready func()) {
	lines := bufio.NewReaderSize(from, maxLogLine)
	for {
		line, err := lines.ReadSlice('\n')
		_, _ = log.Write(line) // a full disk must not stop the host
		if len(line) > 0 && err == nil {
			m.understand(b, line, ready)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// understand reads one log line; the messages are part of the host daemon's interface.
func (m *Machine) understand(b Boot, line []byte, ready func()) {
	var l struct {
		Msg      string  `json:"msg"`
		Command  string  `json:"command"`
		Status   string  `json:"status"`
		Duration float64 `json:"duration_seconds"`
		Error    string  `json:"error"`
	}
	if json.Unmarshal(line, &l) != nil {
		return // not a structured line, such as a stack trace; it is in the log
	}
	switch l.Msg {
	case "api ready":
		m.notify(Event{Kind: APIReady, Boot: b})
		ready()
	case "boot marked successful":
		m.notify(Event{Kind: MarkedGood, Boot: b})
	case "update command started":
		m.notify(Event{Kind: CommandStarted, Boot: b, Command: l.Command})
	case "update command finished":
		m.notify(Event{
			Kind: CommandFinished, Boot: b, Command: l.Command, Status: l.Status, Reason: l.Error,
			Duration: time.Duration(l.Duration * float64(time.Second)),
		})
	}
}
