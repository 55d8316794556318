// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/apiserver/auth"
	"github.com/drydock-os/drydock/internal/apiserver/drain"
	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/notice"
)

// bodyTimeout bounds the reading of a request's body.
const bodyTimeout = 30 * time.Second

// create makes the agent's shadow and answers with what agents of the original expect: the object as built,
// absent values as explicit nulls. The request's body is not needed: the headers say which node.
func (s *Server) create(w http.ResponseWriter, r *http.Request, id auth.Identity) error {
	uid := id.NodeUID
	if uid == "" {
		var err error
		if uid, err = s.cluster.NodeUID(r.Context(), id.NodeName); err != nil {
			return err
		}
	}
	shadow, err := s.cluster.create(r.Context(), id.NodeName, uid)
	if err != nil {
		return err
	}
	s.log.Info("shadow created or found", "node", id.NodeName)
	return writeJSON(w, map[string]any{
		"apiVersion": v2.GroupVersion.String(),
		"kind":       "BottlerocketShadow",
		"metadata":   map[string]any{"name": shadow.Name, "ownerReferences": shadow.OwnerReferences},
		"spec":       wireSpec(shadow.Spec),
	})
}

// putStatus writes the status of the agent's shadow and echoes it.
func (s *Server) putStatus(w http.ResponseWriter, r *http.Request, id auth.Identity) error {
	status, err := readStatus(w, r)
	if err != nil {
		return err
	}
	revision, err := s.cluster.putStatus(r.Context(), id.NodeName, status)
	if err != nil {
		return err
	}
	if revision != 0 {
		w.Header().Set(agentapi.HeaderRevision, strconv.FormatUint(revision, 10))
	}
	s.log.Debug("status written", "node", id.NodeName, "state", status.CurrentState, "message", status.Message)
	return writeJSON(w, status)
}

// readStatus reads the body of a PUT. Unknown keys are ignored, missing ones are not.
func readStatus(w http.ResponseWriter, r *http.Request) (agentapi.Status, error) {
	bad := func(format string, args ...any) (agentapi.Status, error) {
		return agentapi.Status{}, &httpError{code: http.StatusBadRequest, text: fmt.Sprintf(format, args...)}
	}
	if mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mt != "application/json" {
		return bad("content type is %q, not application/json", r.Header.Get("Content-Type"))
	}
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil {
		return agentapi.Status{}, fmt.Errorf("limiting the time to read the body: %w", err)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, agentapi.MaxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return agentapi.Status{}, &httpError{code: http.StatusRequestEntityTooLarge, text: fmt.Sprintf("the body is larger than %d bytes", agentapi.MaxBody)}
	}
	if err != nil {
		return bad("reading body: %v", err)
	}
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return agentapi.Status{}, fmt.Errorf("lifting the time limit: %w", err)
	}
	var required struct {
		CurrentVersion *string         `json:"current_version"`
		TargetVersion  *string         `json:"target_version"`
		CurrentState   *agentapi.State `json:"current_state"`
		CrashCount     *uint32         `json:"crash_count"`
	}
	var status agentapi.Status
	if err := errors.Join(json.Unmarshal(body, &status), json.Unmarshal(body, &required)); err != nil {
		return bad("decoding status: %v", err)
	}
	if required.CurrentVersion == nil || required.TargetVersion == nil || required.CurrentState == nil || required.CrashCount == nil {
		return bad("status needs current_version, target_version, current_state and crash_count")
	}
	if !status.CurrentState.Known() {
		return bad("unknown state %q", status.CurrentState)
	}
	return status, nil
}

// cordonAndDrain answers 200 only when the node is cordoned and empty.
func (s *Server) cordonAndDrain(w http.ResponseWriter, r *http.Request, id auth.Identity) error {
	ctx, cancel := s.untilStop(r.Context())
	defer cancel()
	ctx, done, err := s.whileWanted(ctx, id.NodeName)
	if err != nil {
		return err
	}
	defer done()
	node, err := s.cluster.nodes.Cordon(ctx, id.NodeName)
	if err != nil {
		return s.stoppedOr(ctx, err)
	}
	started := time.Now()
	log := s.log.With("node", id.NodeName)
	log.Info("drain started")
	s.metrics.draining.Inc()
	defer s.metrics.draining.Dec()
	var progress drain.Progress
	defer func() { s.metrics.setBlocked(&progress, drain.Progress{}) }()
	teller := s.tellProgress(ctx, id.NodeName)
	err = s.drainer.Drain(ctx, id.NodeName, drain.Observer{
		Blocked: func(b drain.Blocked) {
			s.note(ctx, node, true, "DrainBlocked", "waiting for "+b.String())
		},
		Progress: func(p drain.Progress) {
			s.metrics.setBlocked(&progress, p)
			progress = p
			teller.tell(p)
		},
		Forced: func(left []drain.Blocked) {
			s.metrics.forced.Inc()
			s.note(ctx, node, true, "DrainForced", forced(left))
		},
	})
	teller.stop()
	took := time.Since(started).Round(time.Millisecond)
	if err == nil {
		s.metrics.drains.WithLabelValues("done").Inc()
		log.Info("drain finished", "took", took, "evicted", progress.Evicted)
		if progress.Evicted > 0 { // a node that was empty anyway is no news
			s.note(ctx, node, false, "Drained", fmt.Sprintf("node is empty after %s in %v", cli.Count(progress.Evicted, "eviction"), took))
		}
		w.WriteHeader(http.StatusOK)
		return nil
	}
	if ctx.Err() != nil {
		s.metrics.drains.WithLabelValues("interrupted").Inc()
		log.Info("drain interrupted", "took", took, "cause", context.Cause(ctx))
		if errors.Is(context.Cause(ctx), errCalledOff) {
			s.releases.Add(id.NodeName) // if its shadow is gone, this cordon may have come after the marks were lifted
		}
		return s.stoppedOr(ctx, err)
	}
	s.metrics.drains.WithLabelValues("failed").Inc()
	log.Warn("drain failed", "took", took, "error", err)
	s.note(ctx, node, true, "DrainFailed", err.Error())
	return err
}

// onNode makes a handler of a change of the agent's node.
func (s *Server) onNode(done string, change func(context.Context, string) (*corev1.Node, error)) handler {
	return func(w http.ResponseWriter, r *http.Request, id auth.Identity) error {
		if _, err := change(r.Context(), id.NodeName); err != nil {
			return err
		}
		s.log.Info(done, "node", id.NodeName)
		w.WriteHeader(http.StatusOK)
		return nil
	}
}

// note records an event at a node and its shadow. It never blocks and never fails a request.
func (s *Server) note(ctx context.Context, node *corev1.Node, warning bool, reason, text string) {
	s.events.Tell(notice.Notice{
		Subject: notice.Subject{Node: node.Name, NodeUID: node.UID, Namespace: s.cluster.namespace, ShadowUID: s.cluster.shadowUID(ctx, node.Name)},
		Warning: warning, Reason: reason, Action: "Drain", Note: text,
	})
}

func writeJSON(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // a client that left does not want to know
	return nil
}
