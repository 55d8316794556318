// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package machine

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// powerButton is how the host's software asks the machine for a reboot: on a real host the daemon
// runs systemctl, here it runs a script of the same meaning that writes into a pipe.
type powerButton struct {
	pipe    *os.File
	pressed chan struct{}
	done    chan struct{}
}

func (m *Machine) powerDir() string { return filepath.Join(m.cfg.Dir, "power") }

// rebootProgram is what the host daemon runs in place of systemctl.
func (m *Machine) rebootProgram() string { return filepath.Join(m.powerDir(), "systemctl") }

func (m *Machine) openPowerButton() (*powerButton, error) {
	if err := os.MkdirAll(m.powerDir(), 0o755); err != nil {
		return nil, err
	}
	fifo := filepath.Join(m.powerDir(), "button")
	if err := unix.Mkfifo(fifo, 0o600); err != nil && err != unix.EEXIST {
		return nil, fmt.Errorf("making the power button: %w", err)
	}
	script := "#!/bin/sh\n# What the host daemon runs as systemctl.\ntest \"$1\" = reboot && echo reboot > '" + fifo + "'\n"
	if err := os.WriteFile(m.rebootProgram(), []byte(script), 0o755); err != nil {
		return nil, err
	}
	// Opened for both, so that it never reads an end of file between two reboots.
	pipe, err := os.OpenFile(fifo, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the power button: %w", err)
	}
	b := &powerButton{pipe: pipe, pressed: make(chan struct{}, 1), done: make(chan struct{})}
	go b.watch()
	return b, nil
}

// watch turns each write into one press; presses that nobody has answered yet count as one.
func (b *powerButton) watch() {
	defer close(b.done)
	buf := make([]byte, 64)
	for {
		if _, err := b.pipe.Read(buf); err != nil {
			return // closed
		}
		select {
		case b.pressed <- struct{}{}:
		default:
		}
	}
}

// release forgets a press that was meant for an earlier boot.
func (b *powerButton) release() {
	select {
	case <-b.pressed:
	default:
	}
}

func (b *powerButton) close() {
	b.pipe.Close()
	<-b.done
}
