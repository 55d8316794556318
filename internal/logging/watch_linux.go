// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package logging

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// watch tells when something in a directory has changed, until ctx ends; then it closes the channel. Several changes
// may be one message. It is inotify without a library: agents link nothing but the standard one.
func watch(ctx context.Context, dir string) (<-chan struct{}, error) {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watching %s: %w", dir, err)
	}
	events := os.NewFile(uintptr(fd), "inotify") // not blocking, so that Close ends a Read
	const mask = syscall.IN_CREATE | syscall.IN_MOVED_TO | syscall.IN_MOVED_FROM | syscall.IN_DELETE | syscall.IN_CLOSE_WRITE
	if _, err := syscall.InotifyAddWatch(fd, dir, mask); err != nil {
		return nil, fmt.Errorf("watching %s: %w", dir, errors.Join(err, events.Close()))
	}
	changes := make(chan struct{}, 1)
	stop := context.AfterFunc(ctx, func() { _ = events.Close() })
	go func() {
		defer close(changes)
		defer stop()
		buf := make([]byte, 4096) // what changed is of no interest: all is read again
		for {
			if _, err := events.Read(buf); err != nil {
				_ = events.Close()
				return
			}
			select {
			case changes <- struct{}{}:
			default:
			}
		}
	}()
	return changes, nil
}
