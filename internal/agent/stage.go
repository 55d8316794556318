// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/hostapi"
)

const (
	// maxSteps bounds a staging that goes in circles, because somebody else commands the same host, or because its
	// daemon ends over and over.
	maxSteps = 12
	// checkTimeout bounds one look for updates: a few small files from the repository.
	checkTimeout = 10 * time.Minute
	// hostTimeout bounds the wait for a host API that does not answer, for instance because it restarts.
	hostTimeout = 30 * time.Second
)

// check looks for updates when it is time to, and reports what it found. A look that failed is part of the
// message, the node stays Idle. It returns the time until the next look.
func (a *Agent) check(ctx context.Context, status agentapi.Status) (time.Duration, error) {
	if wait := time.Until(a.nextCheck); wait > 0 {
		return wait, nil
	}
	target, held, os, err := a.look(ctx)
	if ctx.Err() != nil {
		return 0, nil // something more important came; look again later
	}
	a.nextCheck = time.Now().Add(jitter(a.cfg.CheckInterval))
	if err != nil {
		a.log.Warn("looking for updates failed", "error", err)
		status.Message = "update check failed: " + err.Error()
		status.UpdateCheck = a.failing(status.UpdateCheck, err)
		return 0, a.put(ctx, status)
	}
	a.lastCheck = time.Now()
	before := status
	status = a.facts(status, os)
	status.TargetVersion, status.HeldUpdate, status.Message = target, held, sentence(held)
	if target != os.VersionID {
		status.Message = target + " is available"
	}
	status.UpdateCheck = agentapi.Check{LastSuccess: before.UpdateCheck.LastSuccess}
	if !status.Equal(before) || a.outdated(before.UpdateCheck.LastSuccess) {
		status.UpdateCheck.LastSuccess = a.lastCheck.UTC().Format(time.RFC3339)
	}
	return 0, a.put(ctx, status)
}

// checkShownFor is how old the time of the last good look in the status may be: younger ones are not worth a write.
const checkShownFor = 6 * time.Hour

func (a *Agent) outdated(shown string) bool {
	t, err := time.Parse(time.RFC3339, shown)
	return err != nil || a.lastCheck.Sub(t) > checkShownFor
}

// sentence says for people why a host stays; "" if nothing keeps it.
func sentence(h agentapi.Held) string {
	switch hostapi.HeldReason(h.Reason) {
	case "":
		return ""
	case hostapi.HeldByWave:
		return h.Version + " is there; this host waits for its wave until " + h.Until
	case hostapi.HeldByLock:
		return h.Version + " is there; this host is locked to " + h.LockedTo
	case hostapi.HeldAsBlocked:
		return h.Version + " is there; it fell back on this host and is not tried again"
	default:
		return h.Version + " is there, but held back by its wave or by the version lock of the host"
	}
}

// failing describes a look that failed.
func (a *Agent) failing(before agentapi.Check, err error) agentapi.Check {
	c := agentapi.Check{Error: clip(err.Error()), FailingSince: before.FailingSince, LastSuccess: before.LastSuccess}
	if c.FailingSince == "" {
		c.FailingSince = time.Now().UTC().Format(time.RFC3339)
	}
	if !a.lastCheck.IsZero() {
		c.LastSuccess = a.lastCheck.UTC().Format(time.RFC3339)
	}
	return c
}

// heldSomehow is the reason of a host that does not tell one.
const heldSomehow = "unknown"

// look asks the host for the version it would update to, the running one if there is none; held says why another
// one that it knows is not chosen.
func (a *Agent) look(ctx context.Context) (target string, held agentapi.Held, os hostapi.OS, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if os, err = a.os(ctx); err != nil {
		return "", held, os, err
	}
	var status hostapi.UpdateStatus
	for range maxSteps { // as often as somebody else's command is under way, or the daemon ends
		status, err = a.command(ctx, hostapi.CommandRefresh, a.cfg.Host.Refresh)
		if !again(err) {
			break
		}
	}
	switch h := status.HeldUpdate; {
	case err != nil:
		return "", held, os, err
	case status.ChosenUpdate != nil && !isVersion(status.ChosenUpdate.Version):
		return "", held, os, fmt.Errorf("the host offers %q, which is no version", clipTo(status.ChosenUpdate.Version, maxWord))
	case status.ChosenUpdate != nil:
		return status.ChosenUpdate.Version, held, os, nil
	case h != nil:
		held = agentapi.Held{Version: clipTo(h.Version, maxWord), Reason: clipTo(string(h.Reason), maxWord), Until: clipTo(h.Until, maxWord), LockedTo: clipTo(h.LockedTo, maxWord)}
	case len(status.AvailableUpdates) > 0 && status.AvailableUpdates[0] != os.VersionID:
		held = agentapi.Held{Version: clipTo(status.AvailableUpdates[0], maxWord), Reason: heldSomehow}
	}
	return os.VersionID, held, os, nil
}

// stage returns when the host boots the wanted version next. It begins with what the host has already: a
// command under way is waited for, an image that is staged or armed is used. A daemon that ends in the middle of a
// command is no failure: when it is back, it says what the host has, and staging goes on from there.
func (a *Agent) stage(ctx context.Context, version string) error {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.StageTimeout)
	defer cancel()
	os, err := a.os(ctx)
	if err != nil {
		return err
	}
	if os.VersionID == version {
		return nil // it runs already: somebody else updated the node
	}
	refreshed := false
	var last error // why the last step has to be looked at again
	for range maxSteps {
		status, err := a.updateStatus(ctx)
		switch {
		case errors.Is(err, hostapi.ErrNotFound): // nothing was asked since the boot
			status.UpdateState = hostapi.StateIdle
		case err != nil:
			return fmt.Errorf("reading the host's update status: %w", err)
		}
		switch {
		case status.UpdateState == hostapi.StateReady && holds(status, version):
			return nil
		case status.UpdateState == hostapi.StateReady: // armed by somebody else, with something else
			_, err = a.command(ctx, hostapi.CommandDeactivate, a.cfg.Host.Deactivate)
		case status.UpdateState == hostapi.StateStaged && holds(status, version):
			_, err = a.command(ctx, hostapi.CommandActivate, a.cfg.Host.Activate)
		case status.UpdateState != hostapi.StateIdle && chosen(status) == version:
			err = a.prepare(ctx, version)
		case !refreshed:
			_, err = a.command(ctx, hostapi.CommandRefresh, a.cfg.Host.Refresh)
			refreshed = err == nil
		case chosen(status) == "":
			return fmt.Errorf("the host finds no update to %s now (withdrawn, or held back by its wave or version lock)", version)
		default:
			return fmt.Errorf("the host would install %s", chosen(status))
		}
		if err != nil && !again(err) {
			return err
		}
		last = err
	}
	if last != nil {
		return fmt.Errorf("the host did not get ready in %d steps: %w", maxSteps, last)
	}
	return fmt.Errorf("the host did not get ready in %d steps; does somebody else command it?", maxSteps)
}

// prepare downloads the chosen update and checks that it was the wanted one: the choice may have moved.
func (a *Agent) prepare(ctx context.Context, version string) error {
	var status hostapi.UpdateStatus
	err := a.saying(ctx, "downloading "+version, func(ctx context.Context) (err error) {
		status, err = a.command(ctx, hostapi.CommandPrepare, a.cfg.Host.Prepare)
		return err
	})
	if err != nil {
		return err
	}
	if status.UpdateState != hostapi.StateStaged || !holds(status, version) {
		return fmt.Errorf("the host prepared something else: state %s, image %s", status.UpdateState, staged(status))
	}
	return nil
}

// errInterrupted means that the host's daemon ended while a command was given or ran, and is back. The host's status is
// true again and says what is left to do.
var errInterrupted = errors.New("the host's daemon ended meanwhile")

// again reports whether a command left no result of its own, but looking at the host again helps.
func again(err error) bool {
	return errors.Is(err, hostapi.ErrBusy) || errors.Is(err, errInterrupted)
}

// command runs one update command to its end and returns the status after it. It succeeds only if the last
// command of the host is this one and ended well. hostapi.ErrBusy means that another command was running,
// and that it has ended; errInterrupted means that the daemon ended, and is back.
func (a *Agent) command(ctx context.Context, name hostapi.Command, start func(context.Context) error) (hostapi.UpdateStatus, error) {
	begun := time.Now()
	startErr := start(ctx)
	switch {
	case startErr == nil || errors.Is(startErr, hostapi.ErrBusy):
	case errors.Is(startErr, hostapi.ErrDisconnected):
		startErr = fmt.Errorf("%w: %w", errInterrupted, startErr)
	default:
		return hostapi.UpdateStatus{}, startErr
	}
	status, err := a.updateStatus(ctx)
	switch {
	case errors.Is(startErr, hostapi.ErrBusy):
		return status, startErr
	case startErr != nil && (err == nil || errors.Is(err, hostapi.ErrNotFound)):
		a.log.Warn("looking at the host again", "command", name, "error", startErr)
		return status, startErr
	case err != nil:
		return status, fmt.Errorf("waiting for %s: %w", name, err)
	}
	last := status.MostRecentCommand
	if last == nil || last.Type != name {
		return status, fmt.Errorf("%s left no result, does somebody else command this host?", name)
	}
	if last.Status != hostapi.StatusSuccess {
		text := strings.TrimSpace(last.Stderr)
		if text == "" {
			text = fmt.Sprintf("exit status %d", last.ExitStatus)
		}
		if last.Interrupted {
			a.log.Warn("looking at the host again", "command", name, "error", text)
			return status, fmt.Errorf("%w: %s: %s", errInterrupted, name, text)
		}
		return status, fmt.Errorf("%s failed on the host: %s", name, text)
	}
	a.log.Info("host command done", "command", name, "state", status.UpdateState, "took", time.Since(begun).Round(time.Millisecond))
	return status, nil
}

// os reads what runs.
func (a *Agent) os(ctx context.Context) (hostapi.OS, error) {
	os, err := ask(ctx, a.cfg.Host.OS)
	if err != nil {
		return os, fmt.Errorf("reading what the host runs: %w", err)
	}
	return os, nil
}

// updateStatus reads the host's update status when no command runs any more.
func (a *Agent) updateStatus(ctx context.Context) (hostapi.UpdateStatus, error) {
	return ask(ctx, a.cfg.Host.WaitUpdateStatus)
}

// ask repeats a question that changes nothing while the host's API is not there, for at most hostTimeout in a
// row: it may be starting. What the API answers is final.
func ask[T any](ctx context.Context, question func(context.Context) (T, error)) (T, error) {
	var pause agentapi.Backoff
	for patience := hostTimeout; ; {
		answer, err := question(ctx)
		_, answered := errors.AsType[*hostapi.StatusError](err)
		if err == nil || answered && !errors.Is(err, hostapi.ErrDisconnected) || patience <= 0 {
			return answer, err
		}
		d := pause.Next()
		patience -= d
		if agentapi.Wait(ctx, d) != nil {
			return answer, err
		}
	}
}

// chosen returns the version the host would install, "" for none.
func chosen(s hostapi.UpdateStatus) string {
	if s.ChosenUpdate == nil {
		return ""
	}
	return s.ChosenUpdate.Version
}

// staged names the image in the idle slot.
func staged(s hostapi.UpdateStatus) string {
	if s.StagingPartition == nil || s.StagingPartition.Image.Version == "" {
		return "unknown"
	}
	return s.StagingPartition.Image.Version
}

// holds reports whether the idle slot holds the version.
func holds(s hostapi.UpdateStatus, version string) bool { return staged(s) == version }
