// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package server

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/drydock-os/drydock/internal/hostd/store"
)

// Applier carries settings into configuration files and services.
type Applier interface {
	// Apply does so for what is affected by keys, or for everything when keys is nil. It is never called twice at once.
	Apply(ctx context.Context, keys []string) error
}

var (
	errNoApplier = errors.New("unable to apply settings: this host has no applier")
	errStopping  = errors.New("unable to apply settings: the host daemon is stopping")
)

// AppliesConfig holds what Applies needs. Fields are required unless they name a default.
type AppliesConfig struct {
	Applier Applier          // default: none, every request is refused
	Now     func() time.Time // default: time.Now
	Log     *slog.Logger
}

// Applies runs the applier, one call at a time. Requests that come while one runs are served together by the next.
type Applies struct {
	cfg  AppliesConfig
	wake chan struct{}

	mu      sync.Mutex
	next    *round
	running bool
	stopped bool
	last    *applyResult
}

// round is one call of the applier, to come or running.
type round struct {
	keys map[string]bool // nil: everything
	done chan struct{}   // closed when err is set
	err  error
}

// applyResult is how the latest round ended, for people who look.
type applyResult struct {
	Finished string   `json:"finished"`       // RFC 3339, UTC
	Keys     []string `json:"keys,omitempty"` // not given: everything
	Error    string   `json:"error,omitempty"`
}

// applyStatus is an addition to what clients of the original know.
type applyStatus struct {
	Running bool         `json:"running"`
	Last    *applyResult `json:"last"` // null: nothing was applied since the daemon started
}

// maxRoundKeys bounds one round; beyond it, everything is applied.
const maxRoundKeys = 4096

// NewApplies returns an idle Applies. Its requests are served while Run runs.
func NewApplies(cfg AppliesConfig) *Applies {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Applies{cfg: cfg, wake: make(chan struct{}, 1)}
}

// Run calls the applier until ctx ends. Requests that are not served by then fail.
func (a *Applies) Run(ctx context.Context) {
	defer a.stop()
	for {
		select {
		case <-a.wake:
		case <-ctx.Done():
			return
		}
		if r := a.take(); r != nil {
			a.run(ctx, r)
		}
	}
}

func (a *Applies) take() *round {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.next
	a.next, a.running = nil, r != nil
	return r
}

func (a *Applies) run(ctx context.Context, r *round) {
	var keys []string
	if r.keys != nil {
		keys = sorted(r.keys)
	}
	start := a.cfg.Now()
	err := a.cfg.Applier.Apply(ctx, keys)
	end := a.cfg.Now()
	result := &applyResult{Finished: end.UTC().Format(time.RFC3339Nano), Keys: keys}
	if err != nil {
		result.Error = err.Error()
		a.cfg.Log.Error("settings not applied", "keys", len(keys), "all", keys == nil, "error", err)
	} else {
		a.cfg.Log.Info("settings applied", "keys", len(keys), "all", keys == nil, "duration_seconds", end.Sub(start).Seconds())
	}
	a.mu.Lock()
	a.running, a.last = false, result
	a.mu.Unlock()
	r.err = err
	close(r.done)
}

func (a *Applies) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	if a.next != nil {
		a.next.err = errStopping
		close(a.next.done)
		a.next = nil
	}
}

// usable reports why a request would be refused.
func (a *Applies) usable() error {
	if a.cfg.Applier == nil {
		return errNoApplier
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return errStopping
	}
	return nil
}

// start asks for keys, or for everything when keys is nil, to be applied, and returns the round that does it.
func (a *Applies) start(keys []store.Key) (*round, error) {
	if err := a.usable(); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.next == nil {
		a.next = &round{keys: map[string]bool{}, done: make(chan struct{})}
	}
	if r := a.next; r.keys != nil {
		for _, k := range keys {
			r.keys[k.String()] = true
		}
		if keys == nil || len(r.keys) > maxRoundKeys {
			r.keys = nil
		}
	}
	select {
	case a.wake <- struct{}{}:
	default: // it is awake already
	}
	return a.next, nil
}

func (a *Applies) status() applyStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	return applyStatus{a.running || a.next != nil, a.last}
}

func sorted(set map[string]bool) []string {
	keys := make([]store.Key, 0, len(set))
	for name := range maps.Keys(set) {
		if k, err := store.ParseKey(name); err == nil { // it was one when it was added
			keys = append(keys, k)
		}
	}
	return names(store.SortKeys(keys))
}
