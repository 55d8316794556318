// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package execute

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/internal/hostapi/execapi"
	"github.com/drydock-os/drydock/internal/websocket"
)

const (
	// maxPending is how many bytes of input wait for a program before its client is not listened to any more. A client
	// that keeps to the contract, with messages of 4 KiB, never gets there.
	maxPending = 4 << 20

	// closeGrace bounds saying goodbye. The client has only to read what is there.
	closeGrace = 2 * time.Second

	// outputSize is how much of a program's output travels in one message at most.
	outputSize = 32 << 10

	// drainPause is how long output may take to come out of the kernel once its program has ended. What still holds the
	// other end then is something that the program has left behind.
	drainPause = 250 * time.Millisecond

	// maxDrain bounds what is read after the end: no pipe or terminal holds more by itself.
	maxDrain = 1 << 20

	// winchDelay is when a program is told the size of its terminal once more: what it starts may not have looked yet.
	winchDelay = 100 * time.Millisecond
)

// errGone means that the client is not there any more.
var errGone = errors.New("the client is gone")

// session is one program, from the handshake to the end of the connection.
type session struct {
	server *Server
	ws     *websocket.Conn
	log    *slog.Logger
	end    context.CancelCauseFunc // with a *websocket.Error to say goodbye with, or errGone
	pongs  chan []byte             // answers to pings, sent by the heartbeat so that reading never waits for writing

	child    *child
	parts    sync.WaitGroup
	complete bool
	received uint64
	written  atomic.Uint64
	pending  atomic.Int64  // bytes in queue
	queue    chan []byte   // input for the program; nil ends it
	taken    chan struct{} // something was taken out of queue
}

// run goes on until the program has ended, or the client is gone or breaks the contract.
func (x *session) run(ctx context.Context) {
	ctx, x.end = context.WithCancelCause(ctx)
	defer x.end(nil)
	defer x.parts.Wait()
	read := make(chan struct{})
	x.parts.Go(func() { defer close(read); x.read(ctx) })
	x.parts.Go(func() { x.heartbeat(ctx) })
	select {
	case <-ctx.Done():
	case <-x.server.stopping:
		x.end(errStopping)
	}

	cause := context.Cause(ctx)
	_ = x.ws.SetWriteDeadline(time.Now().Add(closeGrace)) // also for what is being written to a client that does not read
	if goodbye, ok := errors.AsType[*websocket.Error](cause); ok {
		// The client answers with a close frame of its own, or is not there to.
		if x.ws.SendClose(goodbye.Code, goodbye.Reason) == nil {
			select {
			case <-read:
			case <-time.After(closeGrace):
			}
		}
	}
	_ = x.ws.Close()
	<-read // it alone starts the program
	if x.child == nil {
		return
	}
	grace := x.server.cfg.limits.kill
	if errors.Is(cause, errStopping) {
		grace = x.server.cfg.limits.stop
	}
	x.child.terminate(grace, x.server.cfg.limits.last)
	x.log.Info("exec ended", "pid", x.child.pid, "status", x.child.code, "reason", cause.Error())
}

// read carries out what the client says, until the session ends or the connection does.
func (x *session) read(ctx context.Context) {
	for {
		_ = x.ws.SetReadDeadline(time.Now().Add(x.server.cfg.limits.silence))
		m, err := x.ws.Next()
		if err != nil {
			if _, violation := errors.AsType[*websocket.Error](err); !violation {
				err = fmt.Errorf("%w: %w", errGone, err)
			}
			x.end(err)
			return
		}
		switch {
		case m.Op == websocket.Close:
			x.end(x.closed(m.Data))
			return
		case ctx.Err() != nil: // only the goodbye matters now
		case m.Op == websocket.Ping:
			select {
			case x.pongs <- m.Data:
			default: // an answer to one of several will do
			}
		case m.Op == websocket.Binary:
			err = x.input(ctx, m.Data)
		case m.Op == websocket.Text:
			err = x.control(m.Data)
		}
		if err != nil {
			x.end(err)
		}
	}
}

// closed answers the client's close frame in kind.
func (x *session) closed(data []byte) error {
	why, err := websocket.ParseClose(data)
	switch {
	case err != nil:
		return err
	case why.Code == websocket.CodeNone:
		why.Code = websocket.CodeNormal
	}
	return fmt.Errorf("%w: %w", errGone, &websocket.Error{Code: why.Code, Reason: ""})
}

func policy(text string) error { return &websocket.Error{Code: websocket.CodePolicy, Reason: text} }

// input takes bytes for the program.
func (x *session) input(ctx context.Context, data []byte) error {
	switch {
	case x.child == nil:
		return policy("data before Initialize")
	case x.complete:
		return nil
	case x.received-x.written.Load() >= execapi.MaxOutstanding:
		return &websocket.Error{Code: websocket.CodeTooBig, Reason: "write buffer full; obey capacity updates"}
	}
	for x.pending.Load() > maxPending {
		select {
		case <-x.taken:
		case <-ctx.Done():
			return nil
		}
	}
	x.received++
	x.pending.Add(int64(len(data)))
	x.queue <- data // there is always room: see above
	return nil
}

// control carries out a message that is not for the program.
func (x *session) control(data []byte) error {
	m, err := execapi.ParseClient(data)
	switch {
	case err != nil:
		return &websocket.Error{Code: websocket.CodeInvalidData, Reason: "unreadable message: " + err.Error()}
	case m.Initialize != nil && x.child != nil:
		return policy("Initialize was sent already")
	case m.Initialize != nil:
		return x.start(m.Initialize)
	case m.Winch != nil:
		if x.child != nil {
			x.child.resize(*m.Winch)
		}
		return nil
	case x.child == nil:
		return policy("ContentComplete before Initialize")
	}
	if !x.complete {
		x.complete = true
		x.queue <- nil
	}
	return nil
}

// start starts the program and what moves its bytes.
func (x *session) start(init *execapi.Initialize) error {
	c, err := start(x.server.cfg.Argv, init)
	if err != nil {
		x.log.Warn("exec failed", "target", init.Target, "error", err)
		if _, ok := errors.AsType[*websocket.Error](err); ok {
			return err
		}
		return &websocket.Error{Code: websocket.CodeInternal, Reason: "unable to start the program: " + err.Error()}
	}
	x.child = c
	// Arguments may be secret.
	x.log.Info("exec started", "target", init.Target, "program", string(init.Command[0]), "tty", init.TTY != nil, "pid", c.pid)
	x.capacity()
	x.parts.Go(func() { x.feed() })
	x.parts.Go(func() {
		x.forward()
		<-c.done
		x.end(&websocket.Error{Code: websocket.CodeNormal, Reason: strconv.Itoa(c.code)})
	})
	return nil
}

// capacity tells the client how many of its messages the program was given. A client that does not hear it is gone, and
// the reading side notices.
func (x *session) capacity() {
	text, err := json.Marshal(execapi.ServerMessage{Capacity: execapi.Capacity{MaxOutstanding: execapi.MaxOutstanding, Written: x.written.Load()}})
	if err == nil {
		_ = x.ws.Send(websocket.Text, text)
	}
}

// feed gives the program its input. It ends with the program.
func (x *session) feed() {
	broken := false
	last := byte('\n')
	for {
		var data []byte
		select {
		case data = <-x.queue:
		case <-x.child.done:
			return
		}
		if data == nil {
			x.child.endInput(last)
			continue
		}
		if len(data) > 0 && !broken {
			last = data[len(data)-1]
			_, err := x.child.in.Write(data)
			// That a program does not want its input is its own business; it will end with a code that says so or not.
			broken = err != nil
			if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.EIO) && !errors.Is(err, os.ErrClosed) {
				x.end(&websocket.Error{Code: websocket.CodeInternal, Reason: "unable to write to the program: " + err.Error()})
			}
		}
		x.pending.Add(-int64(len(data)))
		select {
		case x.taken <- struct{}{}:
		default:
		}
		if x.written.Add(1)%execapi.CapacityEvery == 0 {
			x.capacity()
		}
	}
}

// forward sends the program's output, until it has ended and nothing is left. Nobody may listen any more: the program
// then still gets rid of it.
func (x *session) forward() {
	buf := make([]byte, outputSize)
	listening := true
	for after := 0; after < maxDrain; {
		ended := false
		select {
		case <-x.child.done:
			ended = true
			_ = x.child.out.SetReadDeadline(time.Now().Add(drainPause))
		default:
		}
		n, err := x.child.out.Read(buf)
		if n > 0 && listening {
			listening = x.ws.Send(websocket.Binary, buf[:n]) == nil
		}
		if ended {
			after += n
		}
		if err != nil && (ended || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return // the end; of a terminal it is an error
		}
	}
}

// heartbeat shows the client that the server is there.
func (x *session) heartbeat(ctx context.Context) {
	tick := time.NewTicker(x.server.cfg.limits.ping)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case data := <-x.pongs:
			err = x.ws.Send(websocket.Pong, data)
		case <-tick.C:
			err = x.ws.Send(websocket.Ping, nil)
		}
		if err != nil {
			x.end(fmt.Errorf("%w: %w", errGone, err))
			return
		}
	}
}

// exitCode is how shells write down an end.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}
