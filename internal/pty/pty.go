// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package pty makes pseudo terminals. Both ends are files that no other program inherits unless it is given one.
package pty

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Open makes a terminal. What a program at the terminal reads and writes goes over the controlling end, which takes
// deadlines.
func Open() (control, terminal *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making a terminal: %w", err)
	}
	control = os.NewFile(uintptr(fd), "/dev/ptmx")
	// The peer is opened through its other end: the place where terminals are listed may be another one's, or none.
	err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	peer := -1
	if err == nil {
		peer, err = openPeer(fd)
	}
	if err != nil {
		_ = control.Close()
		return nil, nil, fmt.Errorf("making a terminal: %w", err)
	}
	return control, os.NewFile(uintptr(peer), "/dev/pts"), nil
}

func openPeer(fd int) (int, error) {
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return -1, errno
	}
	return int(peer), nil
}

// SetSize tells the programs at a terminal how large it is now.
func SetSize(f *os.File, rows, cols uint16) error {
	return control(f, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
}

// Size returns how large a terminal is.
func Size(f *os.File) (rows, cols uint16, err error) {
	err = control(f, func(fd int) error {
		size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
		if err == nil {
			rows, cols = size.Row, size.Col
		}
		return err
	})
	return rows, cols, err
}

// control calls f with the descriptor and leaves the file as it is, unlike its method Fd.
func control(file *os.File, f func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}
