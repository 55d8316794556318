// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package network

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Thread runs f on an operating system thread that is thrown away afterwards, and returns what f returned.
// f may change what belongs to the thread (namespaces, root directory, working directory): nothing else ever
// runs there, and processes that f starts inherit it. f must not hand work that depends on the thread's state
// to another goroutine.
//
// f never runs on the main thread: that one cannot end, and /proc/self is its view of the world.
func Thread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// Keep the main thread occupied, so that the next attempt gets another one.
			result <- Thread(f)
			runtime.UnlockOSThread()
			return
		}
		result <- f() // no unlock: the thread ends with this goroutine
	}()
	return <-result
}
