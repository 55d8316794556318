// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package containers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/internal/durable"
	"github.com/drydock-os/drydock/internal/hostd/rootdir"
)

// Unit is what runs one container.
type Unit struct {
	Kind, Name string
	Container  Container
}

func (u Unit) String() string { return u.Kind + "@" + u.Name + ".service" }

// id is the container's in containerd.
func (u Unit) id() string {
	if u.Kind == Bootstrap {
		return "boot." + u.Name
	}
	return u.Name
}

// arguments of host-ctr that run the container, as the unit's file has them.
func (u Unit) arguments() []string {
	return []string{
		"run", "--container-id", u.id(), "--source", u.Container.Source, "--superpowered=" + strconv.FormatBool(u.Container.Superpowered),
		"--container-type", strings.TrimSuffix(u.Kind, "-containers"), "--registry-config", "/etc/host-containers/host-ctr.toml",
	}
}

// Units starts and stops units.
type Units interface {
	Booted(context.Context) (bool, error) // whether units may start at once
	Stop(context.Context, Unit) error
	Enable(ctx context.Context, u Unit, now bool) error
	Disable(context.Context, Unit) error
}

// units returns the service manager. A host that is only a directory has one when it brings /usr/bin/systemctl, as with
// commands of services; without one, containers are processes of the machine.
func (c Config) units() Units {
	if c.Units != nil {
		return c.Units
	}
	if filepath.Clean(c.Root) != "/" && !exists(filepath.Join(c.Root, "usr/bin/systemctl")) {
		return processes{c.Root}
	}
	return systemctl{c.Root}
}

func program(ctx context.Context, root, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(root, "usr/bin", name), args...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = os.Stderr, os.Stderr, 2*time.Second
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd
}

// hostCtr is host-ctr of the host, for the same host.
func hostCtr(ctx context.Context, root string, args ...string) *exec.Cmd {
	if filepath.Clean(root) != "/" {
		args = append(args, "--root", root)
	}
	cmd := program(ctx, root, "host-ctr", args...)
	cmd.Env = append(os.Environ(), rootdir.Variable+"="+root) // an original host-ctr knows no --root
	return cmd
}

// systemctl is the service manager of a host.
type systemctl struct{ root string }

func (s systemctl) run(ctx context.Context, args ...string) error {
	if err := program(ctx, s.root, "systemctl", args...).Run(); err != nil {
		return fmt.Errorf("systemctl %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// Booted asks for the target: before the last one of a boot, what is enabled starts by itself.
func (s systemctl) Booted(ctx context.Context) (bool, error) {
	cmd := program(ctx, s.root, "systemctl", "get-default")
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		return false, fmt.Errorf("systemctl get-default: %w", err)
	}
	return strings.TrimSpace(out.String()) == "multi-user.target", nil
}

func (s systemctl) Stop(ctx context.Context, u Unit) error { return s.run(ctx, "stop", u.String()) }

func (s systemctl) Enable(ctx context.Context, u Unit, now bool) error {
	if now {
		return s.run(ctx, "enable", "--now", "--no-block", u.String())
	}
	return s.run(ctx, "enable", u.String())
}

func (s systemctl) Disable(ctx context.Context, u Unit) error {
	return s.run(ctx, "disable", u.String())
}

// processes runs host containers of a host that is only a directory. Each has a host-ctr that starts it again when it ends.
type processes struct{ root string }

const (
	stopLimit = 60 * time.Second // as the unit's
	pidDir    = "run/host-containers"
)

func (p processes) Booted(context.Context) (bool, error) { return true, nil }

func (p processes) pidFile(u Unit) string { return filepath.Join(p.root, pidDir, u.Name+".pid") }

func (p processes) Enable(ctx context.Context, u Unit, now bool) error {
	if !now || u.Kind != Host {
		return nil
	}
	dir := filepath.Join(p.root, pidDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(dir, u.Name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := hostCtr(context.WithoutCancel(ctx), p.root, append(u.arguments(), "--restart")...) // outlives this program
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	return durable.WriteFile(p.pidFile(u), []byte(strconv.Itoa(cmd.Process.Pid)+"\n"), 0o644)
}

func (p processes) Disable(context.Context, Unit) error { return nil }

// Stop stops the process that was started for a unit, if it is still that one.
func (p processes) Stop(ctx context.Context, u Unit) error {
	text, err := os.ReadFile(p.pidFile(u))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return os.Remove(p.pidFile(u))
	}
	fd, err := unix.PidfdOpen(pid, 0) // stays that process, whoever gets the number next
	if err == nil {
		defer unix.Close(fd)
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if bytes.Contains(line, []byte("--container-id\x00"+u.id()+"\x00")) && bytes.Contains(line, []byte("--root\x00"+p.root+"\x00")) {
			if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
			if err := awaitEnd(ctx, fd); err != nil {
				return fmt.Errorf("stopping %s: %w", u, err)
			}
		}
	}
	return os.Remove(p.pidFile(u))
}

func awaitEnd(ctx context.Context, pidfd int) error {
	deadline := time.Now().Add(stopLimit)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return errors.New("it does not end")
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(min(left, time.Second).Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n > 0 {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
