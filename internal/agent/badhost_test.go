// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agent

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/hostapi"
)

// badHost is a socket that answers whatever it is told to, and counts how often it is asked. Its connections end with
// each answer, so that nothing of it waits while the clock of a bubble should go on.
func badHost(t *testing.T, answer func(path string) string) (*hostapi.Client, *atomic.Int64) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	asked := new(atomic.Int64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if req, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				asked.Add(1)
				_, _ = io.WriteString(conn, answer(req.URL.Path))
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return hostapi.New(socket), asked
}

func ok(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// A host that answers garbage costs its node nothing but updates: it stays Idle, the status says what is wrong, and nobody
// is asked or written to more than now and then.
func TestAHostThatAnswersGarbage(t *testing.T) {
	const sound = `{"version_id":"1.20.0","boot_id":"b","slot":"A"}`
	for name, tc := range map[string]struct {
		os, status string
		says       string
	}{
		"no HTTP":                  {status: "SSH-2.0-OpenSSH_9.2\r\n", says: "malformed HTTP"},
		"nothing":                  {status: "", says: "EOF"},
		"a cut answer":             {status: "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", says: "EOF"},
		"another service":          {status: ok("<html>hello</html>"), says: "decoding the reply"},
		"null":                     {status: ok("null"), says: "refresh left no result"},
		"numbers for texts":        {status: ok(`{"update_state":7}`), says: "decoding the reply"},
		"an unknown state":         {status: ok(`{"update_state":"Odd","most_recent_command":{"cmd_type":"dance","cmd_status":"Maybe"}}`), says: "refresh left no result"},
		"an endless answer":        {status: ok(strings.Repeat(" ", hostapi.MaxBody+1)), says: "the reply is larger"},
		"always busy":              {status: "HTTP/1.1 423 Locked\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", says: "deadline"},
		"a failure of its own":     {status: "HTTP/1.1 500 Oops\r\nConnection: close\r\n\r\nkaboom", says: "kaboom"},
		"another place":            {status: "HTTP/1.1 302 Found\r\nLocation: http://localhost/\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", says: "status 302"},
		"an offer that is none":    {status: ok(refreshed(`"chosen_update":{"version":"latest"}`)), says: `offers "latest", which is no version`},
		"an endless offer":         {status: ok(refreshed(`"chosen_update":{"version":"` + strings.Repeat("1", 5000) + `.0"}`)), says: "which is no version"},
		"a version that is none":   {os: ok(`{"version_id":"Bottlerocket 1.20"}`), status: ok("null"), says: `runs "Bottlerocket 1.20", which is no version`},
		"a host that says nothing": {os: ok(`{}`), status: ok("null"), says: `runs "", which is no version`},
		"a host of other service":  {os: "220 mail ESMTP\r\n", status: ok("null"), says: "malformed HTTP"},
	} {
		t.Run(name, func(t *testing.T) {
			client, asked := badHost(t, func(path string) string {
				switch {
				case path == hostapi.PathOS && tc.os != "":
					return tc.os
				case path == hostapi.PathOS:
					return ok(sound)
				case path == hostapi.PathUpdateStatus:
					return tc.status
				default:
					return "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
				}
			})
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.spec = &agentapi.Spec{State: agentapi.Idle}
				w.status = &agentapi.Status{CurrentVersion: "1.20.0", TargetVersion: "1.20.0", CurrentState: agentapi.Idle}
				w.strict = true
				w.live(t, time.Hour, func(c *Config) { c.Host = client })
				s := w.now()
				if s.CurrentState != agentapi.Idle || s.CrashCount != 0 || s.CurrentVersion != "1.20.0" || s.TargetVersion != "1.20.0" || w.drains != 0 {
					t.Errorf("status %+v", s)
				}
				if !strings.Contains(s.Message, tc.says) || !strings.Contains(s.UpdateCheck.Error, tc.says) || s.UpdateCheck.FailingSince == "" {
					t.Errorf("message %q, check %+v, want %q", s.Message, s.UpdateCheck, tc.says)
				}
				if n := asked.Load(); n > 3700 {
					t.Errorf("asked %d times in an hour", n)
				}
				if puts := len(w.journal); puts > 10 {
					t.Errorf("%d calls of the apiserver in an hour: %v", puts, w.journal[:10])
				}
			})
		})
	}
}

// refreshed is the status after a refresh that went well, with more fields.
func refreshed(more string) string {
	return `{"update_state":"Available","most_recent_command":{"cmd_type":"refresh","cmd_status":"Success","exit_status":0,"timestamp":"t"},` + more + `}`
}

// hanging is a host that takes requests and never answers those of one kind.
type hanging struct {
	host
	at string
}

func (h hanging) OS(ctx context.Context) (hostapi.OS, error) {
	if h.at == "os" {
		<-ctx.Done()
		return hostapi.OS{}, ctx.Err()
	}
	return h.host.OS(ctx)
}

func (h hanging) WaitUpdateStatus(ctx context.Context) (hostapi.UpdateStatus, error) {
	if h.at == "status" {
		<-ctx.Done()
		return hostapi.UpdateStatus{}, ctx.Err()
	}
	return h.host.WaitUpdateStatus(ctx)
}

func (h hanging) Refresh(ctx context.Context) error {
	if h.at == "refresh" {
		<-ctx.Done()
		return ctx.Err()
	}
	return h.host.Refresh(ctx)
}

// A host that takes requests and does not answer is given up on in time, and a wish of the controller is heard meanwhile.
func TestAHostThatDoesNotAnswer(t *testing.T) {
	for _, at := range []string{"os", "status", "refresh"} {
		t.Run(at, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.spec = &agentapi.Spec{State: agentapi.Idle}
				w.status = &agentapi.Status{CurrentVersion: "1.20.0", TargetVersion: "1.20.0", CurrentState: agentapi.Idle}
				w.live(t, 25*time.Minute, func(c *Config) { c.Host = hanging{host{w}, at} })
				s := w.now()
				if s.CurrentState != agentapi.Idle || s.CrashCount != 0 || !strings.Contains(s.Message, "deadline") || s.UpdateCheck.FailingSince == "" {
					t.Errorf("status %+v", s)
				}
				if len(w.journal) > 40 {
					t.Errorf("%d calls: %v", len(w.journal), w.journal[:10])
				}
				w.live(t, 20*time.Minute) // it answers again
				if s := w.now(); s.CurrentVersion != "1.21.0" || s.CurrentState != agentapi.Idle || s.UpdateCheck.Error != "" {
					t.Errorf("after that: %+v", s)
				}
			})
		})
	}
}

func TestVersions(t *testing.T) {
	for s, want := range map[string]bool{
		"1.20.0": true, "0.0.0": true, "1.2.3-rc.1+build.007": true, "1.2.3-0a": true, "1.2.3--": true, "10.20.30+-": true,
		"": false, "1.2": false, "1.2.3.4": false, "v1.2.3": false, "01.2.3": false, "1.2.3-": false, "1.2.3-01": false, "1.2.3+": false,
		"1.2.3-a..b": false, "1.2.3 ": false, "1.2.3\n": false, "1.2.x": false, "1.2.3-ä": false, "-1.2.3": false,
	} {
		if isVersion(s) != want {
			t.Errorf("%q: %v, want %v", s, !want, want)
		}
	}
}
