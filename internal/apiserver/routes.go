// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/apiserver/auth"
	"github.com/drydock-os/drydock/internal/apiserver/drain"
)

// handler serves a request whose sender is known. An error it returns becomes the answer, so it must not
// have written one.
type handler func(w http.ResponseWriter, r *http.Request, id auth.Identity) error

// httpError is an error with its status code.
type httpError struct {
	code int
	text string
}

func (e *httpError) Error() string { return e.text }

// errStopping answers what is cut off because this replica ends.
var errStopping = errors.New("this replica is shutting down, try another one")

// pathReady is another name of agentapi.PathPing, that tools of Kubernetes expect.
const pathReady = "/readyz"

// routes returns the whole HTTP API. /ping, /readyz and /crdconvert need no authentication; on everything else the
// sender must be proven first, so that nobody learns what paths exist.
func (s *Server) routes() http.Handler {
	open := http.NewServeMux()
	open.HandleFunc("GET "+agentapi.PathPing, s.ping)
	open.HandleFunc("GET "+pathReady, s.ping)
	open.HandleFunc("POST "+pathConvert, s.convert)
	closed := http.NewServeMux()
	for pattern, h := range map[string]handler{
		"POST " + agentapi.PathResource:        s.create,
		"PUT " + agentapi.PathResource:         s.putStatus,
		"GET " + agentapi.PathWatch:            s.watch,
		"POST " + agentapi.PathDrain:           s.cordonAndDrain,
		"POST " + agentapi.PathUncordon:        s.onNode("uncordoned where the cordon was ours", s.cluster.uncordon),
		"POST " + agentapi.PathExcludeFromLB:   s.onNode("excluded from load balancers", s.cluster.nodes.Exclude),
		"POST " + agentapi.PathRemoveExclusion: s.onNode("exclusion from load balancers removed where it was ours", s.cluster.nodes.Include),
	} {
		closed.Handle(pattern, s.serve(h))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w, code: http.StatusOK}
		started := time.Now()
		route := r.URL.Path
		switch route {
		case agentapi.PathPing, pathReady, pathConvert:
			open.ServeHTTP(rec, r)
		default:
			r = s.authenticated(rec, r)
			route = "refused"
			if r != nil {
				closed.ServeHTTP(rec, r)
				route = r.Pattern
			}
		}
		if route != "GET "+agentapi.PathWatch { // a stream's duration says nothing
			s.metrics.observe(route, r, rec.code, time.Since(started))
		}
	})
}

func (s *Server) ping(w http.ResponseWriter, _ *http.Request) {
	// A server that cannot read the shadows because they have to be converted by it counts as ready: else the
	// Service would keep the questions from it that it waits for.
	if !s.ready.Load() && !s.wanted.Load() {
		s.fail(w, &httpError{http.StatusServiceUnavailable, "not ready: the caches are not filled yet"})
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("pong"))
}

type identityKey struct{}

// authenticated returns r with the sender's identity, or nil after it has answered with a refusal.
func (s *Server) authenticated(w http.ResponseWriter, r *http.Request) *http.Request {
	if !s.ready.Load() {
		s.fail(w, &httpError{http.StatusServiceUnavailable, "not ready: the caches are not filled yet"})
		return nil
	}
	id, err := s.auth.Authenticate(r.Context(), auth.Request{
		NodeName: r.Header.Get(agentapi.HeaderNodeName),
		NodeUID:  r.Header.Get(agentapi.HeaderNodeUID),
		Token:    r.Header.Get(agentapi.HeaderToken),
	})
	if err != nil {
		s.log.Warn("request refused", "path", r.URL.Path, "claimedNode", r.Header.Get(agentapi.HeaderNodeName), "from", r.RemoteAddr, "reason", err)
		s.fail(w, err)
		return nil
	}
	if !s.limits.allow(id.NodeName) {
		s.fail(w, &httpError{http.StatusTooManyRequests, "too many requests of this node"})
		return nil
	}
	return r.WithContext(context.WithValue(r.Context(), identityKey{}, id))
}

// serve makes a handler part of a mux.
func (s *Server) serve(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, ok := r.Context().Value(identityKey{}).(auth.Identity)
		if !ok {
			s.fail(w, errors.New("request without identity"))
			return
		}
		if err := h(w, r, id); err != nil {
			if r.Context().Err() == nil {
				s.log.Warn("request failed", "method", r.Method, "path", r.URL.Path, "node", id.NodeName, "error", err)
			}
			s.fail(w, err)
		}
	})
}

// fail answers with the error's text and the code that belongs to it.
func (s *Server) fail(w http.ResponseWriter, err error) {
	code := statusOf(err)
	if code == http.StatusServiceUnavailable || code == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", strconv.Itoa(1))
	}
	http.Error(w, err.Error(), code)
}

// statusOf maps an error to a status code. Agents repeat 401, 403, 429 and 5xx but 504; see agentapi.Temporary.
func statusOf(err error) int {
	if e, ok := errors.AsType[*httpError](err); ok {
		return e.code
	}
	if e, ok := errors.AsType[*auth.Error](err); ok {
		return e.Code
	}
	if _, ok := errors.AsType[*drain.BlockedError](err); ok {
		return http.StatusGatewayTimeout
	}
	if _, ok := errors.AsType[*drain.RefusedError](err); ok {
		return http.StatusConflict
	}
	switch {
	case errors.Is(err, errStopping), errors.Is(err, errCalledOff), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable
	case errors.Is(err, errForeignShadow), apierrors.IsConflict(err):
		return http.StatusConflict
	case apierrors.IsNotFound(err):
		return http.StatusNotFound
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return http.StatusBadRequest
	case apierrors.IsTooManyRequests(err), apierrors.IsServiceUnavailable(err), apierrors.IsServerTimeout(err), apierrors.IsTimeout(err):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// untilStop returns a context that also ends, with cause errStopping, when the server shuts down.
func (s *Server) untilStop(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.stopping, func() { cancel(errStopping) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// stoppedOr returns errStopping or errCalledOff when that is what ended ctx, else err.
func (s *Server) stoppedOr(ctx context.Context, err error) error {
	for _, cause := range []error{errStopping, errCalledOff} {
		if errors.Is(context.Cause(ctx), cause) {
			return cause
		}
	}
	return err
}

// recorder remembers the status code for the metrics.
type recorder struct {
	http.ResponseWriter
	code int
}

func (r *recorder) WriteHeader(code int) {
	r.code = code
	r.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController reach the real writer.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
