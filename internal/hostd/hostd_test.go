// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/osimage"
	"github.com/drydock-os/drydock/internal/slot"
	"github.com/drydock-os/drydock/internal/tuf"
	"github.com/drydock-os/drydock/internal/tuf/release"
)

const variant = "metal"

func arch() string {
	if runtime.GOARCH == "arm64" {
		return "aarch64"
	}
	return "x86_64"
}

// site is a publisher with a web server, and one machine with a disk.
type site struct {
	t          *testing.T
	repo, keys string
	root, disk string
	server     *httptest.Server
	images     map[string]*osimage.Image
	size       int64

	mu       sync.Mutex
	tamper   func(http.ResponseWriter, *http.Request) bool
	requests []string
	boots    int
}

// newSite publishes versions and installs the first of them in slot A.
func newSite(t *testing.T, size int64, versions ...string) *site {
	t.Helper()
	base := t.TempDir()
	s := &site{
		t: t, repo: filepath.Join(base, "repo"), keys: filepath.Join(base, "keys"),
		root: filepath.Join(base, "r"), disk: filepath.Join(base, "disk.img"), images: map[string]*osimage.Image{}, size: size,
	}
	if _, err := tuf.Init(s.repo, s.keys, tuf.InitOptions{Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	for _, v := range versions {
		s.publish(v)
	}
	if err := osimage.WriteDisk(t.Context(), s.disk, osimage.LayoutFor(size), s.images[versions[0]]); err != nil {
		t.Fatal(err)
	}
	files := http.FileServer(http.Dir(s.repo))
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		tamper := s.tamper
		s.requests = append(s.requests, r.URL.Path)
		s.mu.Unlock()
		if tamper == nil || !tamper(w, r) {
			files.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.server.Close)
	s.write("etc/updog.toml", fmt.Sprintf("metadata_base_url = %q\ntargets_base_url = %q\nseed = 17\nversion_lock = \"latest\"\nignore_waves = false\n",
		s.server.URL+"/"+variant+"/"+arch()+"/", s.server.URL+"/targets/"))
	return s
}

func (s *site) write(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) publish(version string) {
	s.t.Helper()
	dir := s.t.TempDir()
	image, err := osimage.Build(s.t.Context(), osimage.Spec{
		Variant: variant, Arch: arch(), Version: version, Size: s.size,
		Files: map[string]osimage.File{"/usr/share/updog/root.json": {Path: filepath.Join(s.repo, "root.json")}},
	}, dir)
	if err != nil {
		s.t.Fatal(err)
	}
	s.images[version] = image
	out := filepath.Join(dir, "targets")
	if _, err := image.WriteTargets(s.t.Context(), out); err != nil {
		s.t.Fatal(err)
	}
	if _, err := release.Publish(s.t.Context(), release.Config{
		Dir: s.repo, KeysDir: s.keys, Variant: variant, Arch: arch(), Version: version, Images: out, Now: time.Now(),
	}); err != nil {
		s.t.Fatal(err)
	}
}

// bootLoader picks a slot as the real one does and leaves what a kernel would show.
func (s *site) bootLoader() slot.Slot {
	s.t.Helper()
	d, err := gpt.OpenFile(s.disk, true)
	if err != nil {
		s.t.Fatal(err)
	}
	defer d.Close()
	table, err := slot.Open(d, d.Size())
	if err != nil {
		s.t.Fatal(err)
	}
	booted, err := table.Boot()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(s.root, "run")); err != nil {
		s.t.Fatal(err)
	}
	s.boots++
	s.write("proc/cmdline", "console=ttyS0 drydock.boot_uuid="+table.Partition(booted, slot.Boot).UUID.String()+" quiet\n")
	s.write("proc/sys/kernel/random/boot_id", fmt.Sprintf("00000000-0000-4000-8000-%012d\n", s.boots))
	return booted
}

func (s *site) flags() (a, b slot.Flags) {
	s.t.Helper()
	d, err := gpt.OpenFile(s.disk, false)
	if err != nil {
		s.t.Fatal(err)
	}
	defer d.Close()
	table, err := slot.Open(d, d.Size())
	if err != nil {
		s.t.Fatal(err)
	}
	return table.Flags(slot.A), table.Flags(slot.B)
}

func (s *site) setTamper(f func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tamper, s.requests = f, nil
}

func (s *site) downloads() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range s.requests {
		if strings.HasSuffix(path, ".lz4") {
			n++
		}
	}
	return n
}

// daemon is a running host daemon.
type daemon struct {
	*hostapi.Client
	t    *testing.T
	log  *logBuffer
	stop func() error
}

// start runs the daemon until the test ends or stop is called.
func (s *site) start(change ...func(*Config)) *daemon {
	s.t.Helper()
	d := &daemon{t: s.t, log: &logBuffer{lines: make(chan string, 1000)}}
	cfg := Config{Root: s.root, Disk: s.disk, SocketGID: -1, RebootProgram: "/bin/true", Log: slog.New(slog.NewJSONHandler(d.log, nil))}
	for _, f := range change {
		f(&cfg)
	}
	host, err := New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- host.Run(ctx) }()
	var once sync.Once
	var result error
	d.stop = func() error {
		once.Do(func() {
			cancel()
			select {
			case result = <-ended:
			case <-time.After(10 * time.Second):
				result = errors.New("the daemon does not stop")
			}
		})
		return result
	}
	s.t.Cleanup(func() {
		if err := d.stop(); err != nil {
			s.t.Error(err)
		}
	})
	d.Client = hostapi.New(filepath.Join(s.root, hostapi.DefaultSocket))
	d.log.await(s.t, `"api ready"`)
	return d
}

// command runs one update command to its end.
func (d *daemon) command(start func(context.Context) error) hostapi.UpdateStatus {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	if err := start(ctx); err != nil {
		d.t.Fatal(err)
	}
	status, err := d.WaitUpdateStatus(ctx)
	if err != nil {
		d.t.Fatal(err)
	}
	return status
}

func (d *daemon) mustCommand(start func(context.Context) error, want hostapi.State) hostapi.UpdateStatus {
	d.t.Helper()
	status := d.command(start)
	if c := status.MostRecentCommand; c.Status != hostapi.StatusSuccess || status.UpdateState != want {
		d.t.Fatalf("%s: %s %q, state %s, want %s", c.Type, c.Status, c.Stderr, status.UpdateState, want)
	}
	return status
}

// logBuffer keeps log lines and lets a test wait for one.
type logBuffer struct{ lines chan string }

func (l *logBuffer) Write(p []byte) (int, error) {
	select {
	case l.lines <- string(p):
	default:
	}
	return len(p), nil
}

func (l *logBuffer) await(t *testing.T, text string) string {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case line := <-l.lines:
			if strings.Contains(line, text) {
				return line
			}
		case <-deadline:
			t.Fatalf("the log never said %s", text)
		}
	}
}

func TestUpdateFromEndToEnd(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0", "1.21.0")
	if booted := s.bootLoader(); booted != slot.A {
		t.Fatalf("booted slot %v", booted)
	}
	d := s.start()
	d.log.await(t, `"boot marked successful","slot":"A","version":"1.20.0"`)
	if _, err := d.UpdateStatus(t.Context()); !errors.Is(err, hostapi.ErrNotFound) {
		t.Errorf("status before the first command: %v", err)
	}
	status := d.mustCommand(d.Refresh, hostapi.StateAvailable)
	if !slices.Equal(status.AvailableUpdates, []string{"1.21.0", "1.20.0"}) || status.ChosenUpdate == nil || status.ChosenUpdate.Version != "1.21.0" {
		t.Errorf("refresh found %v, chose %+v", status.AvailableUpdates, status.ChosenUpdate)
	}
	status = d.mustCommand(d.Prepare, hostapi.StateStaged)
	if p := status.StagingPartition; p == nil || p.NextToBoot || p.Image.Version != "1.21.0" {
		t.Errorf("staging partition %+v", p)
	}
	if a, b := s.flags(); a != (slot.Flags{Priority: 1, Successful: true}) || b != (slot.Flags{Tries: 1}) {
		t.Errorf("after prepare: A %+v, B %+v", a, b)
	}

	// The same again downloads no image: the slot holds it.
	s.setTamper(nil)
	d.mustCommand(d.Prepare, hostapi.StateStaged)
	if n := s.downloads(); n != 0 {
		t.Errorf("a second prepare downloaded %d images", n)
	}

	// There and back and there again.
	d.mustCommand(d.Activate, hostapi.StateReady)
	d.mustCommand(d.Deactivate, hostapi.StateStaged)
	status = d.mustCommand(d.Activate, hostapi.StateReady)
	if !status.StagingPartition.NextToBoot || status.ActivePartition.NextToBoot {
		t.Errorf("next to boot: staging %v, active %v", status.StagingPartition.NextToBoot, status.ActivePartition.NextToBoot)
	}
	if err := d.Prepare(t.Context()); !errors.Is(err, hostapi.ErrNotAllowed) {
		t.Errorf("prepare in Ready: %v", err)
	}
	if err := d.Reboot(t.Context()); err != nil {
		t.Error(err)
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}

	if booted := s.bootLoader(); booted != slot.B {
		t.Fatalf("booted slot %v", booted)
	}
	d = s.start()
	d.log.await(t, `"boot marked successful","slot":"B","version":"1.21.0"`)
	os, err := d.OS(t.Context())
	if err != nil || os.VersionID != "1.21.0" || os.VariantID != variant || os.Slot != "B" || !strings.HasSuffix(os.BootID, "2") {
		t.Errorf("after the reboot: %+v, %v", os, err)
	}
	if _, b := s.flags(); b != (slot.Flags{Priority: 2, Successful: true}) {
		t.Errorf("flags of B: %+v", b)
	}
	d.mustCommand(d.Refresh, hostapi.StateIdle)
}

func TestBadImagesNeverBoot(t *testing.T) {
	flip := func(at func(n int) int) func([]byte) []byte {
		return func(b []byte) []byte { b[at(len(b))] ^= 1; return b }
	}
	for _, tc := range []struct {
		name, target string
		change       func([]byte) []byte
		want         string
	}{
		{"flipped byte in the root image", "-root.erofs.lz4", flip(func(n int) int { return n / 2 }), "-root.erofs.lz4: target does not match its signed digest: want sha256 "},
		{"flipped last byte", "-root.erofs.lz4", flip(func(n int) int { return n - 1 }), "target does not match its signed digest"},
		{"flipped first byte", "-boot.img.lz4", flip(func(int) int { return 0 }), "-boot.img.lz4: target does not match its signed digest"},
		{"truncated hash tree", "-root.verity.lz4", func(b []byte) []byte { return b[:len(b)-1] }, "-root.verity.lz4: target does not match its signed digest: want "},
		{"overlong boot image", "-boot.img.lz4", func(b []byte) []byte { return append(b, 'x') }, "-boot.img.lz4: target does not match its signed digest"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t, 1<<20, "1.20.0", "1.21.0")
			s.bootLoader()
			d := s.start()
			d.log.await(t, "boot marked successful")
			d.mustCommand(d.Refresh, hostapi.StateAvailable)
			before := readSlot(t, s.disk, slot.A)
			s.setTamper(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "-v1.21.0"+tc.target) {
					return false
				}
				data, err := os.ReadFile(filepath.Join(s.repo, r.URL.Path))
				if err != nil {
					t.Error(err)
				}
				_, _ = w.Write(tc.change(data))
				return true
			})
			status := d.command(d.Prepare)
			c := status.MostRecentCommand
			if c.Type != hostapi.CommandPrepare || c.Status != hostapi.StatusFailed || c.ExitStatus < 1 ||
				!strings.HasPrefix(c.Stderr, "downloading drydock-metal-") || !strings.Contains(c.Stderr, tc.want) || strings.Contains(c.Stderr, "\n") {
				t.Errorf("result %+v", c)
			}
			if status.UpdateState != hostapi.StateAvailable || status.StagingPartition != nil {
				t.Errorf("state %s, staging %+v", status.UpdateState, status.StagingPartition)
			}
			d.log.await(t, tc.want)
			if a, b := s.flags(); a != (slot.Flags{Priority: 1, Successful: true}) || b != (slot.Flags{}) {
				t.Errorf("flags: A %+v, B %+v", a, b)
			}
			if !bytes.Equal(before, readSlot(t, s.disk, slot.A)) {
				t.Error("the running slot was changed")
			}
			if err := d.Activate(t.Context()); !errors.Is(err, hostapi.ErrNotAllowed) {
				t.Errorf("activate after a failed prepare: %v", err)
			}
			// The server is repaired: the update goes through.
			s.setTamper(nil)
			d.mustCommand(d.Prepare, hostapi.StateStaged)
		})
	}
}

func readSlot(t *testing.T, disk string, s slot.Slot) (all []byte) {
	t.Helper()
	d, err := gpt.OpenFile(disk, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	table, err := slot.Open(d, d.Size())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range slot.Parts() {
		p := table.Partition(s, part)
		data := make([]byte, p.Size())
		if _, err := d.ReadAt(data, p.Offset()); err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
	}
	return all
}

// While a command runs, everything about updates answers 423, and a waiting reader gets the new status.
func TestBusyWhileDownloading(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0", "1.21.0")
	s.bootLoader()
	d := s.start()
	d.log.await(t, "boot marked successful")
	d.mustCommand(d.Refresh, hostapi.StateAvailable)
	reached, release := make(chan struct{}), make(chan struct{})
	s.setTamper(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "-root.erofs.lz4") {
			close(reached)
			<-release
		}
		return false
	})
	if err := d.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := d.UpdateStatus(t.Context()); !errors.Is(err, hostapi.ErrBusy) {
		t.Errorf("status at once after the 204: %v", err)
	}
	<-reached
	for name, call := range map[string]func(context.Context) error{"refresh": d.Refresh, "prepare": d.Prepare, "activate": d.Activate} {
		if err := call(t.Context()); !errors.Is(err, hostapi.ErrBusy) {
			t.Errorf("%s meanwhile: %v", name, err)
		}
	}
	waited := make(chan hostapi.UpdateStatus, 1)
	go func() {
		status, err := d.WaitUpdateStatus(t.Context())
		if err != nil {
			t.Error(err)
		}
		waited <- status
	}()
	close(release)
	if status := <-waited; status.UpdateState != hostapi.StateStaged {
		t.Errorf("state %s", status.UpdateState)
	}
}

// A daemon that is stopped, or dies, in the middle of a prepare goes on from the disk.
func TestStopInTheMiddle(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0", "1.21.0")
	s.bootLoader()
	d := s.start()
	d.log.await(t, "boot marked successful")
	d.mustCommand(d.Refresh, hostapi.StateAvailable)
	d.mustCommand(d.Prepare, hostapi.StateStaged)
	s.publish("1.22.0")
	d.mustCommand(d.Refresh, hostapi.StateStaged)
	reached := make(chan struct{})
	s.setTamper(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "-boot.img.lz4") {
			close(reached)
			<-r.Context().Done()
		}
		return false
	})
	if err := d.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-reached
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	s.setTamper(nil)
	d = s.start()
	status, err := d.UpdateStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c := status.MostRecentCommand; c.Type != hostapi.CommandPrepare || c.Status != hostapi.StatusFailed {
		t.Errorf("result %+v", c)
	}
	if status.UpdateState != hostapi.StateAvailable || status.StagingPartition != nil {
		t.Errorf("state %s although the idle slot was cleared", status.UpdateState)
	}
	d.mustCommand(d.Prepare, hostapi.StateStaged)
	d.mustCommand(d.Activate, hostapi.StateReady)
}

// A kill leaves neither a result nor a released marker; the next start makes up for both.
func TestKilledInTheMiddle(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0", "1.21.0")
	s.bootLoader()
	d := s.start()
	d.log.await(t, "boot marked successful")
	d.mustCommand(d.Refresh, hostapi.StateAvailable)
	d.mustCommand(d.Prepare, hostapi.StateStaged)
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	// As if killed between the write of the flags and that of the status.
	disk, err := gpt.OpenFile(s.disk, true)
	if err != nil {
		t.Fatal(err)
	}
	table, err := slot.Open(disk, disk.Size())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(table.UpgradeToInactive(slot.A), disk.Close()); err != nil {
		t.Fatal(err)
	}
	s.write("run/cache/thar-be-updates/running.json", `{"command":"activate"}`)
	d = s.start()
	status, err := d.UpdateStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status.UpdateState != hostapi.StateReady || !status.StagingPartition.NextToBoot {
		t.Errorf("state %s although the disk says that B boots next", status.UpdateState)
	}
	if c := status.MostRecentCommand; c.Type != hostapi.CommandActivate || c.Status != hostapi.StatusFailed || c.Stderr == "" {
		t.Errorf("result %+v", c)
	}
}

// Until the running slot is good, the idle one may be the only good one: it is not touched.
func TestUnprovenBootKeepsTheOldSlot(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0", "1.21.0")
	s.bootLoader()
	d := s.start()
	d.log.await(t, "boot marked successful")
	d.mustCommand(d.Refresh, hostapi.StateAvailable)
	d.mustCommand(d.Prepare, hostapi.StateStaged)
	d.mustCommand(d.Activate, hostapi.StateReady)
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	s.bootLoader()
	s.publish("1.22.0")
	d = s.start(func(c *Config) { c.Health = []Check{sick{}} })
	d.mustCommand(d.Refresh, hostapi.StateAvailable)
	status := d.command(d.Prepare)
	if c := status.MostRecentCommand; c.Status != hostapi.StatusFailed || !strings.Contains(c.Stderr, "not marked successful") {
		t.Errorf("result %+v", c)
	}
	if a, _ := s.flags(); !a.Successful {
		t.Errorf("flags of the only good slot: %+v", a)
	}
}

type sick struct{}

func (sick) Name() string                { return "sick" }
func (sick) Check(context.Context) error { return errors.New("feeling unwell") }

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
