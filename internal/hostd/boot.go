// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/slot"
)

// Check is one condition for a boot to count as successful.
type Check interface {
	Name() string
	Check(context.Context) error // nil: healthy now
}

const (
	checkTimeout  = 10 * time.Second // one check, once
	firstRetry    = 50 * time.Millisecond
	maxRetry      = 5 * time.Second
	proofDeadline = 10 * time.Minute // after that the boot stays unproven, and the next one falls back
)

// apiCheck is passed when the daemon's API answers on its socket with the system that runs.
type apiCheck struct{ d *Daemon }

func (apiCheck) Name() string { return "api" }

func (c apiCheck) Check(ctx context.Context) error {
	client := hostapi.New(c.d.socket)
	defer client.Close()
	got, err := client.OS(ctx)
	if err == nil && got != c.d.os() {
		err = errors.New("the API answers for another system")
	}
	return err
}

// proveBoot waits until the API answers, says so, and marks the boot successful when all checks have passed.
func (d *Daemon) proveBoot(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, proofDeadline)
	defer cancel()
	if !d.await(ctx, apiCheck{d}) {
		return
	}
	d.cfg.Log.Info("api ready", "socket", d.socket)
	if err := notify(d.cfg.NotifySocket, "READY=1"); err != nil {
		d.cfg.Log.Warn("service manager not notified", "error", err)
	}
	for _, c := range d.cfg.Health {
		if !d.await(ctx, c) {
			return
		}
	}
	if !d.await(ctx, markSuccessful{d}) {
		return
	}
	if err := d.engine.Proved(); err != nil {
		d.cfg.Log.Warn("attempt not forgotten", "error", err) // the next start does it
	}
	d.cfg.Log.Info("boot marked successful", "slot", d.system.Slot.String(), "version", d.system.Version.String())
}

// await repeats a check, more and more slowly, until it passes. It reports false when ctx ended first.
func (d *Daemon) await(ctx context.Context, c Check) bool {
	pause, said := firstRetry, ""
	for {
		once, cancel := context.WithTimeout(ctx, checkTimeout)
		err := c.Check(once)
		cancel()
		if err == nil {
			return true
		}
		if text := err.Error(); text != said && ctx.Err() == nil {
			d.cfg.Log.Warn("boot not yet successful", "check", c.Name(), "error", text)
			said = text
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			pause = min(2*pause, maxRetry)
		case <-ctx.Done():
			timer.Stop()
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				d.cfg.Log.Error("boot not marked successful", "check", c.Name(), "error", said)
			}
			return false
		}
	}
}

// markSuccessful writes the mark. It is tried again like a check, because another process may use the disk just now.
type markSuccessful struct{ d *Daemon }

func (markSuccessful) Name() string { return "disk" }

func (m markSuccessful) Check(context.Context) error {
	return m.d.disk.Change(func(_ *gpt.File, t *slot.Table) error { return t.MarkSuccessful(m.d.system.Slot) })
}

const (
	rebootTimeout = time.Minute // the init system asks its inhibitors
	maxRebootText = 4 << 10
)

// reboot asks the init system to reboot, and returns when it has agreed.
func (d *Daemon) reboot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rebootTimeout) // not undone by the client's leaving
	defer cancel()
	cmd := exec.CommandContext(ctx, d.cfg.RebootProgram, "reboot", "--check-inhibitors=yes")
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		text := strings.Join(strings.Fields(string(out[:min(len(out), maxRebootText)])), " ")
		return fmt.Errorf("rebooting: %s: %w: %s", d.cfg.RebootProgram, err, text)
	}
	return nil
}
