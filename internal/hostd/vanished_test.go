// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/drydock-os/drydock/internal/hostapi"
)

// mustSet changes a setting for good.
func mustSet(t *testing.T, c *hostapi.Client, motd string) {
	t.Helper()
	if code, reply, err := c.Do(t.Context(), http.MethodPatch, "/settings", []byte(`{"motd":"`+motd+`"}`)); err != nil || code != http.StatusNoContent {
		t.Fatalf("%d %s %v", code, reply, err)
	}
}

// mustSay checks what a client that has no connection yet is told.
func (s *site) mustSay(t *testing.T, motd string) {
	t.Helper()
	other := hostapi.New(filepath.Join(s.root, hostapi.DefaultSocket))
	defer other.Close()
	code, reply, err := other.Do(t.Context(), http.MethodGet, "/tx", nil)
	for errors.Is(err, os.ErrNotExist) { // the socket was made anew, and removed by what was still at removing
		runtime.Gosched()
		code, reply, err = other.Do(t.Context(), http.MethodGet, "/tx", nil)
	}
	if err != nil || string(reply) != `{"motd":"`+motd+`"}` {
		t.Errorf("another client: %d %s %v", code, reply, err)
	}
}

// Somebody makes the socket of a running daemon go away. Who has a connection keeps it, and the daemon listens again, for
// the same people as before.
func TestTheSocketVanishes(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0")
	s.bootLoader()
	group := os.Getgid()
	if os.Geteuid() == 0 { // nobody else may give files to a group that they are not in
		group = 4242
	}
	d := s.start(func(c *Config) { c.SocketGID = group })
	socket := filepath.Join(s.root, hostapi.DefaultSocket)
	for name, vanish := range map[string]func() error{
		"removed": func() error { return os.Remove(socket) },
		"renamed": func() error { return os.Rename(socket, socket+".old") },
		"its folder removed": func() error {
			err := os.RemoveAll(filepath.Dir(socket))
			for errors.Is(err, syscall.ENOTEMPTY) { // the daemon was faster
				err = os.RemoveAll(filepath.Dir(socket))
			}
			return err
		},
		"its folder renamed": func() error { return os.Rename(filepath.Dir(socket), filepath.Join(s.root, "run.old")) },
		"replaced by the socket of a dead process": func() error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket + ".dead"})
			if err != nil {
				return err
			}
			l.SetUnlinkOnClose(false)
			return errors.Join(l.Close(), os.Rename(socket+".dead", socket))
		},
	} {
		mustSet(t, d.Client, "before "+name)
		d.log.forget()
		if err := vanish(); err != nil {
			t.Fatal(err)
		}
		d.log.await(t, "API socket was gone, listening again")
		mustSet(t, d.Client, name)
		s.mustSay(t, name)
		info, err := os.Stat(socket)
		if err != nil || info.Mode() != os.ModeSocket|0o660 || int(info.Sys().(*syscall.Stat_t).Gid) != group {
			t.Errorf("%s: the new socket: %v, %v", name, info, err)
		}
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the end: %v", err)
	}
}

// Somebody else takes the place of the socket. The daemon says so, goes on for those who have a connection, and listens
// again when the place is free. It never takes away what is not its own.
func TestTheSocketIsTaken(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0")
	s.bootLoader()
	d := s.start()
	mustSet(t, d.Client, "first") // makes the connection that is kept
	socket := filepath.Join(s.root, hostapi.DefaultSocket)
	take := func(put func(path string) error) {
		t.Helper()
		if err := errors.Join(put(socket+".other"), os.Rename(socket+".other", socket)); err != nil {
			t.Fatal(err)
		}
	}
	var other *net.UnixListener
	serve := func(path string) (err error) {
		other, err = net.ListenUnix("unix", &net.UnixAddr{Name: path})
		if err == nil {
			other.SetUnlinkOnClose(false)
		}
		return err
	}

	take(serve)
	d.log.await(t, "another process serves it")
	mustSet(t, d.Client, "served by another")
	probe, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(probe.Close(), os.Remove(socket), other.Close()); err != nil {
		t.Fatal(err)
	}
	d.log.await(t, "listening again")
	s.mustSay(t, "served by another")

	take(func(path string) error { return os.WriteFile(path, []byte("precious"), 0o600) })
	d.log.await(t, "it exists and is not a socket")
	if data, err := os.ReadFile(socket); err != nil || string(data) != "precious" {
		t.Errorf("the file in the place of the socket: %q, %v", data, err)
	}
	mustSet(t, d.Client, "a file")
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	d.log.await(t, "listening again")
	s.mustSay(t, "a file")

	take(func(path string) error { return os.Symlink("nowhere", path) })
	d.log.await(t, "it exists and is not a socket")

	// What is not its own stays when it ends.
	take(serve)
	d.log.await(t, "another process serves it")
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if probe, err := net.Dial("unix", socket); err != nil {
		t.Errorf("the other's socket after the end: %v", err)
	} else if err := errors.Join(probe.Close(), other.Close(), os.Remove(socket)); err != nil {
		t.Fatal(err)
	}
}

// A second daemon that finds the place free for an instant does not get at the store, and the first one has its place
// back afterwards.
func TestASecondDaemonBesideTheFirst(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0")
	s.bootLoader()
	d := s.start()
	mustSet(t, d.Client, "first")
	socket := filepath.Join(s.root, hostapi.DefaultSocket)
	second, err := New(Config{Root: s.root, Disk: s.disk, SocketGID: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); !errors.Is(err, ErrRunning) {
		t.Errorf("a second daemon: %v", err)
	}
	// With a socket elsewhere it gets further, as it would when it was faster than the first one.
	second, err = New(Config{Root: s.root, Disk: s.disk, SocketGID: -1, SocketPath: hostapi.DefaultSocket + ".second"})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another process has the settings store open") {
		t.Errorf("a second daemon with a socket of its own: %v", err)
	}
	if _, err := os.Lstat(socket + ".second"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the second one's socket: %v", err)
	}
	s.mustSay(t, "first")
}

// Clients that come and go while the socket is removed again and again see it missing at times, and nothing else: no
// connection that was made is lost.
func TestNoConnectionIsLostWithTheSocket(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0")
	s.bootLoader()
	d := s.start()
	socket := filepath.Join(s.root, hostapi.DefaultSocket)
	done, answered := make(chan struct{}), make(chan struct{})
	var client sync.WaitGroup
	client.Go(func() {
		for {
			c := hostapi.New(socket)
			_, err := c.OS(t.Context())
			c.Close()
			if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
				t.Error(err)
			}
			if err != nil {
				runtime.Gosched()
				continue
			}
			select {
			case answered <- struct{}{}:
			case <-done:
				return
			}
		}
	})
	for range 30 {
		<-answered
		if err := os.Remove(socket); err != nil {
			t.Error(err)
			break
		}
		d.log.await(t, "listening again")
	}
	close(done)
	client.Wait()
}

// Between the making of a socket and the moment when it has its group and mode, nobody but the owner may use it, whatever
// the process's mask.
func TestSocketIsNeverOpenToOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	l, err := bindPrivate(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(path); err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// The service manager holds the socket: who has it by another name, as a container has by its mount, finds one daemon
// after the other behind it.
func TestTheSocketOfTheServiceManager(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0")
	s.bootLoader()
	socket := filepath.Join(s.root, hostapi.DefaultSocket)
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		t.Fatal(err)
	}
	held, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	mounted := socket + ".mounted"
	if err := os.Link(socket, mounted); err != nil {
		t.Fatal(err)
	}
	start := func() *daemon {
		file, err := held.File()
		if err != nil {
			t.Fatal(err)
		}
		given, err := net.FileListener(file)
		if err := errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
		return s.start(func(c *Config) { c.Listener = given.(*net.UnixListener) })
	}
	inside := hostapi.New(mounted)
	defer inside.Close()
	for range 2 {
		d := start()
		if _, err := inside.OS(t.Context()); err != nil {
			t.Errorf("from inside of a container: %v", err)
		}
		if err := d.stop(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(socket); err != nil {
			t.Fatalf("the service manager's socket: %v", err)
		}
	}

	// Without the name nobody finds it. The daemon makes one of its own, then and at the next start.
	d := start()
	d.log.forget()
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	d.log.await(t, "API socket was gone, listening again")
	if _, err := d.OS(t.Context()); err != nil {
		t.Error(err)
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	d = start()
	if _, err := d.OS(t.Context()); err != nil {
		t.Error(err)
	}
}
