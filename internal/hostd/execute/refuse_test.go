// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package execute

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/drydock-os/drydock/internal/hostapi/execapi"
	"github.com/drydock-os/drydock/internal/websocket"
)

// originalsProof answers a key without padding.
const originalsProof = "RZWuh2JK/hL0RMgTNJFfZIAppXg="

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

func TestViolationsHaveCodes(t *testing.T) {
	f := serve(t, patient)
	const begin = `{"Initialize":{"command":[{"Unix":[99,97,116]}],"target":"admin","tty":null}}`
	text := func(s string) func(remote) { return func(r remote) { r.send(websocket.Text, s) } }
	raw := func(bytes ...byte) func(remote) {
		return func(r remote) {
			if _, err := r.Conn.Conn.Write(bytes); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		send func(remote)
		code int
	}{
		"data before Initialize":            {func(r remote) { r.send(websocket.Binary, "x") }, 1008},
		"ContentComplete before Initialize": {text(`"ContentComplete"`), 1008},
		"Winch before is ignored":           {func(r remote) { text(`{"Winch":{"rows":1,"cols":2}}`)(r); text(`"ContentComplete"`)(r) }, 1008},
		"Initialize twice":                  {func(r remote) { text(begin)(r); text(begin)(r) }, 1008},
		"no command":                        {text(`{"Initialize":{"command":[],"target":"admin","tty":null}}`), 1008},
		"zero byte":                         {text(`{"Initialize":{"command":[{"Unix":[99,0]}],"target":"admin","tty":null}}`), 1008},
		"an option as target":               {text(`{"Initialize":{"command":[{"Unix":[99]}],"target":"--all","tty":null}}`), 1008},
		"no target":                         {text(`{"Initialize":{"command":[{"Unix":[99]}],"target":"","tty":null}}`), 1008},
		"no such program":                   {text(`{"Initialize":{"command":[{"Unix":[47,120]}],"target":"admin","tty":null}}`), 1011},
		"not JSON":                          {text(`{`), 1007},
		"unknown message":                   {text(`{"Capacity":{}}`), 1007},
		"a byte too large":                  {text(`{"Initialize":{"command":[{"Unix":[256]}],"target":"admin","tty":null}}`), 1007},
		"a size too large":                  {text(`{"Winch":{"rows":65536,"cols":1}}`), 1007},
		"not UTF-8":                         {func(r remote) { r.send(websocket.Text, "\xff") }, 1007},
		"too large":                         {func(r remote) { r.send(websocket.Binary, strings.Repeat("x", execapi.MaxMessage+1)) }, 1009},
		"a fragment":                        {raw(0x02, 0x80, 0, 0, 0, 0), 1003},
		"continuation":                      {raw(0x80, 0x80, 0, 0, 0, 0), 1003},
		"not masked":                        {raw(0x82, 0x01, 'x'), 1002},
		"reserved bits":                     {raw(0xc2, 0x80, 0, 0, 0, 0), 1002},
		"unknown opcode":                    {raw(0x83, 0x80, 0, 0, 0, 0), 1002},
		"endless message":                   {raw(0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), 1002},
		"huge message":                      {raw(0x82, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), 1009},
	} {
		t.Run(name, func(t *testing.T) {
			r := f.connect()
			r.t = t
			c.send(r)
			if _, _, why := r.end(); why.Code != c.code || why.Reason == "" {
				t.Errorf("%v, want %d", why, c.code)
			}
			f.sessions.Wait() // not even a program is left
		})
	}
}

func TestRefusals(t *testing.T) {
	l := patient
	l.sessions = 1
	f := serve(t, l)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", f.socket)
	}}}
	upgrade := map[string]string{"Connection": "keep-alive, Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "x"}
	without := func(name, instead string) map[string]string {
		h := map[string]string{name: instead}
		for k, v := range upgrade {
			if k != name {
				h[k] = v
			}
		}
		return h
	}
	r := f.shell("echo ready; exec cat") // takes the only place
	r.await("ready")
	for _, c := range []struct {
		method string
		header map[string]string
		code   int
		body   string
	}{
		{"GET", nil, 400, "WebSocket upgrade is expected"},
		{"GET", without("Upgrade", "h2c"), 400, "WebSocket upgrade is expected"},
		{"GET", without("Connection", "close"), 400, "Connection upgrade is expected"},
		{"GET", without("Sec-WebSocket-Version", "8"), 400, "WebSocket version 13 is expected"},
		{"GET", without("Sec-WebSocket-Key", ""), 400, "a WebSocket key is expected"},
		{"GET", without("Sec-WebSocket-Key", strings.Repeat("x", 200)), 400, "a WebSocket key is expected"},
		{"POST", upgrade, 405, "Method not allowed"},
		{"GET", upgrade, 503, "too many programs are running already"},
	} {
		req, err := http.NewRequest(c.method, "http://localhost/exec", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range c.header {
			req.Header.Set(k, v)
		}
		reply, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(reply.Body)
		_ = reply.Body.Close()
		if err != nil || reply.StatusCode != c.code || !strings.HasPrefix(string(body), c.body) {
			t.Errorf("%s %v: %s %s %v; want %d %s", c.method, c.header, reply.Status, body, err, c.code, c.body)
		}
	}
	r.tell(execapi.ClientMessage{ContentComplete: true})
	r.end()
	f.sessions.Wait()
	if _, _, why := f.shell("exit 0").end(); why.Reason != "0" { // there is room again
		t.Error(why)
	}
}

func TestNoWayIntoContainersIsSaid(t *testing.T) {
	f := serve(t, patient)
	f.cfg.Argv = func(string, []string, bool) ([]string, error) { return nil, errors.New("there are none here") }
	if _, _, why := f.shell("true").end(); why.Code != websocket.CodeInternal || !strings.Contains(why.Reason, "there are none here") {
		t.Error(why)
	}
}
