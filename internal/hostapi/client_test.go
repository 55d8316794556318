// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostapi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serve answers on a socket as an original, or broken, server would.
func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "hostapi") // socket paths are short
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(listener) }()
	c := New(filepath.Join(dir, "s"))
	t.Cleanup(func() {
		c.Close()
		_ = srv.Close()
		<-done
		_ = os.RemoveAll(dir)
	})
	return c
}

// The original server ignores the wait parameter and answers 423 at once: we ask again until it is done.
func TestWaitWithAServerThatDoesNotKnowHow(t *testing.T) {
	var asked atomic.Int32
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) < 4 {
			w.WriteHeader(http.StatusLocked)
			return
		}
		_, _ = io.WriteString(w, `{"update_state":"Staged","available_updates":[],"unknown":1}`)
	})
	s, err := c.WaitUpdateStatus(t.Context())
	if err != nil || s.UpdateState != StateStaged || asked.Load() != 4 {
		t.Errorf("state %q, error %v after %d requests", s.UpdateState, err, asked.Load())
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusLocked) })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.WaitUpdateStatus(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestErrorsHaveAMeaning(t *testing.T) {
	sentinels := map[int]error{423: ErrBusy, 409: ErrNotAllowed, 404: ErrNotFound}
	for _, code := range []int{423, 409, 404, 500, 302} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/os")
			w.WriteHeader(code)
			_, _ = io.WriteString(w, "  because\n")
		})
		err := c.Prepare(t.Context())
		status, ok := errors.AsType[*StatusError](err)
		if !ok || status.Code != code || !strings.HasSuffix(err.Error(), ": because") {
			t.Errorf("%d: %v", code, err)
		}
		for other, sentinel := range sentinels {
			if errors.Is(err, sentinel) != (other == code) {
				t.Errorf("%d: is %v: %v", code, sentinel, errors.Is(err, sentinel))
			}
		}
	}
}

func TestBadReplies(t *testing.T) {
	for name, reply := range map[string]string{
		"no JSON": "hello", "cut off": `{"version_id":`, "wrong type": `{"version_id":1}`, "endless": strings.Repeat(" ", MaxBody+1),
	} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, reply) })
		if _, err := c.OS(t.Context()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestNobodyListens(t *testing.T) {
	_, err := New("/nonexistent/api.sock").OS(t.Context())
	if !errors.Is(err, ErrDisconnected) || !strings.Contains(err.Error(), "/nonexistent/api.sock") {
		t.Errorf("got %v, want an error that names the socket", err)
	}
}

// A server that goes away in the middle of a command leaves its caller not knowing, and a caller that gives up knows.
func TestTheServerGoesAway(t *testing.T) {
	var answer func(net.Conn)
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		answer(conn)
		_ = conn.Close()
	})
	for name, text := range map[string]string{
		"before the answer": "", "in the header": "HTTP/1.1 20", "in the body": "HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{",
		"after saying so": "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
	} {
		answer = func(conn net.Conn) { _, _ = io.WriteString(conn, text) }
		if _, err := c.OS(t.Context()); !errors.Is(err, ErrDisconnected) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Prepare(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, ErrDisconnected) {
		t.Errorf("gave up: %v", err)
	}
}
