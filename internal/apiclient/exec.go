// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/hostapi/execapi"
	"github.com/drydock-os/drydock/internal/pty"
	"github.com/drydock-os/drydock/internal/websocket"
)

const (
	// inputSize is how much input travels in one message.
	inputSize = 4 << 10

	// maxOutput bounds a message of the server. Ours sends less; others may send more.
	maxOutput = 1 << 20

	// handshakeTimeout bounds connecting, before the program runs.
	handshakeTimeout = 10 * time.Second

	// goodbyeTimeout bounds the answer to the server's goodbye, which nobody waits for.
	goodbyeTimeout = time.Second
)

// exitStatus is how the program in the container has ended, other than with 0. It has said itself what there is to say.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// execute runs a program in a host container.
func execute(ctx context.Context, a *app, args []string) error {
	tty := isTerminal(a.Stdin) && isTerminal(a.Stdout)
options:
	for ; len(args) > 0 && strings.HasPrefix(args[0], "-"); args = args[1:] {
		switch args[0] {
		case "-t", "--tty":
			tty = true
		case "-T", "--no-tty":
			tty = false
		case "--":
			args = args[1:]
			break options
		default:
			return cli.Usagef("exec: unexpected argument %q", args[0])
		}
	}
	if len(args) < 2 {
		return cli.Usagef("exec: want a host container and a command")
	}
	init := &execapi.Initialize{Target: args[0]}
	for _, word := range args[1:] {
		init.Command = append(init.Command, execapi.OSString(word))
	}
	if tty {
		init.TTY = &execapi.TTY{Size: a.terminalSize()}
	}
	ws, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer ws.Close()
	if tty && isTerminal(a.Stdin) {
		fd := int(a.Stdin.(*os.File).Fd())
		state, err := term.MakeRaw(fd)
		if err != nil {
			return fmt.Errorf("handing the terminal to the program: %w", err)
		}
		defer func() { _ = term.Restore(fd, state) }() // there is no other way to do it
	}
	r := &remote{app: a, ws: ws, pongs: make(chan []byte, 1), credit: make(chan execapi.Capacity, 1)}
	return r.run(ctx, init)
}

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// terminalSize returns the size of the terminal that output goes to, or else input comes from. It is nil when there is
// none.
func (a *app) terminalSize() *execapi.Size {
	for _, v := range []any{a.Stdout, a.Stdin} {
		if f, ok := v.(*os.File); ok {
			if rows, cols, err := pty.Size(f); err == nil {
				return &execapi.Size{Rows: rows, Cols: cols}
			}
		}
	}
	return nil
}

// connect opens the WebSocket.
func (a *app) connect(ctx context.Context) (*websocket.Conn, error) {
	failed := func(err error) error {
		err = fmt.Errorf("Failed GET request to '%s': %w", execapi.Path, err) //nolint:staticcheck // programs read this text
		return cli.WithHint(err, "is the host daemon running, and may you use its socket?")
	}
	conn, err := (&net.Dialer{Timeout: handshakeTimeout}).DialContext(ctx, "unix", a.socket)
	if err != nil {
		return nil, failed(err)
	}
	_ = conn.SetDeadline(time.Now().Add(handshakeTimeout))
	ws, reply, err := websocket.Connect(conn, execapi.Path, nil, maxOutput)
	if ws != nil {
		_ = conn.SetDeadline(time.Time{})
		return ws, nil
	}
	defer conn.Close()
	if err != nil {
		return nil, failed(err)
	}
	defer reply.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(reply.Body, maxSource)) // a cut-off explanation is better than none
	return nil, &answerError{http.MethodGet, execapi.Path, reply.StatusCode, string(body)}
}

// remote is a program that runs on the other side.
type remote struct {
	*app
	ws     *websocket.Conn
	pongs  chan []byte
	credit chan execapi.Capacity // the latest that the server has told
}

// run goes on until the program has ended, the connection is lost, or ctx ends, which ends the program too.
func (r *remote) run(ctx context.Context, init *execapi.Initialize) error {
	ctx, cancel := context.WithCancel(ctx)
	var parts sync.WaitGroup
	defer parts.Wait()
	defer cancel()
	if err := r.tell(execapi.ClientMessage{Initialize: init}); err != nil {
		return fmt.Errorf("exec: %w", err)
	}
	// Closing wakes up who reads or writes. The server then ends the program.
	stop := context.AfterFunc(ctx, func() { _ = r.ws.Close() })
	defer stop()
	if init.TTY != nil {
		resized := make(chan os.Signal, 1)
		signal.Notify(resized, unix.SIGWINCH)
		defer signal.Stop(resized)
		parts.Go(func() { r.followSize(ctx, resized) })
	}
	parts.Go(func() { r.heartbeat(ctx) })
	go r.sendInput(ctx) // may wait for input that never comes: it ends with the process

	err := r.receive()
	if _, ended := errors.AsType[exitStatus](err); err != nil && !ended && ctx.Err() != nil {
		return fmt.Errorf("exec: stopped before the program had ended: %w", context.Cause(ctx))
	}
	return err
}

// tell sends a control message.
func (r *remote) tell(m execapi.ClientMessage) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return r.ws.Send(websocket.Text, text)
}

// receive prints output until the server says goodbye.
func (r *remote) receive() error {
	for {
		_ = r.ws.SetReadDeadline(time.Now().Add(execapi.MaxSilence))
		m, err := r.ws.Next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("exec: nothing was heard from the host daemon for %v", execapi.MaxSilence)
		case err != nil:
			return fmt.Errorf("exec: the connection to the host daemon is lost: %w", err)
		}
		switch m.Op {
		case websocket.Binary:
			if _, err := r.Stdout.Write(m.Data); err != nil {
				return fmt.Errorf("exec: writing output: %w", err)
			}
		case websocket.Text:
			said, err := execapi.ParseServer(m.Data)
			if err != nil {
				return fmt.Errorf("exec: the host daemon says something unknown: %w", err)
			}
			select {
			case <-r.credit: // older
			default:
			}
			r.credit <- said.Capacity // there is room: nobody else sends
		case websocket.Ping:
			select {
			case r.pongs <- m.Data:
			default: // an answer to one of several will do
			}
		case websocket.Close:
			return r.goodbye(m.Data)
		}
	}
}

// goodbye reads how the program has ended.
func (r *remote) goodbye(data []byte) error {
	why, err := websocket.ParseClose(data)
	if err != nil {
		return fmt.Errorf("exec: %w", err)
	}
	_ = r.ws.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
	_ = r.ws.SendClose(websocket.CodeNormal, "") // as a courtesy
	if why.Code != websocket.CodeNormal {
		return fmt.Errorf("exec: the host daemon ended the session: %s (code %d)", why.Reason, why.Code)
	}
	code, err := strconv.ParseUint(why.Reason, 10, 8)
	if err != nil {
		return fmt.Errorf("exec: the host daemon did not tell an exit status, but %q", why.Reason)
	}
	if code != 0 {
		return exitStatus(code)
	}
	return nil
}

// sendInput sends what is typed, never more than the server has room for. Errors are those of the connection, which
// receive tells.
func (r *remote) sendInput(ctx context.Context) {
	var limit, sent uint64
	buf := make([]byte, inputSize)
	for {
		n, err := r.Stdin.Read(buf)
		for ; n > 0; n = 0 {
			for sent >= limit {
				select {
				case c := <-r.credit:
					limit = c.Written + c.MaxOutstanding
				case <-ctx.Done():
					return
				}
			}
			if r.ws.Send(websocket.Binary, buf[:n]) != nil {
				return
			}
			sent++
		}
		if err != nil {
			_ = r.tell(execapi.ClientMessage{ContentComplete: true})
			return
		}
	}
}

// followSize tells the server when the terminal has another size.
func (r *remote) followSize(ctx context.Context, resized <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-resized:
			if size := r.terminalSize(); size != nil {
				_ = r.tell(execapi.ClientMessage{Winch: size})
			}
		}
	}
}

// heartbeat shows the server that the client is there.
func (r *remote) heartbeat(ctx context.Context) {
	tick := time.NewTicker(execapi.PingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case data := <-r.pongs:
			_ = r.ws.Send(websocket.Pong, data)
		case <-tick.C:
			_ = r.ws.Send(websocket.Ping, nil)
		}
	}
}
