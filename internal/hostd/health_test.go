// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostd/system"
	"github.com/drydock-os/drydock/internal/slot"
)

// program puts an executable below the root.
func (s *site) program(name, script string) string {
	s.t.Helper()
	s.write(name, "#!/bin/sh\n"+script)
	path := filepath.Join(s.root, name)
	if err := os.Chmod(path, 0o755); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// A boot counts only after the programs of the host and its kubelet have agreed, in the order of their names.
func TestHealthChecksBeforeTheMark(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0", "1.21.0")
	s.wantBoot(slot.A)
	s.updateTo("1.21.0")
	s.wantBoot(slot.B)
	var healthy atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !healthy.Load() {
			http.Error(w, "[-]syncloop failed", http.StatusInternalServerError)
		}
	}))
	t.Cleanup(server.Close)
	s.write("etc/kubernetes/kubelet/config", "")
	s.program("usr/libexec/drydock/health.d/10-env", `echo "$DRYDOCK_SLOT $DRYDOCK_VERSION $DRYDOCK_VARIANT" > "$DRYDOCK_ROOT/seen"`)
	s.program("usr/libexec/drydock/health.d/20-replaced", "exit 1")
	s.program("etc/drydock/health.d/20-replaced", `test -S "$DRYDOCK_API_SOCKET"`)
	s.write("etc/drydock/health.d/README", "not a program")
	d := s.start(func(c *Config) { c.KubeletURL = server.URL + "/healthz" })
	d.log.await(t, "syncloop failed")
	if _, b := s.flags(); b.Successful {
		t.Error("marked successful without its kubelet")
	}
	if os, err := d.OS(t.Context()); err != nil || os.Boot == nil || os.Boot.Successful || len(os.Boot.Checks) != 4 {
		t.Errorf("before the first command: boot %+v, %v", os.Boot, err)
	}
	status := d.mustCommand(d.Refresh, hostapi.StateIdle)
	if b := status.Boot; b == nil || b.Slot != "B" || b.Successful || len(b.Checks) != 4 || b.Checks[3].Name != "kubelet" || b.Checks[3].Passed {
		t.Errorf("boot %+v", b)
	}
	// Until then the old system is the only good one, and nothing may touch it.
	s.publish("1.22.0")
	d.mustCommand(d.Refresh, hostapi.StateAvailable)
	before := readSlot(t, s.disk, slot.A)
	if c := d.command(d.Prepare).MostRecentCommand; c.Status != hostapi.StatusFailed || !strings.Contains(c.Stderr, "must stay as it is until the boot of slot B counts as successful") {
		t.Errorf("prepare meanwhile: %+v", c)
	}
	if string(before) != string(readSlot(t, s.disk, slot.A)) {
		t.Error("the good slot was changed")
	}
	healthy.Store(true)
	d.log.await(t, `"boot marked successful","slot":"B","version":"1.21.0"`)
	if os, err := d.OS(t.Context()); err != nil || os.Boot == nil || !os.Boot.Successful {
		t.Errorf("after the mark: boot %+v, %v", os.Boot, err)
	}
	if seen, err := os.ReadFile(filepath.Join(s.root, "seen")); err != nil || string(seen) != "B 1.21.0 "+variant+"\n" {
		t.Errorf("a program saw %q, %v", seen, err)
	}
	d.mustCommand(d.Prepare, hostapi.StateStaged)
}

// A new system that does not get healthy asks for a reboot, the boot loader falls back, and the reason is kept.
func TestGoesBackByItself(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0", "1.21.0")
	s.wantBoot(slot.A)
	s.updateTo("1.21.0")
	s.wantBoot(slot.B)
	s.program("etc/drydock/health.d/10-never", "echo database is gone; exit 3")
	reboot := s.program("reboot", `echo "$@" > "$(dirname "$0")/rebooted"`)
	d := s.start(func(c *Config) { c.HealthDeadline, c.RebootProgram = time.Second, reboot })
	d.log.await(t, "going back")
	awaitFile(t, filepath.Join(s.root, "rebooted"))
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if _, b := s.flags(); b.Successful {
		t.Error("marked successful")
	}
	if err := os.RemoveAll(filepath.Join(s.root, "etc/drydock")); err != nil {
		t.Fatal(err)
	}
	s.wantBoot(slot.A)
	d = s.start()
	d.log.await(t, "boot marked successful")
	status := d.mustCommand(d.Refresh, hostapi.StateIdle)
	if b := status.BlockedUpdates; len(b) != 1 || !strings.Contains(b[0].Reason, "check 10-never: exit status 3: database is gone") {
		t.Errorf("blocked %+v", b)
	}
}

// With nothing good to go back to, and with a system that was good before, a failing check does not reboot anything.
func TestStaysWhereItIs(t *testing.T) {
	for name, tc := range map[string]struct {
		flags slot.Flags
		want  string
	}{
		"good before":        {slot.Flags{Priority: 1, Successful: true}, "marked successful at an earlier boot"},
		"nothing else there": {slot.Flags{Priority: 1, Tries: 1}, "there is no other system that was marked successful"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, 1<<20, "1.20.0")
			s.wantBoot(slot.A)
			s.setFlags(slot.A, tc.flags)
			s.program("etc/drydock/health.d/10-hangs", "kill -STOP $$")
			reboot := s.program("reboot", `echo "$@" > "$(dirname "$0")/rebooted"`)
			d := s.start(func(c *Config) { c.HealthDeadline, c.RebootProgram = time.Second, reboot })
			d.log.await(t, tc.want)
			if err := d.stop(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(s.root, "rebooted")); err == nil {
				t.Error("rebooted")
			}
		})
	}
}

// setFlags writes flags that no command of ours would.
func (s *site) setFlags(which slot.Slot, f slot.Flags) {
	s.t.Helper()
	d, err := gpt.OpenFile(s.disk, true)
	if err != nil {
		s.t.Fatal(err)
	}
	defer d.Close()
	slots, err := slot.Open(d, d.Size())
	if err != nil {
		s.t.Fatal(err)
	}
	table, err := gpt.Read(d, d.Size())
	if err != nil {
		s.t.Fatal(err)
	}
	p := slots.Partition(which, slot.Boot)
	if err := errors.Join(table.SetAttributes(p.Number, f.Attributes(p.Attributes)), table.Write(d)); err != nil {
		s.t.Fatal(err)
	}
}

func awaitFile(t *testing.T, path string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
	}
	t.Fatalf("%s never came", path)
}

// A daemon that was started with a relative root has programs too, and they find their host whatever folder they run in.
func TestHealthChecksBelowARelativeRoot(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("host", 0o755); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	d := &Daemon{cfg: Config{Root: "host"}, socket: "host/run/api.sock", system: &system.Identity{Slot: slot.A, Version: semver.MustParse("1.0.0")}}
	for script, want := range map[string]string{
		`test "$DRYDOCK_ROOT $DRYDOCK_API_SOCKET $PWD" = "` + here + `/host ` + here + `/host/run/api.sock ` + here + `/host"`: "",
		"exit 3":          "exit status 3",
		"echo no; exit 3": "exit status 3: no",
	} {
		if err := os.WriteFile("host/check", []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := (program{d, "check", "host/check"}).Check(t.Context()); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
}
