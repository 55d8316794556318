// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
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
	t          testing.TB
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
func newSite(t testing.TB, size int64, versions ...string) *site {
	t.Helper()
	base := t.TempDir()
	s := &site{
		t: t, repo: filepath.Join(base, "repo"), keys: filepath.Join(base, "keys"),
		root: filepath.Join(base, "r"), disk: filepath.Join(base, "disk.img"), images: map[string]*osimage.Image{}, size: size,
	}
	if _, err := tuf.Init(t.Context(), s.repo, s.keys, tuf.InitOptions{Now: time.Now()}); err != nil {
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

// change does something to the slots from outside.
func (s *site) change(f func(*slot.Table) error) error {
	d, err := gpt.OpenFile(s.disk, true)
	if err != nil {
		return err
	}
	table, err := slot.Open(d, d.Size())
	if err == nil {
		err = f(table)
	}
	return errors.Join(err, d.Close())
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
	t    testing.TB
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

// forget drops what was logged and not awaited.
func (l *logBuffer) forget() {
	for {
		select {
		case <-l.lines:
		default:
			return
		}
	}
}

func (l *logBuffer) await(t testing.TB, text string) string {
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
