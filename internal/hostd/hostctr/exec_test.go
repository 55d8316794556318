// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostctr

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/osimage"
	"github.com/drydock-os/drydock/internal/pty"
	"github.com/drydock-os/drydock/internal/slot"
	"github.com/drydock-os/drydock/internal/testutil/containerdtest"
	"github.com/drydock-os/drydock/internal/tuf"
)

// api is the host daemon of a machine.
type api struct {
	*machine
	hostd, socket string
	stop          func() // and waits
}

// serve starts the host daemon as on any host: nothing says how commands get into containers.
func (m *machine) serve() *api {
	t := m.t
	t.Helper()
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	repo := filepath.Join(t.TempDir(), "repo")
	if _, err := tuf.Init(t.Context(), repo, filepath.Join(t.TempDir(), "keys"), tuf.InitOptions{Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	image, err := osimage.Build(t.Context(), osimage.Spec{
		Variant: "metal", Arch: arch, Version: "1.0.0", Files: map[string]osimage.File{"/usr/share/updog/root.json": {Path: filepath.Join(repo, "root.json")}},
	}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(t.TempDir(), "disk.img")
	if err := osimage.WriteDisk(t.Context(), disk, osimage.LayoutFor(0), image); err != nil {
		t.Fatal(err)
	}
	d, err := gpt.OpenFile(disk, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	table, err := slot.Open(d, d.Size())
	if err != nil {
		t.Fatal(err)
	}
	m.write("proc/cmdline", "drydock.boot_uuid="+table.Partition(slot.A, slot.Boot).UUID.String()+"\n")
	m.write("proc/sys/kernel/random/boot_id", "00000000-0000-4000-8000-000000000001\n")
	if err := os.Symlink(containerdtest.Program(t, "github.com/drydock-os/drydock/cmd/host-ctr"), filepath.Join(m.root, "usr/bin/host-ctr")); err != nil {
		t.Fatal(err)
	}
	a := &api{machine: m, hostd: containerdtest.Program(t, "github.com/drydock-os/drydock/cmd/hostd"), socket: filepath.Join(m.root, "run/hostd.sock")}
	daemon := exec.CommandContext(t.Context(), a.hostd, "serve", "--root", m.root, "--disk", disk, "--socket-path", "/run/hostd.sock")
	daemon.Stdout, daemon.Stderr = &m.log, &m.log
	daemon.Cancel = func() error { return daemon.Process.Signal(syscall.SIGTERM) }
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = daemon.Wait() }()
	a.stop = func() { _ = daemon.Cancel(); <-ended }
	t.Cleanup(a.stop)
	m.eventually(t, "the host daemon listens", func() bool {
		c, err := net.Dial("unix", a.socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return a
}

// exec is the client that runs a command of the probe.
func (a *api) exec(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(a.t.Context(), a.hostd, append([]string{"apiclient", "-s", a.socket, "exec"}, args...)...)
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

func code(t *testing.T, err error) int {
	t.Helper()
	ended, ok := errors.AsType[*exec.ExitError](err)
	if err != nil && !ok {
		t.Fatal(err)
	}
	if err == nil {
		return 0
	}
	return ended.ExitCode()
}

// held tells whether the command that holds the lock still lives.
func (a *api) held() bool {
	f, err := os.Open(filepath.Join(a.root, "local/host-containers/probe/lock"))
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil
}

// screen is a person's terminal.
type screen struct {
	t       *testing.T
	control *os.File
	shown   strings.Builder
}

// attach gives a client a terminal.
func attach(t *testing.T, cmd *exec.Cmd) *screen {
	t.Helper()
	control, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = control.Close() })
	if err := pty.SetSize(control, 33, 101); err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = terminal.Close()
	return &screen{t: t, control: control}
}

func (s *screen) await(text string) {
	s.t.Helper()
	_ = s.control.SetReadDeadline(time.Now().Add(time.Minute))
	buf := make([]byte, 1<<10)
	for !strings.Contains(s.shown.String(), text) {
		n, err := s.control.Read(buf)
		s.shown.Write(buf[:n])
		if err != nil && n == 0 {
			s.t.Fatalf("waiting for %q in %q: %v", text, s.shown.String(), err)
		}
	}
	s.shown.Reset()
}

func (s *screen) write(text string) {
	s.t.Helper()
	if _, err := s.control.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// Real programs all the way: apiclient, hostd, host-ctr, containerd, runc.
func TestCommandsReachAHostContainer(t *testing.T) {
	m := newMachine(t)
	a := m.serve()
	r := m.connect(nil)
	_, stop := m.start(r, Container{Name: "probe", Kind: Host, Source: m.source})

	t.Run("output and exit code", func(t *testing.T) {
		out, err := a.exec("probe", "/program", "exit", "7").Output()
		if c := code(t, err); c != 7 || !bytes.Contains(out, []byte("out\n")) || !bytes.Contains(out, []byte("err\n")) {
			t.Errorf("exit code %d, output %q", c, out)
		}
	})
	t.Run("input", func(t *testing.T) {
		for _, text := range []string{"", "words\n", strings.Repeat("0123456789", 50_000)} {
			cmd := a.exec("probe", "/program", "cat")
			cmd.Stdin = strings.NewReader(text)
			out, err := cmd.Output()
			if err != nil || string(out) != text {
				t.Errorf("%d bytes came back of %d: %v", len(out), len(text), err)
			}
		}
	})
	t.Run("the environment is the container's", func(t *testing.T) {
		out, err := a.exec("probe", "/program", "env").Output()
		if err != nil || !bytes.Contains(out, []byte("FROM=image\n")) || bytes.Contains(out, []byte("TERM=")) {
			t.Errorf("%q %v", out, err)
		}
	})
	t.Run("no such container, no such program", func(t *testing.T) {
		out, err := a.exec("nobody", "/program", "env").Output()
		if c := code(t, err); c != 1 || !bytes.Contains(out, []byte("the container does not run")) {
			t.Errorf("exit code %d, output %q", c, out)
		}
		out, err = a.exec("probe", "/nothing").Output()
		if c := code(t, err); c != 1 || !bytes.Contains(out, []byte("/nothing")) {
			t.Errorf("exit code %d, output %q", c, out)
		}
	})
	t.Run("a terminal that changes its size", func(t *testing.T) {
		cmd := a.exec("probe", "/program", "terminal")
		s := attach(t, cmd)
		s.await("size 33 101\r\n")
		if err := pty.SetSize(s.control, 12, 34); err != nil {
			t.Fatal(err)
		}
		s.await("size 12 34\r\n")
		s.write("hello\r")
		s.await(`line "hello\n"`)
		if c := code(t, cmd.Wait()); c != 5 {
			t.Errorf("exit code %d", c)
		}
	})
	told := filepath.Join(m.root, "local/host-containers/probe/told")
	t.Run("a key that is a signal", func(t *testing.T) {
		cmd := a.exec("-t", "probe", "/program", "hold")
		s := attach(t, cmd)
		s.await("holding")
		s.write("\x03")
		if c := code(t, cmd.Wait()); c != 9 {
			t.Errorf("exit code %d", c)
		}
		if text, err := os.ReadFile(told); string(text) != "interrupt" {
			t.Errorf("%q %v", text, err)
		}
	})
	for name, tty := range map[string]bool{"a client that is gone": false, "a client with a terminal that is gone": true} {
		t.Run(name, func(t *testing.T) {
			_ = os.Remove(told)
			cmd := a.exec("-T", "probe", "/program", "hold")
			if tty {
				cmd = a.exec("-t", "probe", "/program", "hold")
				attach(t, cmd).await("holding")
			} else {
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(out, make([]byte, len("holding"))); err != nil {
					t.Fatal(err)
				}
			}
			if !a.held() {
				t.Fatal("nobody holds the lock")
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			m.eventually(t, "the command ends with its client", func() bool { return !a.held() })
			if _, err := os.Stat(told); err != nil {
				t.Errorf("it was not asked to end: %v", err)
			}
		})
	}
	t.Run("a container that stops", func(t *testing.T) {
		cmd := a.exec("-t", "probe", "/program", "hold")
		attach(t, cmd).await("holding")
		if err := stop(); err != nil {
			t.Error(err)
		}
		if c := code(t, cmd.Wait()); c == 0 {
			t.Error("the command has ended well")
		}
		if a.held() {
			t.Error("the command lives")
		}
	})
	_, stop = m.start(r, Container{Name: "probe", Kind: Host, Source: m.source})
	t.Run("none outlives the host daemon", func(t *testing.T) {
		cmd := a.exec("-t", "probe", "/program", "stubborn")
		attach(t, cmd).await("holding")
		a.stop()
		if c := code(t, cmd.Wait()); c != 1 {
			t.Errorf("exit code %d", c)
		}
		m.eventually(t, "the command has ended", func() bool { return !a.held() })
	})
	if err := stop(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Join(m.root, fifoDir)); err != nil || len(left) > 0 {
		t.Errorf("left in %s: %v, %v", fifoDir, left, err)
	}
}
