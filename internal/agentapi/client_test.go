// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agentapi

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// server is an apiserver that answers as the test says.
type server struct {
	*httptest.Server
	dir   string
	conns atomic.Int64
}

func newServer(t *testing.T, h http.HandlerFunc) *server {
	t.Helper()
	s := &server{dir: t.TempDir()}
	s.Server = httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.conns.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	s.write(t, "token", "secret-1\n")
	s.write(t, "ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	return s
}

func (s *server) write(t *testing.T, name, text string) {
	t.Helper()
	temp := filepath.Join(s.dir, name+".new")
	if err := os.WriteFile(temp, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temp, filepath.Join(s.dir, name)); err != nil {
		t.Fatal(err)
	}
}

func (s *server) client(t *testing.T, change ...func(*Config)) *Client {
	t.Helper()
	cfg := Config{URL: s.URL, NodeName: "n1", TokenFile: filepath.Join(s.dir, "token"), CAFile: filepath.Join(s.dir, "ca.crt")}
	for _, c := range change {
		c(&cfg)
	}
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestOneConnectionAndFreshCredentials(t *testing.T) {
	var tokens []string
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		tokens = append(tokens, r.Header.Get(HeaderToken))
		if r.ProtoMajor != 2 || r.Header.Get(HeaderNodeName) != "n1" {
			t.Errorf("%s from %q", r.Proto, r.Header.Get(HeaderNodeName))
		}
	})
	c := s.client(t)
	for _, token := range []string{"", "secret-2", ""} {
		if token != "" {
			s.write(t, "token", token)
		}
		if err := c.Uncordon(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(tokens, " "); got != "secret-1 secret-2 secret-2" {
		t.Errorf("tokens sent: %s", got)
	}
	if got := s.conns.Load(); got != 1 {
		t.Errorf("%d connections", got)
	}
}

func TestTheCABundleMayChange(t *testing.T) {
	s := newServer(t, func(http.ResponseWriter, *http.Request) {})
	good, err := os.ReadFile(filepath.Join(s.dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	c := s.client(t, func(c *Config) { c.RetryFor = time.Nanosecond })
	s.write(t, "ca.crt", "no certificate")
	if err := c.Uncordon(t.Context()); err == nil || !strings.Contains(err.Error(), "holds no certificate") {
		t.Errorf("with a broken bundle: %v", err)
	}
	s.write(t, "ca.crt", string(good))
	if err := c.Uncordon(t.Context()); err != nil {
		t.Errorf("with the right bundle: %v", err)
	}
}

func TestWhatIsRepeated(t *testing.T) {
	for _, tc := range []struct {
		code int
		want int64 // requests until success or failure
		ok   bool
	}{
		{500, 3, true}, {503, 3, true}, {429, 3, true}, {403, 3, true}, {401, 3, true},
		{400, 1, false}, {404, 1, false}, {409, 1, false}, {413, 1, false}, {504, 1, false},
	} {
		t.Run(fmt.Sprint(tc.code), func(t *testing.T) {
			var requests atomic.Int64
			s := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
				if requests.Add(1) < 3 {
					http.Error(w, "the reason", tc.code)
				}
			})
			err := s.client(t).Uncordon(t.Context())
			if requests.Load() != tc.want || tc.ok != (err == nil) {
				t.Errorf("%d requests, %v", requests.Load(), err)
			}
			if !tc.ok && (Code(err) != tc.code || !strings.Contains(err.Error(), "the reason")) {
				t.Errorf("the error hides code or text: %v", err)
			}
		})
	}
}

func TestErrorsNameHostAndCause(t *testing.T) {
	s := newServer(t, func(http.ResponseWriter, *http.Request) {})
	other := newServer(t, func(http.ResponseWriter, *http.Request) {})
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"nobody listens", func(c *Config) { c.URL = "https://127.0.0.1:1" }, "127.0.0.1:1: connecting: "},
		{"another CA", func(c *Config) { c.CAFile = filepath.Join(other.dir, "missing") }, "reading CA bundle"},
		{"no token", func(c *Config) { c.TokenFile = filepath.Join(other.dir, "missing") }, "reading service account token"},
		{"another name", func(c *Config) {
			c.URL = "https://brupop-apiserver.ns.svc:443"
			c.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
			}
		}, "brupop-apiserver.ns.svc:443: verifying the server's certificate: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := s.client(t, tc.change, func(c *Config) { c.RetryFor = time.Nanosecond }).Uncordon(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q in it", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the token is in the error: %v", err)
			}
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != PathUncordon {
			t.Error("the token followed a redirect")
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	if err := s.client(t).Uncordon(t.Context()); Code(err) != 307 {
		t.Errorf("got %v", err)
	}
}

func TestWatchReconnects(t *testing.T) {
	var connects atomic.Int64
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		switch connects.Add(1) {
		case 1:
			http.Error(w, "starting", http.StatusServiceUnavailable)
		case 2:
			_, _ = io.WriteString(w, `{"type":"ABSENT","status":null}`+"\n"+`{"type":"HEARTBEAT","status":null}`+"\n\n"+`{"type":"LATER"}`+"\n")
		case 3:
			_, _ = io.WriteString(w, "{broken\n")
		default:
			_, _ = io.WriteString(w, `{"type":"STATE","spec":{"state":"Idle","state_transition_timestamp":null,"version":null},"status":null,"uid":"u","revision":7}`+"\n")
			w.(http.Flusher).Flush()
			<-t.Context().Done()
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	var got []Event
	err := s.client(t).Watch(ctx, func(e Event) {
		got = append(got, e)
		if e.Type == EventState {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("watch ended with %v", err)
	}
	if len(got) != 2 || got[0].Type != EventAbsent || got[1].Spec.State != Idle || got[1].Revision != 7 || got[1].Status != nil {
		t.Errorf("events %+v", got)
	}
	s.CloseClientConnections()
}

// An apiserver of the original knows no stream: the agent says so once, asks ever more rarely, each time by a connection of
// its own, and goes on once there is another apiserver.
func TestAnApiserverWithoutAStreamIsWaitedFor(t *testing.T) {
	certificates, dir := certificatesFor(t)
	synctest.Test(t, func(t *testing.T) {
		var asked []time.Time
		handler := func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, time.Now())
			if len(asked) <= 12 {
				http.NotFound(w, r)
				return
			}
			_, _ = io.WriteString(w, `{"type":"ABSENT"}`+"\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
		p := servePipes(t, certificates, handler)
		var log strings.Builder
		c := p.client(t, dir, slog.New(slog.NewTextHandler(&log, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		_ = c.Watch(ctx, func(Event) { cancel() })
		if len(asked) != 13 || p.dials != 13 {
			t.Fatalf("asked %d times over %d connections", len(asked), p.dials)
		}
		for i := 1; i < len(asked); i++ {
			gap, most := asked[i].Sub(asked[i-1]), min(oldPauseMin<<(i-1), oldPauseMax)
			if gap < most/2 || gap > most+time.Second {
				t.Errorf("pause %d is %v, want from %v to %v", i, gap, most/2, most)
			}
		}
		said := log.String()
		if strings.Count(said, "level=WARN") != 1 || !strings.Contains(said, "older than this agent") || !strings.Contains(said, "upgrade the Deployment brupop-apiserver") {
			t.Errorf("the log:\n%s", said)
		}
		if !strings.Contains(said, "is back") {
			t.Errorf("the log does not tell of the end:\n%s", said)
		}
	})
}

// A stream that says nothing for 45 s is dead, although its connection is open.
func TestASilentStreamIsLeft(t *testing.T) {
	certificates, dir := certificatesFor(t)
	synctest.Test(t, func(t *testing.T) {
		var began []time.Time
		p := servePipes(t, certificates, func(w http.ResponseWriter, r *http.Request) {
			began = append(began, time.Now())
			_, _ = io.WriteString(w, `{"type":"ABSENT"}`+"\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
		c := p.client(t, dir, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		_ = c.Watch(ctx, func(Event) {})
		if len(began) != 3 {
			t.Fatalf("%d streams in 100 s", len(began))
		}
		if gap := began[1].Sub(began[0]); gap < StreamTimeout || gap > StreamTimeout+time.Second {
			t.Errorf("the silent stream was left after %v", gap)
		}
	})
}

// certificatesFor are certificates for example.com, and a directory with the files of an agent that trusts them.
func certificatesFor(t *testing.T) ([]tls.Certificate, string) {
	t.Helper()
	s := newServer(t, func(http.ResponseWriter, *http.Request) {})
	return s.TLS.Certificates, s.dir
}

// pipes is a server whose connections are pipes, which a test of time needs.
type pipes struct {
	conns chan net.Conn
	dials int
}

// servePipes runs a server until the end of the test.
func servePipes(t *testing.T, certificates []tls.Certificate, h http.HandlerFunc) *pipes {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn)}
	srv := &http.Server{Handler: h}
	l := &pipeListener{conns: p.conns, done: make(chan struct{})}
	go func() {
		_ = srv.Serve(tls.NewListener(l, &tls.Config{Certificates: certificates, NextProtos: []string{"http/1.1"}}))
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		l.Close()
	})
	return p
}

// client is an agent's client for the server.
func (p *pipes) client(t *testing.T, dir string, log *slog.Logger) *Client {
	t.Helper()
	c, err := NewClient(Config{
		URL: "https://example.com:443", NodeName: "n", TokenFile: filepath.Join(dir, "token"), CAFile: filepath.Join(dir, "ca.crt"), Log: log,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			p.dials++
			near, far := net.Pipe()
			p.conns <- far
			return near, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func TestNodeUIDFromToken(t *testing.T) {
	for token, want := range map[string]string{
		"h.eyJrdWJlcm5ldGVzLmlvIjp7Im5vZGUiOnsibmFtZSI6Im4iLCJ1aWQiOiJ1LTEifX19.s": "u-1", // {"kubernetes.io":{"node":{"name":"n","uid":"u-1"}}}
		"h.e30.s": "", "h.!.s": "", "": "", "a.b": "",
	} {
		if got := tokenNodeUID(token); got != want {
			t.Errorf("%q: %q, want %q", token, got, want)
		}
	}
}

func TestD15BackoffGrowsToItsLimit(t *testing.T) {
	b := Backoff{Random: func() float64 { return 1 }}
	var last time.Duration
	for i := range 20 {
		d := b.Next()
		if d < last || d > backoffMax || i == 0 && d > backoffMin {
			t.Errorf("pause %d is %v after %v", i, d, last)
		}
		last = d
	}
	if last != backoffMax {
		t.Errorf("ends at %v", last)
	}
	b.Reset()
	if d := b.Next(); d > backoffMin {
		t.Errorf("after reset %v", d)
	}
}

func TestAddressesAreChecked(t *testing.T) {
	for _, url := range []string{"", "http://x", "x:443", "https://", "https://%"} {
		if _, err := NewClient(Config{URL: url, NodeName: "n"}); err == nil {
			t.Errorf("%q was accepted", url)
		}
	}
	if _, err := NewClient(Config{URL: "https://x"}); err == nil {
		t.Error("an empty node name was accepted")
	}
}

// The kubelet replaces the token's file, which shows. Should it ever not, a refused token is read anew all the same.
func TestARefusedTokenIsReadAnew(t *testing.T) {
	for _, code := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			var file string
			var requests atomic.Int64
			s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				if r.Header.Get(HeaderToken) == "secret-2" {
					return
				}
				info, err := os.Stat(file)
				if err == nil {
					err = os.WriteFile(file, []byte("secret-2\n"), 0o600) // same file, same size
				}
				if err == nil {
					err = os.Chtimes(file, info.ModTime(), info.ModTime())
				}
				if err != nil {
					t.Error(err)
				}
				http.Error(w, "token is too old", code)
			})
			file = filepath.Join(s.dir, "token")
			if err := s.client(t).Uncordon(t.Context()); err != nil || requests.Load() != 2 {
				t.Errorf("%d requests, %v", requests.Load(), err)
			}
			// A drain is tried again by the caller.
			if err := os.WriteFile(file, []byte("secret-1\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			c := s.client(t)
			if err := c.CordonAndDrain(t.Context()); Code(err) != code {
				t.Errorf("a drain with a token that is too old: %v", err)
			}
			if err := c.CordonAndDrain(t.Context()); err != nil {
				t.Errorf("a drain after that: %v", err)
			}
		})
	}
}

// A server that asks for a pause gets it, or the caller learns of it if that is longer than it has.
func TestRetryAfterIsKept(t *testing.T) {
	var requests atomic.Int64
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	began := time.Now()
	if err := s.client(t).Uncordon(t.Context()); err != nil || time.Since(began) < time.Second {
		t.Errorf("done after %v: %v", time.Since(began), err)
	}
	s = newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "65000")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	began = time.Now()
	err := s.client(t).Uncordon(t.Context())
	if Code(err) != http.StatusTooManyRequests || RetryAfter(err) != maxRetryAfter || time.Since(began) > 30*time.Second {
		t.Errorf("after %v: %v, pause %v", time.Since(began), err, RetryAfter(err))
	}
}

func TestWhatIsRefusedForGood(t *testing.T) {
	for code, want := range map[int]bool{400: true, 409: true, 413: true, 422: true, 401: false, 403: false, 404: false, 408: false, 429: false, 500: false, 503: false, 504: false} {
		if got := Refused(fmt.Errorf("wrapped: %w", &StatusError{Code: code})); got != want {
			t.Errorf("%d: refused for good %t, want %t", code, got, want)
		}
	}
	if Refused(errors.New("connection refused")) || Refused(nil) {
		t.Error("what is no answer counts as a refusal")
	}
}
