// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package execute runs programs in host containers for clients of the host API, over the WebSocket of package execapi:
// with a terminal or without, their input and output as they come, and their exit code at the end.
//
// A client never runs ahead of what the program reads by more than the contract allows, and output waits for the client
// to take it. A program whose client is gone is told to end, and ended when it does not; none outlives the server.
package execute

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/drydock-os/drydock/internal/hostapi/execapi"
	"github.com/drydock-os/drydock/internal/websocket"
)

// Argv returns the program to start, with its arguments, for a command in a container; or why there is none.
type Argv func(target string, command []string, tty bool) ([]string, error)

// Config holds what a Server needs. Fields are required unless they name a default.
type Config struct {
	Argv Argv
	Log  *slog.Logger // default: discard

	limits limits // default: those of the contract
}

// limits are durations and sizes that tests make smaller.
type limits struct {
	ping, silence time.Duration
	kill          time.Duration // after SIGTERM
	stop          time.Duration // the same, when the server is closed
	last          time.Duration // after the second SIGTERM
	sessions      int
}

const (
	// maxSessions bounds how many programs run at once. Each may hold maxPending bytes.
	maxSessions = 32

	// killAfter is how long a program has to end once its client is gone.
	killAfter = 10 * time.Second

	// stopAfter is the same when the host daemon stops: the service manager waits for it.
	stopAfter = time.Second

	// lastGrace is how long a program has after it was told once more, which is for those that must end another one.
	lastGrace = 2 * time.Second
)

// Server runs programs for clients.
type Server struct {
	cfg Config

	mu       sync.Mutex
	closed   bool
	running  int
	sessions sync.WaitGroup
	stopping chan struct{} // closed by Close
}

// New returns a server, which is to be closed.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.limits == (limits{}) {
		cfg.limits = limits{execapi.PingEvery, execapi.MaxSilence, killAfter, stopAfter, lastGrace, maxSessions}
	}
	return &Server{cfg: cfg, stopping: make(chan struct{})}
}

var errStopping = &websocket.Error{Code: websocket.CodeGoingAway, Reason: "the host daemon is stopping"}

// Close ends all programs, and returns when they have ended. It is called once.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	close(s.stopping)
	s.sessions.Wait()
}

// enter counts a session in, or says why there may not be one more.
func (s *Server) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return errors.New(errStopping.Reason)
	case s.running >= s.cfg.limits.sessions:
		return errors.New("too many programs are running already: end one first")
	}
	s.running++
	s.sessions.Add(1)
	return nil
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	s.sessions.Done()
}

// ServeHTTP makes a request a session, and returns when it is over.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	refuse := func(code int, text string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(code)
		_, _ = w.Write([]byte(text)) // the client is gone: nobody left to tell
	}
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		refuse(http.StatusMethodNotAllowed, "Method not allowed: the WebSocket is opened with GET")
		return
	}
	if err := websocket.Check(r); err != nil {
		w.Header().Set("Sec-WebSocket-Version", "13")
		refuse(http.StatusBadRequest, err.Error())
		return
	}
	if err := s.enter(); err != nil {
		refuse(http.StatusServiceUnavailable, err.Error())
		return
	}
	defer s.leave()
	ws, err := websocket.Accept(w, r, execapi.MaxMessage)
	if err != nil {
		s.cfg.Log.Debug("exec not begun", "error", err)
		return
	}
	defer ws.Close()
	x := &session{server: s, ws: ws, log: s.cfg.Log, pongs: make(chan []byte, 1), queue: make(chan []byte, execapi.MaxOutstanding+1), taken: make(chan struct{}, 1)}
	x.run(context.WithoutCancel(r.Context())) // what ends requests says no goodbye
}
