// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostd/store"
	"github.com/drydock-os/drydock/internal/slot"
)

// proof is how far the running system has come in proving itself.
type proof struct {
	mu         sync.Mutex
	successful bool
	checks     []hostapi.BootCheck
}

// set records what the latest run of a check said.
func (p *proof) set(name string, err error) {
	c := hostapi.BootCheck{Name: name, Passed: err == nil}
	if err != nil {
		c.Error = err.Error()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.checks, func(c hostapi.BootCheck) bool { return c.Name == name })
	if i < 0 {
		p.checks = append(p.checks, c)
		return
	}
	p.checks[i] = c
}

func (p *proof) marked() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.successful = true
}

// boot is what the API says about the running boot.
func (d *Daemon) boot() *hostapi.Boot {
	d.proof.mu.Lock()
	defer d.proof.mu.Unlock()
	return &hostapi.Boot{Slot: d.system.Slot.String(), Successful: d.proof.successful, Checks: slices.Clone(d.proof.checks)}
}

// errUnproven means that the system did not prove itself in time.
var errUnproven = errors.New("not healthy in time")

// proveBoot waits until the API answers, says so, and marks the boot successful when all checks have passed. When they
// have not in time, the host goes back to the system before, if there is one.
func (d *Daemon) proveBoot(ctx context.Context, settings *store.Store) {
	limited, cancel := context.WithTimeoutCause(ctx, d.cfg.HealthDeadline, errUnproven)
	defer cancel()
	err := d.prove(limited)
	switch {
	case err == nil:
		d.cfg.Log.Info("boot marked successful", "slot", d.system.Slot.String(), "version", d.system.Version.String())
		if err := settings.Prune(); err != nil {
			d.cfg.Log.Warn("settings of before not removed", "error", err) // the next start does it
		}
	case ctx.Err() == nil:
		d.cfg.Log.Error("boot not marked successful", "error", err)
		d.goBack(ctx, err)
	}
}

func (d *Daemon) prove(ctx context.Context) error {
	if err := d.await(ctx, apiCheck{d}); err != nil {
		return err
	}
	d.cfg.Log.Info("api ready", "socket", d.socket)
	if err := notify(d.cfg.NotifySocket, "READY=1"); err != nil {
		d.cfg.Log.Warn("service manager not notified", "error", err)
	}
	own, err := d.hostChecks()
	if err != nil {
		return err
	}
	for _, c := range slices.Concat(d.cfg.Health, own, []Check{markSuccessful{d}}) {
		if err := d.await(ctx, c); err != nil {
			return err
		}
	}
	d.proof.marked()
	if err := d.engine.Proved(); err != nil {
		d.cfg.Log.Warn("attempt not forgotten", "error", err) // the next start does it
	}
	return nil
}

// await repeats a check, more and more slowly, until it passes or ctx ends; then the error is what it said last.
func (d *Daemon) await(ctx context.Context, c Check) error {
	pause, said := firstRetry, ""
	for {
		once, cancel := context.WithTimeout(ctx, checkTimeout)
		err := c.Check(once)
		cancel()
		if err == nil || ctx.Err() == nil {
			d.proof.set(c.Name(), err)
		}
		if err == nil {
			return nil
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
			if said == "" {
				said = err.Error()
			}
			return fmt.Errorf("%w: check %s: %s", context.Cause(ctx), c.Name(), said)
		}
	}
}

const (
	rebootTries = 10 // something may inhibit the reboot for a while
	rebootPause = time.Minute
)

// goBack reboots, so that the boot loader, which has no tries left for the running slot, starts the other one. It does
// nothing when the running system has proved itself at an earlier boot, or when the other slot has not.
func (d *Daemon) goBack(ctx context.Context, reason error) {
	var active, other slot.Flags
	err := d.disk.View(func(_ *gpt.File, t *slot.Table) error {
		active, other = t.Flags(d.system.Slot), t.Flags(d.system.Slot.Other())
		return nil
	})
	switch {
	case err != nil:
		d.cfg.Log.Error("not going back", "error", err)
		return
	case active.Successful:
		d.cfg.Log.Warn("not going back", "reason", "this system was marked successful at an earlier boot")
		return
	case !other.Successful || other.Priority == 0:
		d.cfg.Log.Warn("not going back", "reason", "there is no other system that was marked successful")
		return
	}
	if err := d.engine.GivingUp(reason.Error()); err != nil {
		d.cfg.Log.Warn("reason of going back not saved", "error", err)
	}
	for range rebootTries {
		d.cfg.Log.Warn("going back", "slot", d.system.Slot.String(), "to", d.system.Slot.Other().String(), "reason", reason.Error())
		err := d.reboot(ctx)
		if err == nil {
			return
		}
		d.cfg.Log.Error("not rebooted", "error", err)
		timer := time.NewTimer(rebootPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}
