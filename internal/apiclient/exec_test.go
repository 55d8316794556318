// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiclient

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/drydock-os/drydock/internal/hostapi/execapi"
	"github.com/drydock-os/drydock/internal/pty"
	"github.com/drydock-os/drydock/internal/websocket"
)

// far is the host's end of a session: what a test says there, the host does.
type far struct {
	*websocket.Conn
	t    *testing.T
	init execapi.Initialize
}

// execHost serves /exec, once.
func execHost(t *testing.T, session func(*far)) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "api.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		if err := websocket.Check(r); err != nil || r.URL.Path != execapi.Path {
			t.Errorf("%s: %v", r.URL, err)
		}
		ws, err := websocket.Accept(w, r, execapi.MaxMessage)
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.Close()
		f := &far{Conn: ws, t: t}
		if m := f.said(); m.Initialize == nil {
			t.Errorf("begins with %+v", m)
		} else {
			f.init = *m.Initialize
			session(f)
		}
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { <-done; _ = server.Close() })
	return socket
}

// next reads what is no ping.
func (f *far) next() websocket.Message {
	for {
		m, err := f.Next()
		if err != nil {
			f.t.Errorf("the client is gone: %v", err)
			return websocket.Message{}
		}
		if m.Op != websocket.Ping && m.Op != websocket.Pong {
			return m
		}
	}
}

// said reads a control message.
func (f *far) said() execapi.ClientMessage {
	m := f.next()
	said, err := execapi.ParseClient(m.Data)
	if err != nil || m.Op != websocket.Text {
		f.t.Errorf("%v %q: %v", m.Op, m.Data, err)
	}
	return said
}

func (f *far) capacity(outstanding, written uint64) {
	text, err := json.Marshal(execapi.ServerMessage{Capacity: execapi.Capacity{MaxOutstanding: outstanding, Written: written}})
	if err == nil {
		err = f.Send(websocket.Text, text)
	}
	if err != nil {
		f.t.Error(err)
	}
}

func (f *far) end(code int, reason string) {
	if err := f.SendClose(code, reason); err != nil {
		f.t.Error(err)
	}
}

// runExec runs the client to its end.
func runExec(socket string, stdin io.Reader, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Run(context.Background(), Config{Stdin: stdin, Stdout: &out, Stderr: &errs}, append([]string{"-s", socket, "exec"}, args...))
	return code, out.String(), errs.String()
}

func TestExecEndsAsTheHostSays(t *testing.T) {
	for _, c := range []struct {
		code   int
		reason string
		want   int
		stderr string
	}{
		{1000, "0", 0, ""},
		{1000, "1", 1, ""},
		{1000, "143", 143, ""},
		{1000, "255", 255, ""},
		{1000, "256", 1, "did not tell an exit status"},
		{1000, "", 1, "did not tell an exit status"},
		{1000, "-1", 1, "did not tell an exit status"},
		{1008, "no such thing", 1, "exec: the host daemon ended the session: no such thing (code 1008)"},
		{1011, "0", 1, "(code 1011)"},
	} {
		socket := execHost(t, func(f *far) { _ = f.Send(websocket.Binary, []byte("out")); f.end(c.code, c.reason) })
		code, stdout, stderr := runExec(socket, strings.NewReader(""), "admin", "ls")
		if code != c.want || stdout != "out" || !strings.Contains(stderr, c.stderr) || c.stderr == "" && stderr != "" {
			t.Errorf("%d %q: %d %q %q", c.code, c.reason, code, stdout, stderr)
		}
	}
	for name, session := range map[string]func(*far){
		"the connection to the host daemon is lost":    func(*far) {},
		"says something unknown":                       func(f *far) { _ = f.Send(websocket.Text, []byte("{}")) },
		"frames of clients are masked":                 func(f *far) { _, _ = f.Conn.Conn.Write([]byte{0x82, 0x80, 0, 0, 0, 0}) },
		"fragmented messages are not supported":        func(f *far) { _, _ = f.Conn.Conn.Write([]byte{0x02, 0}) },
		"close code 1005 may not be sent":              func(f *far) { f.end(1005, "") },
		"did not tell an exit status, but \"goodbye\"": func(f *far) { f.end(1000, "goodbye") },
	} {
		code, _, stderr := runExec(execHost(t, session), strings.NewReader(""), "admin", "ls")
		if code != 1 || !strings.Contains(stderr, name) {
			t.Errorf("%s: %d %q", name, code, stderr)
		}
	}
}

func TestExecSendsTheCommandAndItsInput(t *testing.T) {
	socket := execHost(t, func(f *far) {
		if got := fmt.Sprintf("%q %q %v", f.init.Target, f.init.Command, f.init.TTY); got != `"admin" ["ls" "-s" "a b" "\xff"] <nil>` {
			t.Error(got)
		}
		f.capacity(1024, 0)
		if m := f.next(); m.Op != websocket.Binary || string(m.Data) != "input" {
			t.Errorf("%v %q", m.Op, m.Data)
		}
		if !f.said().ContentComplete {
			t.Error("the end of the input is not told")
		}
		f.end(1000, "0")
	})
	if code, _, stderr := runExec(socket, strings.NewReader("input"), "-T", "admin", "ls", "-s", "a b", "\xff"); code != 0 {
		t.Error(code, stderr)
	}
}

func TestExecObeysTheCapacity(t *testing.T) {
	const size = 10 * inputSize
	socket := execHost(t, func(f *far) {
		got := 0
		take := func(n int) {
			for range n {
				got += len(f.next().Data)
			}
		}
		f.capacity(3, 0)
		take(3)
		// Anything more would come before the answer to this.
		if err := f.Send(websocket.Ping, []byte("in between")); err != nil {
			t.Error(err)
		}
		for {
			m, err := f.Next()
			if err != nil || m.Op == websocket.Binary {
				t.Errorf("more than allowed: %v", err)
				break
			}
			if m.Op == websocket.Pong {
				break
			}
		}
		f.capacity(3, 3)
		take(3)
		f.capacity(1024, 6)
		for got < size {
			take(1)
		}
		if !f.said().ContentComplete {
			t.Error("the end of the input is not told")
		}
		f.end(1000, "0")
	})
	if code, _, stderr := runExec(socket, strings.NewReader(strings.Repeat("x", size)), "admin", "cat"); code != 0 {
		t.Error(code, stderr)
	}
}

func TestExecHandsOverTheTerminal(t *testing.T) {
	control, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	defer terminal.Close()
	if err := pty.SetSize(control, 33, 101); err != nil {
		t.Fatal(err)
	}
	socket := execHost(t, func(f *far) {
		if tty := f.init.TTY; tty == nil || tty.Size == nil || *tty.Size != (execapi.Size{Rows: 33, Cols: 101}) {
			t.Errorf("terminal %+v", tty)
		}
		f.capacity(1024, 0)
		if _, err := control.WriteString("\x03"); err != nil { // a key that means a signal at a terminal that is not handed over
			t.Error(err)
		}
		if m := f.next(); string(m.Data) != "\x03" {
			t.Errorf("%v %q", m.Op, m.Data)
		}
		if err := pty.SetSize(control, 12, 34); err != nil {
			t.Error(err)
		}
		if err := unix.Kill(os.Getpid(), unix.SIGWINCH); err != nil { // as for whom this is the terminal
			t.Error(err)
		}
		if size := f.said().Winch; size == nil || *size != (execapi.Size{Rows: 12, Cols: 34}) {
			t.Errorf("size %v", size)
		}
		f.end(1000, "5")
	})
	before, err := term.GetState(int(terminal.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	code := Run(t.Context(), Config{Stdin: terminal, Stdout: terminal, Stderr: io.Discard}, []string{"-s", socket, "exec", "admin", "bash"})
	if code != 5 {
		t.Errorf("exit code %d", code)
	}
	after, err := term.GetState(int(terminal.Fd()))
	if err != nil || *before != *after {
		t.Errorf("the terminal is not as it was: %v", err)
	}

	socket = execHost(t, func(f *far) {
		if f.init.TTY != nil {
			t.Error("a terminal despite -T")
		}
		f.end(1000, "0")
	})
	if code := Run(t.Context(), Config{Stdin: terminal, Stdout: terminal, Stderr: io.Discard}, []string{"-s", socket, "exec", "-T", "admin", "bash"}); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestExecIsStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	socket := execHost(t, func(f *far) {
		f.capacity(1024, 0)
		cancel()
		for {
			if _, err := f.Next(); err != nil {
				return // the host ends the program then
			}
		}
	})
	var errs bytes.Buffer
	stdin, _ := io.Pipe() // nothing is ever typed
	if code := Run(ctx, Config{Stdin: stdin, Stdout: io.Discard, Stderr: &errs}, []string{"-s", socket, "exec", "admin", "cat"}); code != 1 ||
		!strings.Contains(errs.String(), "stopped before the program had ended") {
		t.Errorf("%d %s", code, errs.String())
	}
}

func TestExecIsRefused(t *testing.T) {
	h := newHost(t)
	h.answers["GET /exec"] = say(404, "")
	code, _, stderr := runExec(h.socket, strings.NewReader(""), "admin", "ls")
	// newHost asks for a content type, as no host does for this request: any refusal will do.
	if code != 1 || !strings.HasPrefix(stderr, "Failed GET request to '/exec': Status 4") {
		t.Errorf("%d %q", code, stderr)
	}
}
