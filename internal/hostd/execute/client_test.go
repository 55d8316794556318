// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package execute

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/drydock-os/drydock/internal/hostapi/execapi"
	"github.com/drydock-os/drydock/internal/websocket"
)

// direct runs commands as they are: the container is this machine.
func direct(_ string, command []string, _ bool) ([]string, error) { return command, nil }

// fixture is a server on a real socket.
type fixture struct {
	*Server
	t      *testing.T
	socket string
}

// patient are limits that no test gets to.
var patient = limits{ping: time.Hour, silence: time.Hour, kill: time.Minute, stop: time.Minute, last: time.Minute, sessions: 100}

func serve(t *testing.T, l limits) *fixture {
	t.Helper()
	f := &fixture{Server: New(Config{Argv: direct, limits: l}), t: t, socket: filepath.Join(t.TempDir(), "api.sock")}
	listener, err := net.Listen("unix", f.socket)
	if err != nil {
		t.Fatal(err)
	}
	h := &http.Server{Handler: f.Server, ReadTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); _ = h.Serve(listener) }()
	t.Cleanup(func() {
		f.stopOnce()
		_ = h.Close()
		<-done
	})
	return f
}

func (f *fixture) stopOnce() {
	select {
	case <-f.stopping:
	default:
		f.Close()
	}
}

// dial opens a plain connection.
func (f *fixture) dial() net.Conn {
	f.t.Helper()
	conn, err := net.Dial("unix", f.socket)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// remote is a client's end of a session.
type remote struct {
	*websocket.Conn
	t *testing.T
}

func (f *fixture) connect() remote {
	f.t.Helper()
	ws, reply, err := websocket.Connect(f.dial(), execapi.Path, nil, 1<<20)
	if err != nil || ws == nil {
		f.t.Fatalf("no WebSocket: %v %v", reply, err)
	}
	return remote{ws, f.t}
}

func (r remote) tell(m execapi.ClientMessage) {
	r.t.Helper()
	text, err := json.Marshal(m)
	if err != nil {
		r.t.Fatal(err)
	}
	r.send(websocket.Text, string(text))
}

func (r remote) send(op websocket.Opcode, data string) {
	r.t.Helper()
	if err := r.Send(op, []byte(data)); err != nil {
		r.t.Fatal(err)
	}
}

// run begins a session with a command.
func (f *fixture) run(tty *execapi.TTY, command ...string) remote {
	f.t.Helper()
	r := f.connect()
	init := &execapi.Initialize{Target: "admin", TTY: tty}
	for _, word := range command {
		init.Command = append(init.Command, execapi.OSString(word))
	}
	r.tell(execapi.ClientMessage{Initialize: init})
	return r
}

// shell begins a session with a script, whose further words are $0 and so on.
func (f *fixture) shell(script string, words ...string) remote {
	f.t.Helper()
	return f.run(nil, append([]string{"sh", "-c", script}, words...)...)
}

// end reads until the server says goodbye, and hangs up.
func (r remote) end() (output string, capacities []uint64, why websocket.Error) {
	r.t.Helper()
	var out strings.Builder
	for {
		m, err := r.Next()
		if err != nil {
			r.t.Fatalf("after %.200q: %v", out.String(), err)
		}
		switch m.Op {
		case websocket.Binary:
			out.Write(m.Data)
		case websocket.Text:
			said, err := execapi.ParseServer(m.Data)
			if err != nil || said.Capacity.MaxOutstanding != 1024 {
				r.t.Errorf("%s: %v", m.Data, err)
			}
			capacities = append(capacities, said.Capacity.Written)
		case websocket.Close:
			why, err := websocket.ParseClose(m.Data)
			if err != nil {
				r.t.Error(err)
			}
			_ = r.Close()
			return out.String(), capacities, why
		}
	}
}

// await reads until the output has a text in it.
func (r remote) await(text string) {
	r.t.Helper()
	out := ""
	for !strings.Contains(out, text) {
		m, err := r.Next()
		if err != nil || m.Op == websocket.Close {
			r.t.Fatalf("waiting for %q in %q: %s %v", text, out, m.Data, err)
		}
		if m.Op == websocket.Binary {
			out += string(m.Data)
		}
	}
}

// wantGone reads until the server hangs up, without a goodbye.
func (r remote) wantGone() {
	r.t.Helper()
	for {
		m, err := r.Next()
		if _, violation := errors.AsType[*websocket.Error](err); violation || m.Op == websocket.Close {
			r.t.Fatalf("%s %v", m.Data, err)
		}
		if err != nil {
			return
		}
	}
}
