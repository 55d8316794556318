// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
)

// Inherited returns the socket that the service manager listens on for this process, as sd_listen_fds(3) describes, and
// takes it out of the environment, which programs that are started get. It is nil when there is none.
func Inherited() (*net.UnixListener, error) {
	pid, fds := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if err := os.Unsetenv(name); err != nil {
			return nil, err
		}
	}
	if pid != strconv.Itoa(os.Getpid()) { // for a parent of ours
		return nil, nil
	}
	if fds != "1" {
		return nil, fmt.Errorf("taking the service manager's socket: there are %q, want 1", fds)
	}
	const first = 3
	file := os.NewFile(first, "API socket")
	listener, err := net.FileListener(file)
	err = errors.Join(err, file.Close()) // the listener has a copy
	if err != nil {
		return nil, fmt.Errorf("taking the service manager's socket: %w", err)
	}
	l, ok := listener.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("taking the service manager's socket: it is none of a path but of %s", listener.Addr().Network()), listener.Close())
	}
	return l, nil
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
