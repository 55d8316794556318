// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/hostapi"
)

// reboot boots the wanted version, or, if it runs already, puts the node back into service and reports that.
func (a *Agent) reboot(ctx context.Context, spec agentapi.Spec, status agentapi.Status) error {
	version := spec.WantedVersion()
	os, err := a.os(ctx)
	if err != nil {
		return a.fail(ctx, status, err)
	}
	if os.VersionID == version {
		if err := a.rebooted(status, os); err != nil {
			return a.fail(ctx, status, err)
		}
		if err := a.proven(ctx, os); err != nil {
			return a.fail(ctx, status, err)
		}
		if err := a.release(ctx); err != nil {
			return err
		}
		return a.reached(ctx, status, spec.State, "running "+version)
	}
	// The status tells under which boot the update was staged. Another boot, and still the old version: the
	// boot loader tried the new slot and gave it up. One drain per attempt is enough.
	if before, now := status.BootID, a.bootID(os); status.CurrentState == agentapi.StagedAndPerformedUpdate && before != "" && now != "" && before != now {
		return a.fail(ctx, status, fmt.Errorf("the node fell back: it was to boot %s and came back with %s", version, os.VersionID))
	}
	if err := a.armed(ctx, version); err != nil {
		return a.fail(ctx, status, fmt.Errorf("before the drain: %w", err))
	}
	if err := a.empty(ctx, version); err != nil {
		return a.fail(ctx, status, err)
	}
	if err := a.armed(ctx, version); err != nil {
		return a.fail(ctx, status, fmt.Errorf("after the drain: %w", err))
	}
	if !a.inbox.commit(ctx) {
		return nil // the controller changed its mind at the last moment
	}
	return a.fail(ctx, status, a.goDown(ctx, version))
}

// rebooted checks that the wanted version, which runs, came by a reboot into the other slot, as far as the host tells
// its boots and slots. What ran already when the update was staged needs no reboot: somebody else updated the node.
func (a *Agent) rebooted(staged agentapi.Status, os hostapi.OS) error {
	if staged.CurrentState != agentapi.StagedAndPerformedUpdate || staged.CurrentVersion == os.VersionID {
		return nil
	}
	switch boot := a.bootID(os); {
	case boot != "" && boot == staged.BootID:
		return fmt.Errorf("the host says that it runs %s, where it ran %s, but it has not rebooted", os.VersionID, staged.CurrentVersion)
	case os.Slot != "" && os.Slot == staged.Slot:
		return fmt.Errorf("the host came back with %s, but from slot %s, where %s was", os.VersionID, os.Slot, staged.CurrentVersion)
	}
	return nil
}

// proven returns when the host has marked the running boot successful. Until then the host may go back by itself, and
// then ends this process: so the node stays empty, and its place is not free for another one. Of a host that does not tell
// whether its boots have proved themselves nothing is waited for.
func (a *Agent) proven(ctx context.Context, os hostapi.OS) error {
	begun, told := time.Now(), ""
	var pause agentapi.Backoff
	for os.Boot != nil && !os.Boot.Successful {
		if time.Since(begun) > sayAfter {
			if check, why := unpassed(os.Boot); check != told {
				told = check
				a.say(ctx, "running "+os.VersionID+", which is to prove itself first: "+why)
			}
		}
		if err := agentapi.Wait(ctx, pause.Next()); err != nil {
			return err
		}
		var err error
		if os, err = a.os(ctx); err != nil {
			return err
		}
	}
	return nil
}

// unpassed names what a boot waits for, and says why.
func unpassed(b *hostapi.Boot) (check, why string) {
	for _, c := range b.Checks {
		if !c.Passed {
			return c.Name, "its health check " + c.Name + " says: " + c.Error
		}
	}
	return "none", "its health checks run"
}

// armed returns nil if the host boots the version next.
func (a *Agent) armed(ctx context.Context, version string) error {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.StageTimeout) // somebody's command may be under way
	defer cancel()
	status, err := a.updateStatus(ctx)
	switch {
	case errors.Is(err, hostapi.ErrNotFound):
		return fmt.Errorf("the host has nothing ready to boot: it was asked nothing since its last boot")
	case err != nil:
		return fmt.Errorf("reading the host's update status: %w", err)
	case status.UpdateState != hostapi.StateReady:
		return fmt.Errorf("the host has nothing ready to boot: its update state is %s", status.UpdateState)
	case !holds(status, version):
		return fmt.Errorf("the host would boot %s", staged(status))
	}
	return nil
}

// empty takes the node out of load balancers if asked to, cordons and drains it.
func (a *Agent) empty(ctx context.Context, version string) error {
	a.tidy = false
	if a.cfg.LBWait > 0 {
		if err := a.cfg.Cluster.ExcludeFromLB(ctx); err != nil {
			return fmt.Errorf("leaving load balancers: %w", err)
		}
		err := a.saying(ctx, "leaving load balancers for "+version, func(ctx context.Context) error {
			return agentapi.Wait(ctx, a.cfg.LBWait)
		})
		if err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.DrainTimeout)
	defer cancel()
	return a.saying(ctx, "draining for "+version, a.drain)
}

// drain cordons and drains the node, again and again while that fails for passing reasons, until ctx ends.
func (a *Agent) drain(ctx context.Context) error {
	begun := time.Now()
	var pause agentapi.Backoff
	for first := true; ; first = false {
		err := a.cfg.Cluster.CordonAndDrain(ctx)
		if err == nil {
			a.log.Info("node drained", "took", time.Since(begun).Round(time.Millisecond))
			return nil
		}
		if !agentapi.Temporary(err) {
			return fmt.Errorf("draining: %w", inItsWords(err))
		}
		if first {
			a.log.Warn("drain was cut, trying again", "error", err)
		}
		if agentapi.Wait(ctx, pause.Next()) != nil {
			return fmt.Errorf("draining: %w", err)
		}
	}
}

// inItsWords is an error without the request that it answers, where the apiserver has said what is wrong: this is what people
// read in the events of a node.
func inItsWords(err error) error {
	if s, ok := errors.AsType[*agentapi.StatusError](err); ok && s.Body != "" {
		return &said{err, s.Body}
	}
	return err
}

type said struct {
	error
	text string
}

func (e *said) Error() string { return e.text }

func (e *said) Unwrap() error { return e.error }

// goDown asks for the reboot and waits for the end of this process. It returns only when that does not come.
// The caller has committed to it: from the request on nothing calls it off.
func (a *Agent) goDown(ctx context.Context, version string) error {
	down, cancel := context.WithTimeout(ctx, a.cfg.RebootTimeout)
	defer cancel()
	err := a.saying(down, "rebooting into "+version, func(down context.Context) error {
		var pause agentapi.Backoff
		for {
			err := a.cfg.Host.Reboot(down)
			switch {
			case err == nil:
				a.log.Info("reboot requested, waiting for the end", "into", version)
				<-down.Done()
				return nil
			case down.Err() != nil:
				return nil
			case !errors.Is(err, hostapi.ErrDisconnected):
				return fmt.Errorf("rebooting: %w", err)
			}
			// Either the host goes down, and this process with it, or its daemon ended before it passed the request on.
			if agentapi.Wait(down, pause.Next()) != nil {
				return nil
			}
		}
	})
	if err != nil || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("rebooting: the host is still up %v after it was asked to reboot", a.cfg.RebootTimeout)
}
