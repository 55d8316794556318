// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// apiSocket is the listener of the API socket, and keeps that where its clients look for it: when somebody removes the
// socket or puts something in its place, it listens anew, once the place is free. Connections that are there go on.
//
// It does not fight: a socket that another process serves is left alone, whoever that is. This daemon has the lock on the
// settings, so it stays and waits for the place; ending would leave the host with nobody who has them.
type apiSocket struct {
	path string
	gid  int
	log  *slog.Logger

	accepted chan accepted // by whichever listener
	done     chan struct{} // closed when that is over
	serving  sync.WaitGroup

	mu       sync.Mutex
	listener *net.UnixListener
	file     fileID
	given    bool // by the service manager, whose socket stays when we go
	closed   bool

	// Of Keep.
	told    string    // what is in the way, as far as it was logged
	dead    fileID    // a socket in our place that nobody listens on
	refused time.Time // since when it was seen to
}

type accepted struct {
	conn net.Conn
	err  error
}

const (
	// drainTime is how long a socket that is gone is listened on. Nobody finds it any more, so this is for those who were
	// just connecting.
	drainTime = 10 * time.Millisecond

	// deadAfter is how long a socket in our place may refuse connections: between bind and listen each one does.
	deadAfter = time.Second

	// lookAgain is when to look again for what makes no event: the end of a process that served a socket in our place, or
	// of what kept us from making our own.
	lookAgain = 5 * time.Second
)

// newAPISocket makes the socket, or takes the one that the service manager holds: that one outlives this daemon, so that
// whoever has it mounted, such as a container, finds the next daemon behind it.
func newAPISocket(ctx context.Context, path string, gid int, given *net.UnixListener, log *slog.Logger) (*apiSocket, error) {
	listener := given
	if given != nil {
		given.SetUnlinkOnClose(false)
		if err := probe(ctx, path); err != nil { // somebody has removed it
			log.Warn("the service manager's API socket cannot be reached, making one", "path", path, "error", err)
			_ = given.Close()
			given = nil
		}
	}
	if given == nil {
		var err error
		if listener, err = listen(ctx, path, gid); err != nil {
			return nil, err
		}
	}
	file, err := identify(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making the API socket: %w", err), listener.Close())
	}
	s := &apiSocket{
		path: path, gid: gid, log: log, listener: listener, file: file, given: given != nil,
		accepted: make(chan accepted), done: make(chan struct{}),
	}
	s.serving.Go(func() { s.serve(listener) })
	return s, nil
}

// serve hands out the connections that are made to one listener, until that is closed or was replaced.
func (s *apiSocket) serve(l *net.UnixListener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, os.ErrDeadlineExceeded) { // replaced, and the time for stragglers is over
			if !waiting(l) {
				_ = l.Close()
				return
			}
			_ = l.SetDeadline(time.Now().Add(drainTime))
			continue
		}
		select {
		case s.accepted <- accepted{conn, err}:
		case <-s.done:
			if err == nil {
				_ = conn.Close()
			}
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

// waiting reports whether a client has connected that nobody has accepted yet.
func waiting(l *net.UnixListener) (yes bool) {
	raw, err := l.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		yes = err == nil && n > 0
	})
	return yes && err == nil
}

// Accept implements net.Listener.
func (s *apiSocket) Accept() (net.Conn, error) {
	select {
	case a := <-s.accepted:
		return a.conn, a.err
	case <-s.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. The socket goes, unless it is the service manager's, or somebody else's by now.
func (s *apiSocket) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	var err error
	if found, wrong := identify(s.path); wrong == nil && found == s.file && !s.given {
		err = os.Remove(s.path)
	}
	err = errors.Join(err, s.listener.Close())
	s.mu.Unlock()
	close(s.done)
	s.serving.Wait()
	return err
}

// Addr implements net.Listener.
func (s *apiSocket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

// Keep keeps the socket in its place until ctx ends.
func (s *apiSocket) Keep(ctx context.Context) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		s.log.Warn("API socket not watched: if it is removed, the daemon must be restarted", "error", err)
		return
	}
	defer watcher.Close()
	dir := filepath.Dir(s.path)
	for {
		// Watch first, look afterwards: what happens in between is not missed.
		err := os.MkdirAll(dir, 0o755)
		if err == nil {
			err = watcher.Add(dir)
		}
		wait := lookAgain
		if err != nil {
			s.tell("API socket not watched", err)
		} else {
			wait = s.look(ctx)
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		for relevant := false; !relevant; {
			select {
			case <-ctx.Done():
				return
			case <-timer:
				relevant = true
			case e := <-watcher.Events:
				relevant = e.Name == s.path || e.Name == dir
			case err := <-watcher.Errors:
				s.log.Debug("events of the API socket may be lost, looking at it", "error", err)
				relevant = true
			}
		}
	}
}

// look sees to it that the socket is in its place. It returns when to look again although nothing happens; 0: never.
func (s *apiSocket) look(ctx context.Context) time.Duration {
	found, err := identify(s.path)
	switch {
	case err == nil && found == s.file:
		s.told = ""
		return 0
	case err == nil:
		err = probe(ctx, s.path)
	}
	switch {
	case err == nil:
		s.tell("API socket taken: stop what serves it, then this daemon listens again", errors.New("another process serves it"))
		return lookAgain
	case errors.Is(err, unix.ECONNREFUSED):
		if found != s.dead {
			s.dead, s.refused = found, time.Now()
		}
		if left := deadAfter - time.Since(s.refused); left > 0 {
			return left
		}
		if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.tell("API socket gone", err)
			return lookAgain
		}
	case !errors.Is(err, fs.ErrNotExist):
		s.tell("API socket gone: remove what is in its place, then this daemon listens again", err)
		return lookAgain
	}
	return s.renew(ctx)
}

// renew makes the socket anew where nothing is.
func (s *apiSocket) renew(ctx context.Context) time.Duration {
	listener, err := bind(ctx, s.path, s.gid)
	var file fileID
	if err == nil {
		if file, err = identify(s.path); err != nil {
			_ = listener.Close()
		}
	}
	if errors.Is(err, unix.EADDRINUSE) || errors.Is(err, fs.ErrNotExist) {
		return lookAgain // somebody was faster, or the socket is gone again, and the event is on its way
	}
	if err != nil {
		s.tell("API socket gone and not made anew", err)
		return lookAgain
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = errors.Join(os.Remove(s.path), listener.Close()) // the daemon ends
		return 0
	}
	_ = s.listener.SetDeadline(time.Now().Add(drainTime))
	s.listener, s.file, s.given = listener, file, false
	s.serving.Go(func() { s.serve(listener) })
	s.told, s.dead = "", fileID{}
	s.log.Warn("API socket was gone, listening again", "path", s.path)
	return 0
}

// tell logs what is in the way, once.
func (s *apiSocket) tell(message string, err error) {
	if text := message + err.Error(); text != s.told {
		s.told = text
		s.log.Error(message, "path", s.path, "error", err)
	}
}
