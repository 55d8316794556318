// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/hostapi"
)

const (
	// maxText bounds the texts in a status, in bytes.
	maxText = 1024
	// maxWord bounds the versions and times of a host.
	maxWord = 256
	// reportTries is how often a report is sent that the apiserver understands and refuses: one may have lost a race.
	reportTries = 3
	// refusedPause is how long the agent waits for a change when nothing that it reports is taken.
	refusedPause = 5 * time.Minute
	// strangerPause is how long it waits when its token is not accepted, which the client has tried for a minute.
	strangerPause = 30 * time.Second
	// sayTimeout bounds a message about what is going on: a hint for people must not hold up the work.
	sayTimeout = 3 * time.Second
	// sayAfter is how long something must last to be worth a write of its own: what is over before is told by
	// the state that it led to.
	sayAfter = 5 * time.Second
)

// put makes s the status to report and tries to write it. A status that could not be written is kept and
// written before anything else happens, so that no step is repeated because its report got lost.
func (a *Agent) put(ctx context.Context, s agentapi.Status) error {
	s.Message, s.LastError = clip(s.Message), clip(s.LastError)
	if v := a.inbox.look(); v.Status != nil && v.Status.Equal(s) {
		return nil
	}
	a.pending, a.refusals = &s, 0
	return a.write(ctx)
}

// write writes the pending status.
func (a *Agent) write(ctx context.Context) error {
	s := *a.pending
	revision, err := a.cfg.Cluster.PutStatus(ctx, s)
	if agentapi.Code(err) == http.StatusNotFound {
		a.pending = nil
		a.inbox.gone()
		return nil
	}
	if agentapi.Refused(err) {
		return a.refused(ctx, err)
	}
	if err != nil {
		return err
	}
	a.pending = nil
	a.inbox.wrote(s, revision)
	a.log.Info("status reported", "state", s.CurrentState, "version", s.CurrentVersion, "target", s.TargetVersion, "message", s.Message)
	return nil
}

// errReportRefused means that the apiserver takes no report of this node, not even that the attempt failed.
var errReportRefused = errors.New("the apiserver refuses the node's reports")

// refused decides what becomes of the pending status, which the apiserver understood and refused: it is tried a few times;
// then one that tells of no other state is dropped, and in place of any other the attempt is reported as failed, with what
// the apiserver took before. If it refuses that, too, it is for the controller's limits to end the attempt.
func (a *Agent) refused(ctx context.Context, cause error) error {
	if a.refusals++; a.refusals < reportTries {
		return cause
	}
	s, stored := *a.pending, a.inbox.look().Status
	a.pending, a.refusals = nil, 0
	switch {
	case stored != nil && s.CurrentState == stored.CurrentState:
		a.log.Error("report dropped", "state", s.CurrentState, "message", s.Message, "error", cause)
		return nil
	case stored == nil || s.CurrentState == agentapi.ErrorReset:
		return fmt.Errorf("%w: %w", errReportRefused, cause)
	}
	a.log.Error("attempt failed: its state cannot be reported", "state", s.CurrentState, "error", cause)
	return a.put(ctx, failed(*stored, fmt.Errorf("reporting the state %s: %w", s.CurrentState, cause)))
}

// saying calls f and, when that takes long, reports meanwhile what is going on.
func (a *Agent) saying(ctx context.Context, message string, f func(context.Context) error) error {
	waiting, cancel := context.WithCancel(ctx)
	said := make(chan struct{})
	go func() {
		defer close(said)
		if agentapi.Wait(waiting, sayAfter) == nil {
			a.say(waiting, message)
		}
	}()
	defer func() {
		cancel()
		<-said
	}()
	return f(ctx)
}

// say changes nothing but the message, once and without insisting.
func (a *Agent) say(ctx context.Context, message string) {
	v := a.inbox.look()
	if v.Status == nil {
		return
	}
	s := *v.Status
	s.Message = clip(message)
	if s.Equal(*v.Status) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sayTimeout)
	defer cancel()
	revision, err := a.cfg.Cluster.PutStatus(ctx, s)
	if err != nil {
		a.log.Debug("message not reported", "message", message, "error", err)
		return
	}
	a.inbox.wrote(s, revision)
}

// introduce reports for the first time.
func (a *Agent) introduce(ctx context.Context) error {
	os, err := a.cfg.Host.OS(ctx)
	if err != nil {
		return err
	}
	a.nextCheck = time.Time{} // what an earlier look found went with the deleted object
	return a.put(ctx, a.facts(agentapi.Status{TargetVersion: os.VersionID, CurrentState: agentapi.Idle}, os))
}

// reached reports that the wanted state is there.
func (a *Agent) reached(ctx context.Context, s agentapi.Status, state agentapi.State, message string) error {
	os, err := a.cfg.Host.OS(ctx)
	if err != nil {
		return err
	}
	s = a.facts(s, os)
	s.CurrentState, s.Message = state, message
	return a.put(ctx, s)
}

// fail reports that this attempt is over and why. It returns an error only if the report could not be written.
func (a *Agent) fail(ctx context.Context, s agentapi.Status, cause error) error {
	if ctx.Err() != nil {
		return nil // stopped from outside: nothing failed
	}
	a.log.Error("attempt failed", "state", s.CurrentState, "error", cause)
	if os, err := a.cfg.Host.OS(ctx); err == nil {
		s = a.facts(s, os)
	}
	return a.put(ctx, failed(s, cause))
}

// failed is the status after an attempt that failed now.
func failed(s agentapi.Status, cause error) agentapi.Status {
	if s.CrashCount < math.MaxUint32 {
		s.CrashCount++
	}
	now := time.Now().UTC().Format(time.RFC3339Nano)
	s.StateTransitionFailureTimestamp = &now
	s.CurrentState = agentapi.ErrorReset
	s.Message = "failed: " + cause.Error()
	s.LastError = cause.Error()
	return s
}

// facts fills in what the running system says of itself.
func (a *Agent) facts(s agentapi.Status, os hostapi.OS) agentapi.Status {
	s.CurrentVersion = os.VersionID
	s.Slot = os.Slot
	s.BootID = a.bootID(os)
	return s
}

func (a *Agent) bootID(os hostapi.OS) string {
	if os.BootID != "" {
		return os.BootID
	}
	return a.cfg.BootID
}

// clip cuts a text to what a status may hold, at a character.
func clip(s string) string { return clipTo(s, maxText) }

func clipTo(s string, most int) string {
	s = strings.ToValidUTF8(strings.TrimSpace(s), "?")
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-3], "") + "..."
}
