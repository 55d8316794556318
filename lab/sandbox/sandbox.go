// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package sandbox runs this program a second time inside a user, network, mount and pid namespace of
// its own. What happens in there cannot be seen on, or collide with, the machine's network, and when
// the second program ends, however it ends, the kernel ends every process and mount it made.
//
// The program outside stays as the keeper: it passes signals on, dies with or after the inner one and,
// where asked, accepts connections on a loopback port and hands them in (see Listen).
package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// innerEnv marks the program inside; its value is the file descriptor of the keeper's socket.
const innerEnv = "DRYDOCK_LAB_INSIDE"

// keeperFD is the descriptor under which the inner program finds the keeper's socket: the first after
// the three standard ones, which is where exec.Cmd puts the first extra file.
const keeperFD = 3

// ErrUnavailable means that this machine does not let this user make the namespaces the lab needs.
var ErrUnavailable = errors.New("this machine allows no private namespaces")

// Inside reports whether the calling program is the inner one.
func Inside() bool { return os.Getenv(innerEnv) != "" }

// Keep runs the program again inside fresh namespaces, with the same arguments, standard streams and
// environment, and returns its exit code. The listeners are served for it meanwhile. The first
// interrupt or termination signal is passed on; the second ends the inner program at once, and a
// cancelled ctx counts as a termination signal.
//
// It must be called on the main thread: the inner program is tied to the life of the thread that
// starts it. Errors wrap ErrUnavailable when the namespaces cannot be had.
func Keep(ctx context.Context, listeners ...*Listener) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	ours, theirs, err := socketPair()
	if err != nil {
		return 0, err
	}
	defer ours.Close()
	defer theirs.Close()

	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("finding this program's file: %w", err)
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", innerEnv, keeperFD))
	cmd.ExtraFiles = []*os.File{theirs}
	if cmd.SysProcAttr, err = namespaces(); err != nil {
		return 0, err
	}

	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)

	if err := cmd.Start(); err != nil {
		if isRefusal(err) {
			return 0, fmt.Errorf("%w: %v", ErrUnavailable, err)
		}
		return 0, fmt.Errorf("starting inside new namespaces: %w", err)
	}
	theirs.Close()

	done := make(chan struct{})
	go passSignals(ctx, cmd.Process, signals, done)
	serving, stop := context.WithCancel(ctx)
	served := make(chan struct{})
	go func() { defer close(served); serve(serving, ours, listeners) }()

	err = cmd.Wait()
	close(done)
	stop()
	<-served
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode(), nil
	default:
		return 1, fmt.Errorf("running inside new namespaces: %w", err)
	}
}

// passSignals asks the inner program to stop on the first signal and ends it on the second.
func passSignals(ctx context.Context, p *os.Process, signals <-chan os.Signal, done <-chan struct{}) {
	asked := false
	cancelled := ctx.Done()
	for {
		select {
		case <-done:
			return
		case <-cancelled:
			cancelled = nil // answer it once
		case <-signals:
		}
		if asked {
			_ = p.Kill() // pid 1 of the namespace: the kernel ends all others with it
			continue
		}
		asked = true
		_ = p.Signal(syscall.SIGTERM)
	}
}

// namespaces asks for all the namespaces and makes the caller root inside them. Its own process group
// keeps the terminal's Ctrl-C from reaching every process of the lab at once; only the keeper gets it.
func namespaces() (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Setpgid:    true,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
		return attr, nil
	}
	// Root keeps all ids it has: files of other users stay theirs inside.
	var err error
	if attr.UidMappings, err = identityMap("/proc/self/uid_map"); err != nil {
		return nil, err
	}
	if attr.GidMappings, err = identityMap("/proc/self/gid_map"); err != nil {
		return nil, err
	}
	attr.GidMappingsEnableSetgroups = true
	return attr, nil
}

// identityMap maps every id of the present namespace to itself. The format of the file is in
// user_namespaces(7): first id inside, first id outside, count.
func identityMap(path string) ([]syscall.SysProcIDMap, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading id map: %w", err)
	}
	defer f.Close()
	var maps []syscall.SysProcIDMap
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var inside, outside, count int
		if _, err := fmt.Sscan(lines.Text(), &inside, &outside, &count); err != nil {
			return nil, fmt.Errorf("reading id map %s: line %q: %w", path, lines.Text(), err)
		}
		maps = append(maps, syscall.SysProcIDMap{ContainerID: inside, HostID: inside, Size: count})
	}
	return maps, nil
}

// isRefusal tells a machine that has no user namespaces (or no more of them) from other trouble;
// the codes are those of clone(2).
func isRefusal(err error) bool {
	for _, code := range []syscall.Errno{unix.EPERM, unix.EACCES, unix.ENOSPC, unix.EINVAL, unix.EUSERS, unix.ENOSYS} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// Hint says what a person can do about ErrUnavailable on this machine.
func Hint() string {
	for _, knob := range []string{"kernel/unprivileged_userns_clone", "user/max_user_namespaces"} {
		if v, err := os.ReadFile("/proc/sys/" + knob); err == nil && strings.TrimSpace(string(v)) == "0" {
			return fmt.Sprintf("as root, run 'sysctl -w %s=%d', or run the lab as root",
				strings.ReplaceAll(knob, "/", "."), map[bool]int{true: 1, false: 10000}[strings.HasPrefix(knob, "kernel")])
		}
	}
	if v, err := os.ReadFile("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"); err == nil && strings.TrimSpace(string(v)) == "1" {
		return "as root, run 'sysctl -w kernel.apparmor_restrict_unprivileged_userns=0', or run the lab as root"
	}
	return "run the lab as root, or allow user namespaces (in a container: start it with --privileged)"
}
