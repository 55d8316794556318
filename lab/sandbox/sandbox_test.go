// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// innerTask selects what the test binary does when it finds itself inside.
const innerTask = "SANDBOX_TEST_TASK"

func TestMain(m *testing.M) {
	if !Inside() {
		os.Exit(m.Run())
	}
	if err := Settle(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
	os.Exit(inner(os.Getenv(innerTask), os.Getenv(innerTask+"_ARG")))
}

// inner is the program inside; what it finds becomes its exit code.
func inner(task, arg string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch task {
	case "look":
		if os.Getpid() != 1 {
			return 10
		}
		others, err := filepath.Glob("/proc/[0-9]*")
		if err != nil || len(others) != 1 {
			return 11 // processes of the machine are visible
		}
		ifaces, err := net.Interfaces()
		if err != nil || len(ifaces) != 1 || ifaces[0].Flags&net.FlagUp == 0 {
			return 12 // not just the loopback interface, up
		}
		if err := exec.Command("sleep", "0").Run(); err != nil {
			return 13
		}
		return 7
	case "orphan": // leaves a process behind that would write into the file later
		cmd := exec.Command("sh", "-c", "echo started >> "+arg+"; sleep 2; echo survived >> "+arg)
		if err := cmd.Start(); err != nil {
			return 20
		}
		for range 200 {
			if data, _ := os.ReadFile(arg); len(data) > 0 {
				return 0
			}
			time.Sleep(10 * time.Millisecond)
		}
		return 21
	case "serve": // answers on a port that exists only inside, until it is told to stop
		l, err := net.Listen("tcp", "127.0.0.1:8099")
		if err != nil {
			return 30
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprintln(c, "hello from inside")
				c.Close()
			}
		}()
		if err := Receive(ctx, map[string]string{"greeter": l.Addr().String()}, slog.New(slog.DiscardHandler)); err != nil {
			return 31
		}
		return 0
	}
	return 98
}

// keepOrSkip runs a task inside and skips the test where namespaces cannot be had.
func keepOrSkip(t *testing.T, ctx context.Context, listeners ...*Listener) int {
	t.Helper()
	code, err := Keep(ctx, listeners...)
	if errors.Is(err, ErrUnavailable) {
		t.Skipf("no namespaces here: %v; %s", err, Hint())
	}
	if err != nil && code == 0 {
		t.Fatal(err)
	}
	return code
}

func TestInsideIsAWorldOfItsOwn(t *testing.T) {
	t.Setenv(innerTask, "look")
	if code := keepOrSkip(t, t.Context()); code != 7 {
		t.Errorf("the program inside ended with %d, want 7", code)
	}
}

func TestNothingSurvivesTheInside(t *testing.T) {
	file := filepath.Join(t.TempDir(), "orphan")
	t.Setenv(innerTask, "orphan")
	t.Setenv(innerTask+"_ARG", file)
	if code := keepOrSkip(t, t.Context()); code != 0 {
		t.Fatalf("the program inside ended with %d", code)
	}
	// The orphan would have written two seconds after its start; Keep returns once the kernel has
	// ended the whole pid namespace, so no process of it can be there to write.
	time.Sleep(2500 * time.Millisecond)
	if data, err := os.ReadFile(file); err != nil || strings.Contains(string(data), "survived") {
		t.Errorf("the orphan wrote %q (%v)", data, err)
	}
}

func TestConnectionsFromOutsideArriveInside(t *testing.T) {
	l, err := Listen("greeter", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(innerTask, "serve")
	ctx, cancel := context.WithCancel(t.Context())
	greeting := make(chan string, 1)
	go func() {
		defer cancel() // ends the program inside
		c, err := net.DialTimeout("tcp", l.Addr(), 10*time.Second)
		if err != nil {
			greeting <- err.Error()
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			line = err.Error()
		}
		greeting <- line
	}()
	if code := keepOrSkip(t, ctx, l); code != 0 {
		t.Errorf("the program inside ended with %d", code)
	}
	if got := <-greeting; got != "hello from inside\n" {
		t.Errorf("got %q", got)
	}
}

func TestPortInUseIsNamed(t *testing.T) {
	first, err := Listen("greeter", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, port, _ := net.SplitHostPort(first.Addr())
	var n int
	if _, err := fmt.Sscan(port, &n); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("greeter", n); err == nil || !strings.Contains(err.Error(), "opening port "+port+" for the greeter") {
		t.Errorf("got %v", err)
	}
}
