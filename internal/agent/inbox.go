// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agent

import (
	"context"
	"errors"
	"sync"

	"github.com/drydock-os/drydock/internal/agentapi"
)

// errSuperseded ends work that the controller no longer wants.
var errSuperseded = errors.New("the controller wants something else now")

// view is what the agent knows of its object: the newest event, corrected by its own later writes.
type view struct {
	agentapi.Event
	known bool
}

// inbox holds the newest view. Events that are older than it are dropped: after a reconnect the stream may
// come from a replica of the apiserver that is behind.
type inbox struct {
	changed chan struct{} // has an element when the view changed since the last look

	mu   sync.Mutex
	view view
	busy *agentapi.Spec // what the work under way is for
	stop context.CancelCauseFunc
}

func newInbox() *inbox { return &inbox{changed: make(chan struct{}, 1)} }

func (b *inbox) look() view {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.view
}

// put takes an event of the stream, and ends work that it makes pointless.
func (b *inbox) put(e agentapi.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := b.view
	if v.known && e.Type == agentapi.EventState && v.Type == agentapi.EventState && e.UID == v.UID && e.Revision != 0 && e.Revision < v.Revision {
		return
	}
	b.view = view{e, true}
	if b.busy != nil && (e.Type != agentapi.EventState || e.Spec.State != b.busy.State || e.Spec.WantedVersion() != b.busy.WantedVersion()) {
		b.stop(errSuperseded)
	}
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

// wrote takes note of a status that the apiserver has stored.
func (b *inbox) wrote(s agentapi.Status, revision uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.view.Type != agentapi.EventState || revision != 0 && revision < b.view.Revision {
		return // an event told about this write before its answer did
	}
	b.view.Status = &s
	b.view.Revision = max(b.view.Revision, revision)
}

// gone takes note that the object is not there any more.
func (b *inbox) gone() {
	b.put(agentapi.Event{Type: agentapi.EventAbsent})
}

// work returns a context for work towards spec, which ends with errSuperseded when spec is no longer wanted.
func (b *inbox) work(ctx context.Context, spec agentapi.Spec) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy, b.stop = &spec, cancel
	if v := b.view; v.Type != agentapi.EventState || v.Spec.State != spec.State || v.Spec.WantedVersion() != spec.WantedVersion() {
		cancel(errSuperseded) // it changed between the look and now
	}
	return ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.busy, b.stop = nil, nil
		cancel(nil)
	}
}

// commit makes the work under way immune to a change of mind, unless that has come already.
func (b *inbox) commit(ctx context.Context) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() != nil {
		return false
	}
	b.busy = nil
	return true
}
