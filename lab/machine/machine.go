// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package machine is one host of the lab: a real A/B disk in a file, a boot loader that chooses the
// slot by the disk's attribute bits, and the programs that the chosen slot holds, as processes.
//
// What runs comes from the disk and nothing else: the host daemon's program and the version are read
// from the root image of the slot that booted, after its whole hash tree was checked against the hash
// in the boot image. A reboot ends every process of the host and starts over at the boot loader.
package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/drydock-os/drydock/internal/osimage"
	"github.com/drydock-os/drydock/internal/slot"
)

// readyLimit bounds the time from starting the host daemon to its API answering.
const readyLimit = 30 * time.Second

// Config describes one host. All fields are required.
type Config struct {
	Name       string
	Dir        string        // the host's own directory; Disk and Root live in it
	Cache      string        // unpacked systems by root hash, shared between hosts
	RebootTime time.Duration // how long the machine is dark during a reboot
	NewBootID  func() string // a fresh boot id in the kernel's form
	// Services runs what comes up after the host's API answers and its settings are applied (the node runner) until its
	// ctx is cancelled, which is how the power is cut. An error ends the machine.
	Services func(ctx context.Context, b Boot) error
	// Notify is told what happens, in order, from one goroutine at a time.
	Notify func(Event)
	Log    *slog.Logger
}

// Boot is one start of the system.
type Boot struct {
	Number  int // 1 for the first boot of the lab
	ID      string
	Slot    slot.Slot
	Release osimage.Release
}

// Kind says what an Event is about.
type Kind string

// The kinds of events, in the order of a machine's life.
const (
	Booted          Kind = "booted"           // the boot loader chose a slot and its system was verified
	APIReady        Kind = "api ready"        // the host's API answers
	MarkedGood      Kind = "marked good"      // the host daemon marked the boot successful
	CommandStarted  Kind = "command started"  // an update command of the host API began
	CommandFinished Kind = "command finished" // an update command ended
	RebootRequested Kind = "reboot requested" // the host was asked to reboot
	DaemonEnded     Kind = "daemon ended"     // the host daemon died and is started again
	SlotRefused     Kind = "slot refused"     // the boot loader passed over a damaged slot
)

// Event is one thing that happened on a host.
type Event struct {
	Host string
	Time time.Time
	Kind Kind
	Boot Boot

	Command  string        // of CommandStarted and CommandFinished
	Status   string        // of CommandFinished: Success or Failed
	Duration time.Duration // of CommandFinished
	Reason   string        // of CommandFinished, DaemonEnded and SlotRefused: what went wrong
}

// Machine is one host.
type Machine struct {
	cfg Config

	telling sync.Mutex // held while Notify runs
	mu      sync.Mutex // guards boot and daemon
	boot    Boot
	daemon  *os.Process // the host daemon while it runs
	cut     chan struct{}
}

// New checks the configuration. The disk must exist when Run starts.
func New(cfg Config) (*Machine, error) {
	switch {
	case cfg.Name == "" || cfg.Dir == "" || cfg.Cache == "":
		return nil, errors.New("a machine needs a name, a directory and a cache")
	case cfg.Services == nil || cfg.Notify == nil || cfg.NewBootID == nil || cfg.Log == nil:
		return nil, fmt.Errorf("machine %s: services, notify, boot ids and log are required", cfg.Name)
	case cfg.RebootTime < 0:
		return nil, fmt.Errorf("machine %s: reboot time %v is negative", cfg.Name, cfg.RebootTime)
	}
	return &Machine{cfg: cfg, cut: make(chan struct{}, 1)}, nil
}

// Disk returns the path of the host's disk image.
func (m *Machine) Disk() string { return filepath.Join(m.cfg.Dir, "disk.img") }

// Root returns the directory that is the host's root: its /run, /etc and /var are below it.
func (m *Machine) Root() string { return filepath.Join(m.cfg.Dir, "root") }

// Socket returns the path of the host API's socket.
func (m *Machine) Socket() string { return filepath.Join(m.Root(), "run", "api.sock") }

// Boot returns the present boot; its number is 0 before the first.
func (m *Machine) Boot() Boot {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.boot
}

// CutPower ends all processes of the host at once, as if somebody pulled the plug and put it back.
func (m *Machine) CutPower() {
	select {
	case m.cut <- struct{}{}:
	default: // it is dark already
	}
}

// KillDaemon ends the host daemon without a chance to clean up, and returns how many processes that
// were: it may not run at this moment.
func (m *Machine) KillDaemon() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.daemon == nil || m.daemon.Kill() != nil {
		return 0
	}
	return 1
}

// Run powers the machine on and keeps it running, through reboots, until ctx is cancelled; then all
// its processes are gone. It returns an error when no slot boots or a service fails.
func (m *Machine) Run(ctx context.Context) error {
	if err := m.prepare(); err != nil {
		return fmt.Errorf("preparing host %s: %w", m.cfg.Name, err)
	}
	button, err := m.openPowerButton()
	if err != nil {
		return fmt.Errorf("preparing host %s: %w", m.cfg.Name, err)
	}
	defer button.close()
	for n := 1; ; n++ {
		system, err := m.bootLoader(ctx, n)
		if err != nil {
			return fmt.Errorf("booting host %s: %w", m.cfg.Name, err)
		}
		if err := m.live(ctx, system, button); err != nil {
			return fmt.Errorf("running host %s: %w", m.cfg.Name, err)
		}
		dark := time.NewTimer(m.cfg.RebootTime)
		select {
		case <-ctx.Done():
			dark.Stop()
			return nil
		case <-dark.C:
		}
	}
}

// live runs one boot, from the host daemon's start to the reboot (or the end of ctx).
func (m *Machine) live(ctx context.Context, sys system, button *powerButton) error {
	up, powerOff := context.WithCancel(ctx)
	defer powerOff()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer powerOff()
	button.release()

	ready := make(chan struct{})
	var once sync.Once
	failed := make(chan error, 2)
	wg.Go(func() {
		failed <- m.keepDaemon(up, sys, func() { once.Do(func() { close(ready) }) })
	})
	wg.Go(func() {
		limit := time.NewTimer(readyLimit)
		defer limit.Stop()
		select {
		case <-up.Done():
		case <-limit.C:
			failed <- fmt.Errorf("the host API did not answer within %v; see %s", readyLimit, m.daemonLog())
		case <-ready:
			if err := m.bootPath(up, sys); err != nil {
				failed <- err
				return
			}
			failed <- m.cfg.Services(up, sys.boot)
		}
	})
	select {
	case <-ctx.Done():
		return nil
	case <-button.pressed:
		m.notify(Event{Kind: RebootRequested, Boot: sys.boot})
		return nil
	case <-m.cut:
		m.KillDaemon()
		return nil
	case err := <-failed:
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
}

// prepare makes the directories of the host.
func (m *Machine) prepare() error {
	for _, d := range []string{"run", "etc", "var/lib/bottlerocket", "local", "proc/sys/kernel/random"} {
		if err := os.MkdirAll(filepath.Join(m.Root(), d), 0o755); err != nil {
			return err
		}
	}
	return os.MkdirAll(m.cfg.Cache, 0o755)
}

func (m *Machine) notify(e Event) {
	m.telling.Lock()
	defer m.telling.Unlock()
	e.Host, e.Time = m.cfg.Name, time.Now()
	m.cfg.Notify(e)
}

func (m *Machine) daemonLog() string { return filepath.Join(m.cfg.Dir, "hostd.log") }

// openLog opens the host daemon's log, which spans all boots.
func (m *Machine) openLog() (io.WriteCloser, error) {
	return os.OpenFile(m.daemonLog(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
}
