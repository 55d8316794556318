// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package networktest runs the tests of a package inside fresh namespaces, where they may configure networks
// and mount file systems without being root and without leaving anything behind.
package networktest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inside is set for the test binary that runs in the namespaces.
const inside = "DRYDOCK_TEST_NAMESPACES"

// Main is the body of a TestMain: it runs the test binary again as root of new user, network, mount and pid
// namespaces, and returns its exit code. Where the machine does not allow that, the tests run in place and
// those that call Need are skipped.
func Main(m *testing.M) int {
	if os.Getenv(inside) == "yes" {
		if err := enter(); err != nil {
			fmt.Fprintln(os.Stderr, "preparing test namespaces:", err)
			return 1
		}
		return m.Run()
	}
	runtime.LockOSThread() // Pdeathsig means the death of this thread
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=yes")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		if err := os.Setenv(inside, err.Error()); err != nil {
			fmt.Fprintln(os.Stderr, "preparing test namespaces:", err)
			return 1
		}
		return m.Run()
	}
	err := cmd.Wait()
	if e, ok := errors.AsType[*exec.ExitError](err); ok && e.Exited() {
		return e.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "running tests in namespaces:", err)
		return 1
	}
	return 0
}

// Need skips a test that cannot run outside of the namespaces.
func Need(t testing.TB) {
	t.Helper()
	if reason := os.Getenv(inside); reason != "yes" {
		t.Skipf("needs user namespaces or root: %s", reason)
	}
}

func enter() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("detaching mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("looking up lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bringing up lo: %w", err)
	}
	return nil
}
