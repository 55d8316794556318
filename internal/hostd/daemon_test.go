// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drydock-os/drydock/internal/hostapi"
)

func TestSecondDaemonIsRefused(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0")
	s.bootLoader()
	d := s.start()
	second, err := New(Config{Root: s.root, Disk: s.disk, SocketGID: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); !errors.Is(err, ErrRunning) {
		t.Errorf("second daemon: %v", err)
	}
	if _, err := d.OS(t.Context()); err != nil {
		t.Errorf("the first one no longer answers: %v", err)
	}
	info, err := os.Stat(filepath.Join(s.root, hostapi.DefaultSocket))
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket: %v, %v", info.Mode(), err)
	}
}

func TestStaleSocketAndReadiness(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0")
	s.bootLoader()
	socket := filepath.Join(s.root, hostapi.DefaultSocket)
	s.write("run/x", "")
	stale, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	ready := filepath.Join(t.TempDir(), "n")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: ready, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	s.start(func(c *Config) { c.NotifySocket = ready })
	_ = manager.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 100)
	if n, err := manager.Read(buf); err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("service manager was told %q, %v", buf[:n], err)
	}
}

func TestRebootFailureIsTold(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0")
	s.bootLoader()
	d := s.start(func(c *Config) { c.RebootProgram = "/bin/false" })
	err := d.Reboot(t.Context())
	if status, ok := errors.AsType[*hostapi.StatusError](err); !ok || status.Code != 500 || !strings.Contains(status.Body, "/bin/false") {
		t.Errorf("reboot: %v", err)
	}
}

func TestBadStarts(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0")
	s.bootLoader()
	good, err := os.ReadFile(filepath.Join(s.root, "proc/cmdline"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ cmdline, disk, want string }{
		"no disk":           {string(good), "", "no disk"},
		"missing disk":      {string(good), s.disk + "x", "no such file"},
		"no boot slot":      {"quiet", s.disk, "no drydock.boot_uuid"},
		"bad uuid":          {"drydock.boot_uuid=x", s.disk, "GUID"},
		"uuid of no slot":   {"drydock.boot_uuid=00000000-0000-4000-8000-000000000001", s.disk, "no such slot"},
		"disk is no disk":   {string(good), filepath.Join(s.root, "etc/updog.toml"), "partition table"},
		"command line gone": {"", s.disk, "no drydock.boot_uuid"},
	} {
		s.write("proc/cmdline", tc.cmdline)
		if _, err := New(Config{Root: s.root, Disk: tc.disk}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got error %v, want one about %q", name, err, tc.want)
		}
	}
}

// What power cuts have left in the middle of writing does not gather on the disk.
func TestStartRemovesWhatPowerCutsLeft(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0")
	s.bootLoader()
	old, fresh := time.Now().Add(-48*time.Hour), time.Now()
	for name, age := range map[string]time.Time{
		"var/lib/drydock/repository/0123456789abcdef/.timestamp.json.1.tmp": old,
		"var/lib/drydock/repository/0123456789abcdef/.seen.2.tmp":           fresh, // of a program that looks for updates just now
		"var/lib/drydock/.staged.json.3.tmp":                                old,
		"var/lib/drydock/notes":                                             old,
	} {
		s.write(name, "half")
		if err := os.Chtimes(filepath.Join(s.root, name), age, age); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	var left []string
	err := filepath.WalkDir(filepath.Join(s.root, "var/lib/drydock"), func(_ string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			left = append(left, e.Name())
		}
		return err
	})
	if want := []string{"notes", ".seen.2.tmp"}; err != nil || !slices.Equal(left, want) {
		t.Errorf("left: %q (%v), want %q", left, err, want)
	}
}
