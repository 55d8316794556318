// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package agent moves one node through its update.
//
// It sits between two parties: the apiserver, which streams what the controller wants of this node and takes
// the node's status, and the host's API on a Unix socket, which writes images, arms slots and reboots. The
// agent acts when wanted and reported state differ, and reports the wanted state when it got there, or
// ErrorReset with the reason when it did not.
//
// It keeps nothing on disk. Every step looks first at what the host has already done, so an agent that was
// killed at any point goes on from there. A node is never drained for a reboot that cannot succeed, and never
// twice for one that did not.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/hostapi"
)

// Host is the machine the agent runs on; *hostapi.Client is one. The update commands return when the host has
// begun them, their outcome is in the status.
type Host interface {
	OS(context.Context) (hostapi.OS, error)
	WaitUpdateStatus(context.Context) (hostapi.UpdateStatus, error)
	Refresh(context.Context) error
	Prepare(context.Context) error
	Activate(context.Context) error
	Deactivate(context.Context) error
	Reboot(context.Context) error
}

// Cluster is what the apiserver does for the agent; *agentapi.Client is one.
type Cluster interface {
	Watch(context.Context, func(agentapi.Event)) error
	Create(context.Context) error
	PutStatus(context.Context, agentapi.Status) (uint64, error)
	CordonAndDrain(context.Context) error
	Uncordon(context.Context) error
	ExcludeFromLB(context.Context) error
}

// Config holds everything an Agent needs. Fields are required unless they name a default.
type Config struct {
	Host    Host
	Cluster Cluster
	// LBWait is how long the node is out of external load balancers before it is drained. 0: it stays in.
	LBWait time.Duration
	// CheckInterval is the time between two looks for updates, give or take a tenth. Default 2 min.
	CheckInterval time.Duration
	// StageTimeout bounds download and write of an image. Default 1 h.
	StageTimeout time.Duration
	// DrainTimeout bounds all tries to drain together. Default 15 min: one drain of the apiserver takes at most
	// 10, and a replica that is replaced meanwhile starts it again.
	DrainTimeout time.Duration
	// RebootTimeout is how long the host may take to go down. Default 5 min.
	RebootTimeout time.Duration
	// BootID is the boot id of the running kernel, used if the host's API does not tell. Default: unknown.
	BootID string
	Log    *slog.Logger // default: discard
}

// Agent is the loop of one node.
type Agent struct {
	cfg   Config
	log   *slog.Logger
	inbox *inbox

	// Only Run's goroutine touches the rest.
	pending   *agentapi.Status // a status that could not be written yet
	refusals  int              // how often the apiserver has refused it
	tidy      bool             // the node carries no cordon of ours, as far as we know
	nextCheck time.Time
	lastCheck time.Time // the last look for updates that succeeded
	backoff   agentapi.Backoff
	troubled  bool // the last round failed; logged once
}

// New checks cfg and starts nothing.
func New(cfg Config) (*Agent, error) {
	if cfg.Host == nil || cfg.Cluster == nil {
		return nil, errors.New("agent needs Host and Cluster")
	}
	for _, d := range []struct {
		name     string
		value    *time.Duration
		standard time.Duration
	}{
		{"LBWait", &cfg.LBWait, 0},
		{"CheckInterval", &cfg.CheckInterval, 2 * time.Minute},
		{"StageTimeout", &cfg.StageTimeout, time.Hour},
		{"DrainTimeout", &cfg.DrainTimeout, 15 * time.Minute},
		{"RebootTimeout", &cfg.RebootTimeout, 5 * time.Minute},
	} {
		if *d.value < 0 {
			return nil, fmt.Errorf("%s is negative", d.name)
		}
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Agent{cfg: cfg, log: cfg.Log, inbox: newInbox()}, nil
}

// Run works until ctx ends and returns nil then. Trouble with the apiserver or the host does not end it,
// with one exception: ErrHostGone, which only a new container can mend. Nothing is reported for it.
func (a *Agent) Run(ctx context.Context) error {
	ctx, gone := context.WithCancelCause(ctx)
	cancel := func() { gone(nil) }
	a.cfg.Host = hostLink{Host: a.cfg.Host, gone: gone}
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		_ = a.cfg.Cluster.Watch(ctx, a.inbox.put) // ends with ctx only
	}()
	defer func() {
		cancel()
		<-watching
	}()
	for ctx.Err() == nil {
		wait, err := a.round(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			if !a.troubled {
				a.log.Warn("trying again", "error", err)
			}
			a.troubled = true
			wait = max(a.backoff.Next(), agentapi.RetryAfter(err), patience(err))
		default:
			a.troubled = false
			a.backoff.Reset()
		}
		a.sleep(ctx, wait)
	}
	if cause := context.Cause(ctx); errors.Is(cause, ErrHostGone) {
		return cause
	}
	return nil
}

// patience is how long another try is put off after an error that the same request will probably meet again.
func patience(err error) time.Duration {
	switch code := agentapi.Code(err); {
	case errors.Is(err, errReportRefused):
		return refusedPause
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return strangerPause
	default:
		return 0
	}
}

// forever is a wait that only an event ends.
const forever = 24 * time.Hour

// sleep waits for a change of the view, at most for d.
func (a *Agent) sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-a.inbox.changed:
	case <-t.C:
	}
}

// round takes one look and acts on it. It returns how long nothing needs to be done unless the view changes;
// an error is trouble with the apiserver, after which the same is tried again.
func (a *Agent) round(ctx context.Context) (time.Duration, error) {
	if a.pending != nil {
		return 0, a.write(ctx)
	}
	v := a.inbox.look()
	switch {
	case !v.known:
		return forever, nil
	case v.Type == agentapi.EventAbsent:
		if err := a.cfg.Cluster.Create(ctx); err != nil {
			return 0, err
		}
		a.log.Info("shadow created")
		a.tidy = false              // the deleted one may have left a cordon
		return 5 * time.Second, nil // the event that it is there comes long before
	case v.Status == nil:
		return 0, a.introduce(ctx)
	}
	ctx, done := a.inbox.work(ctx, *v.Spec)
	defer done()
	wait, err := a.act(ctx, *v.Spec, *v.Status)
	if errors.Is(context.Cause(ctx), errSuperseded) {
		a.log.Info("stopped what was going on", "wanted", v.Spec.State, "cause", errSuperseded)
		return 0, nil
	}
	return wait, err
}

// act does the next move. Errors of the host and of the drain become ErrorReset here; what it returns is
// trouble with the apiserver.
func (a *Agent) act(ctx context.Context, spec agentapi.Spec, status agentapi.Status) (time.Duration, error) {
	version := spec.WantedVersion()
	m := decide(spec.State, status.CurrentState)
	if m == stage || m == reboot {
		a.log.Info("moving", "from", status.CurrentState, "to", spec.State, "version", version)
		if version == "" {
			return 0, a.fail(ctx, status, fmt.Errorf("state %s is wanted without a version", spec.State))
		}
	}
	switch m {
	case goIdle:
		return 0, a.goIdle(ctx, status)
	case stage:
		if err := a.stage(ctx, version); err != nil {
			return 0, a.fail(ctx, status, fmt.Errorf("staging %s: %w", version, err))
		}
		return 0, a.reached(ctx, status, spec.State, version+" is staged, waiting for the reboot") // package fleetview knows it
	case reboot:
		return 0, a.reboot(ctx, spec, status)
	case observe:
		return 0, a.reached(ctx, status, spec.State, "watching "+version)
	}
	if !spec.State.Known() || spec.State == agentapi.ErrorReset {
		a.log.Warn("cannot move to this state, waiting for another one", "wanted", spec.State)
	}
	if status.CurrentState == agentapi.Idle || status.CurrentState == agentapi.ErrorReset {
		if err := a.release(ctx); err != nil {
			return 0, err
		}
	}
	if spec.State == agentapi.Idle {
		return a.check(ctx, status)
	}
	return forever, nil
}

// goIdle ends an update, or an attempt at one.
func (a *Agent) goIdle(ctx context.Context, status agentapi.Status) error {
	if err := a.release(ctx); err != nil {
		return err
	}
	if status.CurrentState == agentapi.MonitoringUpdate { // the update is complete
		status.CrashCount, status.StateTransitionFailureTimestamp, status.LastError = 0, nil, ""
	}
	status.CurrentState = agentapi.Idle
	status.Message = ""
	return a.put(ctx, status)
}

// release lifts our own cordon and load balancer exclusion, if there may be one.
func (a *Agent) release(ctx context.Context) error {
	if a.tidy {
		return nil
	}
	if err := a.cfg.Cluster.Uncordon(ctx); err != nil {
		return err
	}
	a.tidy = true
	return nil
}

// jitter returns d give or take a tenth.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + time.Duration(rand.Float64()*float64(d/5))
}
