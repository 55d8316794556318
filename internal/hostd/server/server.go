// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package server is the HTTP side of the host API: paths, codes and texts as package hostapi and its unmodified
// clients know them.
//
// It decides nothing. Who may connect is decided by the socket's mode; what may be done, by the engine behind it.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/drydock-os/drydock/internal/durable"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostapi/execapi"
	"github.com/drydock-os/drydock/internal/hostd/engine"
	"github.com/drydock-os/drydock/internal/hostd/settings"
	"github.com/drydock-os/drydock/internal/hostd/store"
)

// Updates runs update commands; *engine.Engine does.
type Updates interface {
	Start(hostapi.Command) error
	Status() (*hostapi.UpdateStatus, error)
	WaitStatus(context.Context) (*hostapi.UpdateStatus, error)
	ProgressStatus() (*hostapi.UpdateStatus, error)
	Unblock(version string) error
}

// Config holds everything the API serves from. All fields are required.
type Config struct {
	OS      func() hostapi.OS
	Updates Updates
	Reboot  func(context.Context) error // asks the host to reboot; returns when it agreed
	Store   *store.Store
	Model   *settings.Model // of the system's variant
	Applies *Applies
	Exec    http.Handler // serves execapi.Path; default: there is no such path
	Rights  *Rights      // of peers, who come by WithPeer; default: whoever can connect may do all
	Log     *slog.Logger
}

// New returns the handler of the host API.
func New(cfg Config) http.Handler {
	s := &server{cfg: cfg}
	command := func(cmd hostapi.Command) handler {
		return func(*http.Request) (any, error) { return nil, cfg.Updates.Start(cmd) }
	}
	s.routes = map[route]handler{
		{http.MethodGet, hostapi.PathOS}:                s.os,
		{http.MethodGet, hostapi.PathUpdateStatus}:      s.status,
		{http.MethodPost, hostapi.PathRefreshUpdates}:   command(hostapi.CommandRefresh),
		{http.MethodPost, hostapi.PathPrepareUpdate}:    command(hostapi.CommandPrepare),
		{http.MethodPost, hostapi.PathActivateUpdate}:   command(hostapi.CommandActivate),
		{http.MethodPost, hostapi.PathDeactivateUpdate}: command(hostapi.CommandDeactivate),
		{http.MethodPost, hostapi.PathReboot}:           s.reboot,
		{http.MethodPost, hostapi.PathUnblockUpdate}:    s.unblock,
		{http.MethodGet, hostapi.PathReport}:            func(*http.Request) (any, error) { return []hostapi.Report{}, nil },
	}
	maps.Copy(s.routes, s.settingsRoutes())
	return s
}

// handler returns what to answer with: a value to write as JSON (200), a document (200), nothing (204), or an error.
type handler func(*http.Request) (any, error)

// document is an answer other than JSON, or JSON that is ready.
type document struct {
	contentType string
	data        []byte
}

// route is a method and a path. They are compared as they are: the original knows no redirects, no cleaning of paths,
// and answers a wrong method like an unknown path.
type route struct{ method, path string }

type server struct {
	cfg    Config
	routes map[route]handler
	latest atomic.Pointer[view]
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Rights != nil {
		if refused := s.cfg.Rights.permits(r); refused != nil {
			s.fail(w, r, refused)
			return
		}
	}
	if r.URL.Path == execapi.Path && s.cfg.Exec != nil {
		s.cfg.Exec.ServeHTTP(w, r)
		return
	}
	h, ok := s.routes[route{r.Method, r.URL.Path}]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if r.ContentLength > hostapi.MaxBody {
		// Most clients only look for the answer once they have sent everything.
		_, _ = io.CopyN(io.Discard, r.Body, 4*hostapi.MaxBody)
		s.fail(w, r, &httpError{http.StatusRequestEntityTooLarge, fmt.Sprintf(
			"JSON payload (%d bytes) is larger than allowed (limit: %d bytes).", r.ContentLength, hostapi.MaxBody)})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, hostapi.MaxBody)
	if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
		s.fail(w, r, &httpError{http.StatusBadRequest, "Query deserialize error: " + err.Error()})
		return
	}
	reply, err := h(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if reply == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	d, ready := reply.(document)
	if !ready {
		if d, err = jsonDocument(reply); err != nil {
			s.fail(w, r, err)
			return
		}
	}
	w.Header().Set("Content-Type", d.contentType)
	_, _ = w.Write(d.data) // the client is gone: nobody left to tell
}

// httpError is an answer with a code and text of its own.
type httpError struct {
	code int
	text string
}

func (e *httpError) Error() string { return e.text }

// answer maps an error to status and text. The texts of the original are what people and scripts know.
func answer(err error) (int, string) {
	if e, ok := errors.AsType[*httpError](err); ok {
		return e.code, e.text
	}
	if e, ok := errors.AsType[*engine.BlockedError](err); ok {
		return http.StatusConflict, e.Error()
	}
	switch {
	case errors.Is(err, store.ErrNothingPending):
		return http.StatusUnprocessableEntity, "Tried to commit with no pending changes"
	case errors.Is(err, engine.ErrBusy):
		return http.StatusLocked, "Update lock held"
	case errors.Is(err, engine.ErrStopping):
		return http.StatusServiceUnavailable, err.Error()
	case errors.Is(err, engine.ErrNotAllowed):
		return http.StatusConflict, "Update action not allowed according to update state"
	case errors.Is(err, engine.ErrNoUpdate):
		return http.StatusNotFound, "Previously chosen Update no longer exists"
	case errors.Is(err, engine.ErrNothingStaged):
		return http.StatusNotFound, "No update image applied to staging partition"
	case errors.Is(err, engine.ErrNotBlocked):
		return http.StatusNotFound, err.Error()
	case errors.Is(err, engine.ErrNoStatus):
		return http.StatusNotFound, "Update status is uninitialized, refresh-updates to initialize it"
	}
	text := err.Error()
	if advice := durable.Advice(err); advice != "" {
		text += ": " + advice
	}
	return http.StatusInternalServerError, text
}

// printable makes a text that may repeat what a client sent fit for a terminal: control characters there are commands.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	code, text := answer(err)
	text = printable(text)
	if code >= http.StatusInternalServerError {
		s.cfg.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	} else {
		s.cfg.Log.Debug("request refused", "method", r.Method, "path", r.URL.Path, "status", code, "reason", text)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // the client is gone: nobody left to tell
}

// status answers now, or, with the wait parameter, when no command runs.
func (s *server) status(r *http.Request) (any, error) {
	if watch, err := flag(r, hostapi.ProgressParam); err != nil {
		return nil, err
	} else if watch {
		return locked(s.cfg.Updates.ProgressStatus())
	}
	values, given := r.URL.Query()[hostapi.WaitParam]
	if !given {
		return locked(s.cfg.Updates.Status())
	}
	wait, err := time.ParseDuration(values[len(values)-1]) // of a repeated key the last one counts
	if err != nil || wait < 0 {
		return nil, &httpError{http.StatusBadRequest, "Query deserialize error: wait is not a duration such as 30s"}
	}
	ctx, cancel := context.WithTimeout(r.Context(), min(wait, hostapi.MaxWait))
	defer cancel()
	return locked(s.cfg.Updates.WaitStatus(ctx))
}

// locked gives the lock error of reading its own text.
func locked(status *hostapi.UpdateStatus, err error) (any, error) {
	if errors.Is(err, engine.ErrBusy) {
		return nil, &httpError{http.StatusLocked, "Unable to obtain shared lock for reading update status: an update command is running"}
	}
	if err != nil {
		return nil, err
	}
	return status, nil
}

// unblock lets a version be tried again.
func (s *server) unblock(r *http.Request) (any, error) {
	version, given, err := param(r, hostapi.VersionParam)
	if err == nil && !given {
		err = badRequest("Missing required input '%s'", hostapi.VersionParam)
	}
	if err != nil {
		return nil, err
	}
	return nil, s.cfg.Updates.Unblock(version)
}

func (s *server) reboot(r *http.Request) (any, error) {
	s.cfg.Log.Info("reboot requested")
	return nil, s.cfg.Reboot(r.Context())
}
