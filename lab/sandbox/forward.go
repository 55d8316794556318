// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// dialLimit bounds connecting to a service inside; it is on the same machine.
const dialLimit = 5 * time.Second

// Listener is a loopback port outside whose connections are handed to the inner program.
type Listener struct {
	// Name tells the inner program where a connection is meant to go.
	Name string
	tcp  *net.TCPListener
}

// Listen opens a port on 127.0.0.1 of the machine; port 0 takes any free one. It is called by the
// keeper, before Keep, so that a port in use is refused before anything starts.
func Listen(name string, port int) (*Listener, error) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return nil, fmt.Errorf("opening port %d for the %s: %w", port, name, err)
	}
	return &Listener{Name: name, tcp: l}, nil
}

// Addr returns the address and port outside, such as 127.0.0.1:40123.
func (l *Listener) Addr() string { return l.tcp.Addr().String() }

// Close gives the port up.
func (l *Listener) Close() error { return l.tcp.Close() }

// serve accepts on every listener and passes each connection through the socket, until ctx ends.
func serve(ctx context.Context, to *net.UnixConn, listeners []*Listener) {
	var wg sync.WaitGroup
	for _, l := range listeners {
		wg.Go(func() {
			for {
				conn, err := l.tcp.AcceptTCP()
				if err != nil {
					return // closed below
				}
				pass(to, l.Name, conn)
			}
		})
	}
	<-ctx.Done()
	for _, l := range listeners {
		l.Close()
	}
	wg.Wait()
}

// pass hands one connection in and forgets it; the inner program owns it from then on.
func pass(to *net.UnixConn, name string, conn *net.TCPConn) {
	defer conn.Close()
	f, err := conn.File()
	if err != nil {
		return
	}
	defer f.Close()
	// A full or closed socket loses this connection; its client sees it closed.
	_, _, _ = to.WriteMsgUnix([]byte(name), unix.UnixRights(int(f.Fd())), nil)
}

// Receive takes the connections that the keeper hands in and copies each to and from the address that
// targets names for it. It returns when ctx ends, after all copying has.
func Receive(ctx context.Context, targets map[string]string, log *slog.Logger) error {
	file := os.NewFile(keeperFD, "keeper")
	fc, err := net.FileConn(file)
	file.Close()
	if err != nil {
		return fmt.Errorf("opening the keeper's socket: %w", err)
	}
	from := fc.(*net.UnixConn)
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() { from.Close() })
	defer stop()
	name, rights := make([]byte, 64), make([]byte, unix.CmsgSpace(4))
	for {
		n, rn, _, _, err := from.ReadMsgUnix(name, rights)
		if ctx.Err() != nil || errors.Is(err, io.EOF) || err == nil && n == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receiving a connection from the keeper: %w", err)
		}
		conn, err := received(rights[:rn])
		if err != nil {
			log.Warn("connection from outside lost", "to", string(name[:n]), "error", err)
			continue
		}
		target := targets[string(name[:n])]
		wg.Go(func() {
			if err := splice(ctx, conn, target); err != nil {
				log.Debug("connection from outside ended", "to", target, "error", err)
			}
		})
	}
}

// received turns the control message of one datagram into the connection it carries.
func received(rights []byte) (net.Conn, error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("reading control message: %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("reading passed descriptor: %w", err)
	}
	f := os.NewFile(uintptr(fds[0]), "connection")
	defer f.Close()
	return net.FileConn(f)
}

// splice copies both ways until one side ends or ctx does.
func splice(ctx context.Context, outer net.Conn, target string) error {
	defer outer.Close()
	dialer := net.Dialer{Timeout: dialLimit}
	inner, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		return err
	}
	defer inner.Close()
	stop := context.AfterFunc(ctx, func() { outer.Close(); inner.Close() })
	defer stop()
	ended := make(chan error, 2)
	oneWay := func(to, from net.Conn) {
		_, err := io.Copy(to, from)
		if half, ok := to.(*net.TCPConn); ok {
			_ = half.CloseWrite()
		}
		ended <- err
	}
	go oneWay(inner, outer)
	go oneWay(outer, inner)
	return errors.Join(<-ended, <-ended)
}

// socketPair makes the socket between keeper and inner program; datagrams keep a name and its
// descriptor together.
func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making the keeper's socket: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "inner")
	f := os.NewFile(uintptr(fds[0]), "keeper")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("making the keeper's socket: %w", err)
	}
	return c.(*net.UnixConn), theirs, nil
}
