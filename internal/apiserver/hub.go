// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import "sync"

// hub wakes the streams of one node when its shadow changes. A stream that is not done with the previous
// change is woken once, however much has changed: it sends the present state, not each step.
type hub struct {
	mu      sync.Mutex
	streams map[string]map[*subscription]struct{}
}

// subscription is one stream's interest in one shadow.
type subscription struct {
	wake chan struct{}
}

func newHub() *hub { return &hub{streams: map[string]map[*subscription]struct{}{}} }

// subscribe returns a subscription to the shadow, and the function that ends it.
func (h *hub) subscribe(shadow string) (*subscription, func()) {
	s := &subscription{wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.streams[shadow] == nil {
		h.streams[shadow] = map[*subscription]struct{}{}
	}
	h.streams[shadow][s] = struct{}{}
	return s, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.streams[shadow], s)
		if len(h.streams[shadow]) == 0 {
			delete(h.streams, shadow)
		}
	}
}

// notify never blocks.
func (h *hub) notify(shadow string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.streams[shadow] {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}
