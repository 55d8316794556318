// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/internal/hostd/server"
)

// ErrRunning means that another daemon serves the socket.
var ErrRunning = errors.New("a host daemon is already running")

// maxSocketPath is what fits into a sockaddr_un with its final zero byte.
const maxSocketPath = 107

// listen makes the API socket, readable and writable by its owner and group only. A socket that an earlier daemon has
// left behind is replaced; one that somebody still serves is not.
func listen(path string, gid int) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("making the API socket: the path %s has %d bytes, the system allows %d", path, len(path), maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making the API socket: %w", err)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		_ = conn.Close()
		return nil, fmt.Errorf("%w: it answers on %s", ErrRunning, path)
	case errors.Is(err, unix.ECONNREFUSED):
		if info, err := os.Lstat(path); err != nil || info.Mode().Type() != fs.ModeSocket {
			return nil, fmt.Errorf("making the API socket: %s exists and is not a socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("making the API socket: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("making the API socket: %w", err)
	}
	// Between bind and chmod nobody else may connect. The mask is that of the whole process, but this is at its start.
	old := unix.Umask(0o117)
	listener, err := net.Listen("unix", path)
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("making the API socket: %w", err)
	}
	if gid >= 0 {
		err = os.Chown(path, -1, gid)
	}
	if err = errors.Join(err, os.Chmod(path, 0o660)); err != nil {
		return nil, fmt.Errorf("making the API socket: %w", errors.Join(err, listener.Close()))
	}
	return listener, nil
}

// socketRights are those that go with a socket: its group may do what the daemon's own user may.
func socketRights(path string) (*server.Rights, error) {
	var info unix.Stat_t
	if err := unix.Stat(path, &info); err != nil {
		return nil, fmt.Errorf("reading the group of the API socket: %w", err)
	}
	return &server.Rights{Owner: uint32(os.Geteuid()), Group: info.Gid}, nil
}

// notify tells the service manager something, such as READY=1, as sd_notify(3) describes.
func notify(socket, state string) error {
	if socket == "" {
		return nil
	}
	if socket[0] == '@' { // a name in the abstract namespace
		socket = "\x00" + socket[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notifying the service manager: %w", err)
	}
	_, err = conn.Write([]byte(state))
	if err := errors.Join(err, conn.Close()); err != nil {
		return fmt.Errorf("notifying the service manager: %w", err)
	}
	return nil
}
