// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/internal/hostd/server"
)

// ErrRunning means that another daemon serves the socket.
var ErrRunning = errors.New("a host daemon is already running")

// errNoSocket means that something that is no socket has its place.
var errNoSocket = errors.New("it exists and is not a socket")

// maxSocketPath is what fits into a sockaddr_un with its final zero byte.
const maxSocketPath = 107

// fileID tells files apart, also of the same name. A socket keeps its own as long as somebody listens on it.
type fileID struct{ dev, ino uint64 }

func identify(path string) (fileID, error) {
	var info unix.Stat_t
	if err := unix.Lstat(path, &info); err != nil {
		return fileID{}, err
	}
	return fileID{info.Dev, info.Ino}, nil
}

// probe asks whether somebody serves the socket at path: nil if so, else fs.ErrNotExist, unix.ECONNREFUSED for a socket
// that nobody listens on, errNoSocket, or why it is not known.
func probe(ctx context.Context, path string) error {
	if info, err := os.Lstat(path); err != nil {
		return err
	} else if info.Mode().Type() != fs.ModeSocket {
		return errNoSocket
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	return conn.Close()
}

// listen makes the API socket, readable and writable by its owner and group only. A socket that an earlier daemon has
// left behind is replaced; one that somebody still serves is not.
func listen(ctx context.Context, path string, gid int) (*net.UnixListener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("making the API socket: the path %s has %d bytes, the system allows %d", path, len(path), maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making the API socket: %w", err)
	}
	switch err := probe(ctx, path); {
	case err == nil:
		return nil, fmt.Errorf("%w: it answers on %s", ErrRunning, path)
	case errors.Is(err, unix.ECONNREFUSED):
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("making the API socket: %w", err)
		}
	case errors.Is(err, errNoSocket):
		return nil, fmt.Errorf("making the API socket: %s: %w", path, err)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("making the API socket: %w", err)
	}
	listener, err := bind(ctx, path, gid)
	if err != nil {
		return nil, fmt.Errorf("making the API socket: %w", err)
	}
	return listener, nil
}

// bind makes a socket at path, where nothing must be, and listens on it.
func bind(ctx context.Context, path string, gid int) (*net.UnixListener, error) {
	listener, err := bindPrivate(ctx, path)
	if err != nil {
		return nil, err
	}
	if gid >= 0 {
		err = os.Lchown(path, -1, gid)
	}
	if err = errors.Join(err, os.Chmod(path, 0o660)); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	listener.SetUnlinkOnClose(false) // by then it may be the name of somebody else's
	return listener, nil
}

// bindPrivate makes a socket that only its owner may connect to. The file gets the mode of the socket, less the process's
// mask, which stays what it is: it is that of all goroutines, and some of them make files.
func bindPrivate(ctx context.Context, path string) (*net.UnixListener, error) {
	private := func(_, _ string, c syscall.RawConn) error {
		var wrong error
		err := c.Control(func(fd uintptr) { wrong = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, wrong)
	}
	l, err := (&net.ListenConfig{Control: private}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return l.(*net.UnixListener), nil // as Listen does for "unix"
}

// socketRights are those that go with a socket: its group may do what the daemon's own user may.
func socketRights(path string) (*server.Rights, error) {
	var info unix.Stat_t
	if err := unix.Stat(path, &info); err != nil {
		return nil, fmt.Errorf("reading the group of the API socket: %w", err)
	}
	return &server.Rights{Owner: uint32(os.Geteuid()), Group: info.Gid}, nil
}
