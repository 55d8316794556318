// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"time"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/apiserver/auth"
)

const (
	// lineTimeout bounds the writing of one line: a reader that stands still loses its stream and comes back.
	lineTimeout = 10 * time.Second
	// streamAge is after how long a stream ends, so that agents prove who they are again and spread over the
	// replicas. Each stream draws its own between this and twice this.
	streamAge = 30 * time.Minute
)

// watch streams the state of the agent's own shadow: the whole state at once and after each change.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, id auth.Identity) error {
	sub, done := s.hub.subscribe(v2.ShadowName(id.NodeName))
	defer done()
	s.metrics.streams.Inc()
	defer s.metrics.streams.Dec()
	ctx, cancel := s.untilStop(r.Context())
	defer cancel()

	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	st := newStream(w, lineTimeout)
	heartbeat := time.NewTicker(agentapi.HeartbeatInterval)
	defer heartbeat.Stop()
	end := time.NewTimer(streamAge + rand.N(streamAge))
	defer end.Stop()

	for {
		event, err := s.cluster.event(ctx, id.NodeName)
		if err != nil {
			return err
		}
		if err := st.sendChange(event); err != nil {
			return nil // the reader is gone
		}
		if !s.pause(ctx, st, sub, heartbeat.C, end.C, id) {
			return nil
		}
	}
}

// pause sends heartbeats until the shadow may have changed (true) or the stream shall end (false).
func (s *Server) pause(ctx context.Context, st *stream, sub *subscription, heartbeat, end <-chan time.Time, id auth.Identity) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-end:
			return false
		case <-sub.wake:
			return true
		case <-heartbeat:
			if !s.auth.StillThere(ctx, id) {
				return false
			}
			if st.send(agentapi.Event{Type: agentapi.EventHeartbeat}) != nil {
				return false
			}
		}
	}
}

// stream writes events to one agent.
type stream struct {
	encoder *json.Encoder
	control *http.ResponseController
	timeout time.Duration // of one line
	sent    bool
	last    agentapi.Event
}

func newStream(w http.ResponseWriter, timeout time.Duration) *stream {
	return &stream{encoder: json.NewEncoder(w), control: http.NewResponseController(w), timeout: timeout}
}

// sendChange sends an event unless the agent already has it.
func (st *stream) sendChange(e agentapi.Event) error {
	if st.sent && st.last.Type == e.Type && st.last.UID == e.UID && st.last.Revision == e.Revision && (e.Revision != 0 || e.Type == agentapi.EventAbsent) {
		return nil
	}
	if err := st.send(e); err != nil {
		return err
	}
	st.sent, st.last = true, e
	return nil
}

func (st *stream) send(e agentapi.Event) error {
	if err := st.control.SetWriteDeadline(time.Now().Add(st.timeout)); err != nil {
		return err
	}
	if err := st.encoder.Encode(e); err != nil {
		return err
	}
	if err := st.control.Flush(); err != nil {
		return err
	}
	// Over HTTP/2 a deadline ends a stream when its time comes, whether something is being written then or not.
	return st.control.SetWriteDeadline(time.Time{})
}
