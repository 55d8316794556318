// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package execute

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/internal/hostapi/execapi"
	"github.com/drydock-os/drydock/internal/websocket"
)

func TestTheExitCodeIsTheReason(t *testing.T) {
	f := serve(t, patient)
	for _, c := range []struct{ script, output, code string }{
		{"true", "", "0"},
		{"exit 7", "", "7"},
		{"exit 255", "", "255"},
		{"printf out; printf err >&2", "outerr", "0"},
		{"kill -TERM $$", "", "143"},
		{"kill -KILL $$", "", "137"},
		{"printf %s-%s \"$TERM\" \"$HOME\"", "screen-", "0"},
		{"test -t 0 || printf none", "none", "0"},
		// What stays behind holds the output open; nobody waits for it.
		{"sleep 3 & printf first; exit 4", "first", "4"},
	} {
		output, capacities, why := f.shell(c.script).end()
		if why.Code != websocket.CodeNormal || why.Reason != c.code || output != c.output {
			t.Errorf("%s: %q, %v; want %q, %s", c.script, output, why, c.output, c.code)
		}
		if !slices.Equal(capacities, []uint64{0}) {
			t.Errorf("%s: capacities %v", c.script, capacities)
		}
	}
	if output, _, _ := f.run(nil, "printf", "%s|", "a b", "\xff\xfe", "").end(); output != "a b|\xff\xfe||" {
		t.Errorf("words arrive as %q", output)
	}
}

// The original's client names the whole URL as target and does not pad its key.
func TestTheOriginalsHandshake(t *testing.T) {
	conn := serve(t, patient).dial()
	_, err := io.WriteString(conn, "GET ws://localhost/exec HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	reply, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Made of exactly that key: printf 'dGhlIHNhbXBsZSBub25jZQ258EAFA5-E914-47DA-95CA-C5AB0DC85B11' | openssl sha1 -binary | base64
	if got := reply.Header.Get("Sec-WebSocket-Accept"); reply.StatusCode != 101 || got != originalsProof {
		t.Errorf("%s %q", reply.Status, got)
	}
	c := remote{websocket.NewConn(conn, r, true, 1<<20), t}
	c.send(websocket.Text, `{"Initialize":{"command":[{"Unix":[101,99,104,111]},{"Unix":[104,105]}],"target":"admin","tty":null}}`)
	if output, _, why := c.end(); output != "hi\n" || why.Reason != "0" {
		t.Errorf("%q %v", output, why)
	}
}

func TestATerminalHasASize(t *testing.T) {
	f := serve(t, patient)
	r := f.run(&execapi.TTY{Size: &execapi.Size{Rows: 33, Cols: 101}}, "sh", "-c", "stty size; while read line; do stty size; done; exit 5")
	r.await("33 101\r\n")
	r.tell(execapi.ClientMessage{Winch: &execapi.Size{Rows: 12, Cols: 34}})
	r.send(websocket.Binary, "again\n")
	r.await("12 34\r\n")
	r.tell(execapi.ClientMessage{ContentComplete: true}) // the end of a terminal's input is a key
	if _, _, why := r.end(); why.Reason != "5" {
		t.Error(why)
	}

	// Keys that mean a signal are one, and programs hear of a resize. A test that was started in the background ignores the
	// key, and so would its programs; the daemon never does.
	keys := make(chan os.Signal, 1)
	signal.Notify(keys, os.Interrupt)
	defer signal.Stop(keys)
	r = f.run(&execapi.TTY{}, "sh", "-c", "trap 'echo interrupted; exit 9' INT; trap 'echo resized' WINCH; echo ready; while :; do sleep 0.01; done")
	r.await("ready")
	r.tell(execapi.ClientMessage{Winch: &execapi.Size{Rows: 1, Cols: 2}})
	r.await("resized")
	r.send(websocket.Binary, "\x03")
	if output, _, why := r.end(); why.Reason != "9" || !strings.Contains(output, "interrupted") {
		t.Errorf("%q %v", output, why)
	}
}

func TestInputIsCounted(t *testing.T) {
	r := serve(t, patient).shell("cat >/dev/null; exit 3")
	for range 300 {
		r.send(websocket.Binary, "x")
	}
	r.tell(execapi.ClientMessage{ContentComplete: true})
	r.send(websocket.Binary, "this is ignored")
	r.tell(execapi.ClientMessage{ContentComplete: true})
	_, capacities, why := r.end()
	if !slices.Equal(capacities, []uint64{0, 128, 256}) || why.Reason != "3" {
		t.Errorf("%v %v", capacities, why)
	}
}

func TestInputReachesTheProgramWhole(t *testing.T) {
	r := serve(t, patient).shell("exec sha256sum")
	var all strings.Builder
	for i := range 1000 {
		part := strings.Repeat(strconv.Itoa(i), 200)
		all.WriteString(part)
		r.send(websocket.Binary, part)
	}
	r.tell(execapi.ClientMessage{ContentComplete: true})
	if output, _, _ := r.end(); !strings.HasPrefix(output, sum(all.String())) {
		t.Errorf("got %s", output)
	}
}

func TestAClientThatSendsTooMuchIsStopped(t *testing.T) {
	r := serve(t, patient).shell("exec sleep 600")
	go func() {
		for range 2000 {
			if r.Send(websocket.Binary, make([]byte, 4096)) != nil {
				return
			}
		}
	}()
	if _, _, why := r.end(); why.Code != websocket.CodeTooBig || why.Reason != "write buffer full; obey capacity updates" {
		t.Error(why)
	}
}

func TestOutputWaitsForTheClient(t *testing.T) {
	const size = 8 << 20 // much more than sockets and pipes hold
	done := filepath.Join(t.TempDir(), "done")
	r := serve(t, patient).shell("head -c "+strconv.Itoa(size)+" /dev/zero; touch $0", done)
	if _, err := r.Next(); err != nil { // the capacity
		t.Fatal(err)
	}
	if _, err := os.Stat(done); err == nil {
		t.Error("the program got rid of everything before anybody read it")
	}
	if output, _, why := r.end(); len(output) != size || why.Reason != "0" {
		t.Errorf("%d bytes, %v", len(output), why)
	}
}

func TestTheProgramEndsWithItsClient(t *testing.T) {
	told := filepath.Join(t.TempDir(), "told")
	f := serve(t, patient)
	r := f.shell("trap 'touch $0; exit' TERM; echo ready; while :; do sleep 0.01; done", told)
	r.await("ready")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	f.sessions.Wait()
	if _, err := os.Stat(told); err != nil {
		t.Errorf("the program got no SIGTERM: %v", err)
	}

	// A goodbye by the client is the same.
	f = serve(t, patient)
	r = f.shell("echo ready; exec sleep 600")
	r.await("ready")
	if err := r.SendClose(websocket.CodeGoingAway, ""); err != nil {
		t.Fatal(err)
	}
	f.sessions.Wait()
}

func TestAProgramThatDoesNotEndIsKilled(t *testing.T) {
	l := patient
	l.kill, l.last = time.Millisecond, time.Millisecond
	f := serve(t, l)
	file := filepath.Join(t.TempDir(), "pid")
	r := f.shell("trap '' TERM; echo $$ >$0; echo ready; exec sleep 600", file)
	r.await("ready")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	f.sessions.Wait()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("process %d: %v", pid, err)
	}
}

func TestASilentClientIsGone(t *testing.T) {
	l := patient
	l.silence, l.ping = 100*time.Millisecond, time.Millisecond
	f := serve(t, l)
	r := f.shell("exec sleep 600")
	for {
		m, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if m.Op == websocket.Ping {
			break
		}
	}
	r.wantGone()
	f.sessions.Wait()
}

func TestPingsAreAnswered(t *testing.T) {
	r := serve(t, patient).shell("exec sleep 600")
	r.send(websocket.Ping, "are you there")
	for {
		m, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if m.Op == websocket.Pong {
			if string(m.Data) != "are you there" {
				t.Errorf("%q", m.Data)
			}
			return
		}
	}
}

func TestClosingEndsEverything(t *testing.T) {
	l := patient
	l.stop, l.last = time.Millisecond, time.Millisecond
	f := serve(t, l)
	waiting, deaf := f.connect(), f.shell("trap '' TERM; echo ready; exec sleep 600")
	deaf.await("ready")
	closed := make(chan struct{})
	go func() { f.Close(); close(closed) }()
	for _, r := range []remote{waiting, deaf} {
		if _, _, why := r.end(); why.Code != websocket.CodeGoingAway {
			t.Error(why)
		}
	}
	<-closed
	ws, reply, err := websocket.Connect(f.dial(), execapi.Path, nil, 1<<20)
	if ws != nil || err != nil || reply.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a closed server answers %v %v", reply, err)
	}
}
