// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostctr

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/drydock-os/drydock/internal/testutil/containerdtest"
)

// machine is a host that is a folder, with a containerd and a registry that has the image of the tests.
type machine struct {
	t              *testing.T
	root, registry string
	source         string
	containerd     *containerdtest.Containerd
	log            syncBuffer
	stdout, stderr syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	if testing.Short() {
		t.Skip("starts containers")
	}
	root, err := os.MkdirTemp("", "host") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(root); err != nil {
			t.Errorf("something holds files of the host: %v", err)
		}
	})
	m := &machine{t: t, root: root}
	for name, text := range map[string]string{
		"etc/os-release": "ID=probe\n", "etc/hosts": "192.0.2.1 of-the-host\n", "secret": "of the host\n", "usr/bin/apiclient": "x", "run/api.sock": "",
		"usr/src/kernels/x": "", "lib/modules/x": "", "var/log/support/x": "", "mnt/x": "", "var/lib/kubelet/x": "",
	} {
		m.write(name, text)
	}
	m.containerd = containerdtest.Start(t, root)
	m.registry = containerdtest.Registry(t, nil)
	m.source = m.registry + "/probe:1"
	containerdtest.Push(t, containerdtest.Image(t, containerdtest.Program(t, "./testdata/probe")), m.source)
	return m
}

func (m *machine) write(name, text string) {
	m.t.Helper()
	name = filepath.Join(m.root, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) connect(change func(*Config)) *Runtime {
	m.t.Helper()
	cfg := Config{
		Root: m.root, Stdout: &m.stdout, Stderr: &m.stderr, Log: slog.New(slog.NewTextHandler(&m.log, nil)),
		Spread: func(time.Duration) time.Duration { return 0 }, Environ: []string{"HTTPS_PROXY=http://proxy", "OTHER=x"},
	}
	if change != nil {
		change(&cfg)
	}
	r, err := Connect(cfg)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = r.Close() })
	return r
}

// report is what the probe found.
type report struct {
	Marked                         bool
	Starts                         int
	Env                            []string
	Status, Release, Rootfs, Hosts string
	Order                          string
	Net                            string `json:"ns-net"`
	PID                            string `json:"ns-pid"`
	Mounts                         map[string]string
	Devices, Apiclient, Socket     bool
	WriteRootfs                    bool `json:"write-rootfs"`
}

func (r report) status(name string) string {
	for line := range strings.Lines(r.Status) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// start runs a container and waits until it has reported. The function that it returns stops it.
func (m *machine) start(r *Runtime, c Container) (report, func() error) {
	m.t.Helper()
	name := filepath.Join(m.root, c.storage(), "report.json")
	_ = os.Remove(name)
	ctx, cancel := context.WithCancel(m.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, c) }()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		data, err := os.ReadFile(name)
		if err == nil {
			var found report
			if err := json.Unmarshal(data, &found); err != nil {
				m.t.Fatal(err)
			}
			return found, func() error { cancel(); return <-done }
		}
		select {
		case err := <-done:
			m.t.Fatalf("ended early: %v\n%s%s", err, m.stderr.String(), m.log.String())
		default:
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("the container does not report\n%s", m.log.String())
		}
	}
}

func (m *machine) eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so: %s\n%s", what, m.log.String())
		}
	}
}

// gone checks that containerd knows nothing of a container any more.
func (m *machine) gone(r *Runtime, id string) {
	m.t.Helper()
	_, err := r.client.LoadContainer(m.t.Context(), id)
	if !errdefs.IsNotFound(err) {
		m.t.Errorf("container %s: %v", id, err)
	}
	if _, err := r.client.SnapshotService("").Stat(m.t.Context(), id); !errdefs.IsNotFound(err) {
		m.t.Errorf("snapshot %s: %v", id, err)
	}
}

func TestHostContainer(t *testing.T) {
	m := newMachine(t)
	r := m.connect(nil)
	c := Container{Name: "probe", Kind: Host, Source: m.source}
	first, stop := m.start(r, c)
	if info, err := os.Stat(filepath.Join(m.root, c.storage())); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("persistent folder: %v, %v", info, err)
	}
	hostNet, _ := os.Readlink("/proc/self/ns/net")
	hostPID, _ := os.Readlink("/proc/self/ns/pid")
	if first.Net != hostNet || first.PID == hostPID {
		t.Errorf("namespaces: %+v", first)
	}
	if first.Release != "ID=probe\n" || first.Hosts != "192.0.2.1 of-the-host\n" || !first.Apiclient || !first.Socket {
		t.Errorf("files of the host: %+v", first)
	}
	if !strings.Contains(first.Rootfs, "no such file") || first.Devices || first.status("Seccomp") != "2" || first.status("NoNewPrivs") != "1" ||
		first.status("CapEff") != "00000000a80425fb" {
		t.Errorf("it is too powerful: %+v", first)
	}
	for at, options := range map[string]string{
		"/.bottlerocket/host-containers/probe": "rw", "/.bottlerocket/host-containers/current": "rw", "/run/api.sock": "rw", "/usr/local/bin/apiclient": "ro",
		"/etc/bottlerocket-release": "ro", "/.bottlerocket/support": "ro",
	} {
		_, have, _ := strings.Cut(first.Mounts[at], " ")
		if !slices.Contains(strings.Split(have, ","), options) {
			t.Errorf("mount %s: %q, want %s", at, first.Mounts[at], options)
		}
	}
	groups := 0
	for at, how := range first.Mounts {
		kind, options, _ := strings.Cut(how, " ")
		if !strings.HasPrefix(at, "/sys/fs/cgroup") || !strings.HasPrefix(kind, "cgroup") {
			continue // the older control groups have a folder for them all
		}
		if groups++; !slices.Contains(strings.Split(options, ","), "ro") {
			t.Errorf("control groups %s: %s", at, how)
		}
	}
	if groups == 0 {
		t.Error("no control groups")
	}
	if !slices.Contains(first.Env, "FROM=image") || !slices.Contains(first.Env, "HTTPS_PROXY=http://proxy") || slices.Contains(first.Env, "OTHER=x") {
		t.Errorf("environment: %q", first.Env)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(m.root, c.storage(), "stopped")); err != nil {
		t.Errorf("it was not asked to stop: %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(m.root, fifoDir)); err != nil || len(left) > 0 {
		t.Errorf("left in %s: %v, %v", fifoDir, left, err)
	}
	if !strings.Contains(m.stdout.String(), "probe: out\n") || !strings.Contains(m.stderr.String(), "probe: err\n") {
		t.Errorf("output: %q, %q", m.stdout.String(), m.stderr.String())
	}
	m.gone(r, "probe")

	// Its folder stays, the rest begins anew.
	second, stop := m.start(r, c)
	if second.Starts != 2 || second.Marked {
		t.Errorf("second start: %+v", second)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func TestSuperpoweredContainer(t *testing.T) {
	m := newMachine(t)
	found, stop := m.start(m.connect(nil), Container{Name: "admin", Kind: Host, Source: m.source, Superpowered: true})
	hostPID, _ := os.Readlink("/proc/self/ns/pid")
	own, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	if found.PID != hostPID || found.Rootfs != "of the host\n" || found.WriteRootfs || !found.Devices {
		t.Errorf("%+v", found)
	}
	if found.status("Seccomp") != "0" || found.status("NoNewPrivs") != "0" || found.status("CapEff") != (report{Status: string(own)}).status("CapEff") {
		t.Errorf("privileges: %s", found.Status)
	}
	for _, at := range []string{"/lib/modules", "/usr/src/kernels", "/.bottlerocket/rootfs", "/.bottlerocket/rootfs/mnt"} {
		if found.Mounts[at] == "" {
			t.Errorf("%s is not mounted", at)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func TestBootstrapContainer(t *testing.T) {
	m := newMachine(t)
	r := m.connect(nil)
	c, err := Parse("boot.setup", Bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	c.Source = m.source
	m.write("local/bootstrap-containers/setup/user-data", "exit 0")
	if err := r.Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(m.root, c.storage(), "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var found report
	if err := json.Unmarshal(data, &found); err != nil {
		t.Fatal(err)
	}
	// The 14 of every container, and SYS_ADMIN, NET_ADMIN, SYS_CHROOT, SYS_MODULE, AUDIT_CONTROL.
	if found.status("CapEff") != "00000000e82535fb" || found.status("Seccomp") != "2" || found.Mounts["/.bottlerocket/rootfs/var/lib/kubelet"] == "" ||
		found.Order != "exit 0" || found.Mounts["/.bottlerocket/bootstrap-containers/setup"] == "" {
		t.Errorf("%+v", found)
	}
	m.gone(r, "boot.setup")

	m.write("local/bootstrap-containers/setup/user-data", "fail")
	err = r.Run(t.Context(), c)
	if ended, ok := errors.AsType[*ExitError](err); !ok || ended.Code != 2 {
		t.Errorf("got %v", err)
	}
}

func TestAContainerThatDoesNotStopIsKilled(t *testing.T) {
	m := newMachine(t)
	r := m.connect(func(c *Config) { c.Grace = 200 * time.Millisecond })
	m.write("local/host-containers/probe/user-data", "stubborn")
	_, stop := m.start(r, Container{Name: "probe", Kind: Host, Source: m.source})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(m.log.String(), "signal=killed") {
		t.Errorf("log: %s", m.log.String())
	}
	m.gone(r, "probe")
}

func TestPull(t *testing.T) {
	m := newMachine(t)
	image := containerdtest.Image(t, containerdtest.Program(t, "./testdata/probe"))
	var failures, asked atomic.Int32
	flaky := containerdtest.Registry(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1); failures.Add(-1) >= 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	containerdtest.Push(t, image, flaky+"/probe:1")
	secured := containerdtest.Registry(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, ok := r.BasicAuth(); !ok || user != "me" || password != "s3cret" {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	containerdtest.Push(t, image, secured+"/probe:1", remote.WithAuth(&authn.Basic{Username: "me", Password: "s3cret"}))

	configured := func(text string) *Runtime {
		m.write("etc/host-containers/host-ctr.toml", text)
		return m.connect(func(c *Config) { c.RegistryConfig = "/etc/host-containers/host-ctr.toml" })
	}
	plain := configured("")

	t.Run("a registry that fails is asked again", func(t *testing.T) {
		failures.Store(3)
		if err := plain.Pull(t.Context(), flaky+"/probe:1", PullOptions{}); err != nil {
			t.Error(err)
		}
	})
	t.Run("five times", func(t *testing.T) {
		failures.Store(1 << 20)
		err := plain.Pull(t.Context(), flaky+"/probe:2", PullOptions{})
		if err == nil || !strings.Contains(err.Error(), "giving up after 5 tries") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("an image that is here is good enough when there is no other", func(t *testing.T) {
		failures.Store(1 << 20)
		if _, err := plain.image(t.Context(), Container{Source: flaky + "/probe:1"}); err != nil {
			t.Error(err)
		}
	})
	t.Run("an image that is here is not looked for again when told so", func(t *testing.T) {
		before := asked.Load()
		if err := plain.Pull(t.Context(), flaky+"/probe:1", PullOptions{SkipIfPresent: true}); err != nil || asked.Load() != before {
			t.Errorf("%v after %d requests", err, asked.Load()-before)
		}
	})
	t.Run("no credentials", func(t *testing.T) {
		if err := plain.Pull(t.Context(), secured+"/probe:1", PullOptions{}); err == nil {
			t.Error("pulled")
		}
	})
	t.Run("credentials", func(t *testing.T) {
		r := configured(fmt.Sprintf("[creds.%q]\nusername = \"me\"\npassword = \"s3cret\"\n", secured))
		if err := r.Pull(t.Context(), secured+"/probe:1", PullOptions{Labels: map[string]string{"pinned": "yes"}}); err != nil {
			t.Fatal(err)
		}
		image, err := r.client.GetImage(t.Context(), secured+"/probe:1")
		if err != nil || image.Labels()["pinned"] != "yes" {
			t.Errorf("labels: %v", err)
		}
	})
	t.Run("a mirror goes before the registry, and is shown its own credentials", func(t *testing.T) {
		r := configured(fmt.Sprintf("[mirrors.\"registry.invalid\"]\nendpoints = [\"http://127.0.0.1:1\", \"http://%s\"]\n[creds.%q]\nauth = \"bWU6czNjcmV0\"\n", secured, secured))
		if err := r.Pull(t.Context(), "registry.invalid/probe:1", PullOptions{}); err != nil {
			t.Error(err)
		}
	})
	t.Run("a name that is none is an error at once", func(t *testing.T) {
		if err := plain.Pull(t.Context(), "UPPER/x:y:z", PullOptions{}); err == nil || strings.Contains(err.Error(), "tries") {
			t.Errorf("got %v", err)
		}
	})
	if strings.Contains(m.log.String(), "s3cret") {
		t.Error("the log holds a password")
	}
}
