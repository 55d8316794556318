// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package containerdtest runs a real containerd for a test, with all its files below one folder, and a registry with
// images made by the test. Nothing of a containerd that the machine runs is touched.
package containerdtest

import (
	"archive/tar"
	"bytes"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const startLimit = 30 * time.Second // of containerd, on a busy machine

// Containerd is one that runs for a test.
type Containerd struct {
	t      testing.TB
	root   string
	output bytes.Buffer
	cmd    *exec.Cmd
}

// Need skips a test where nobody can run containers.
func Need(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("running containers needs root")
	}
	for _, program := range []string{"containerd", "runc"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed: on Debian, apt-get install containerd runc", program)
		}
	}
}

// Start runs containerd below root, with its socket where host-ctr looks for it. It skips the test where there is none.
func Start(t testing.TB, root string) *Containerd {
	t.Helper()
	Need(t)
	c := &Containerd{t: t, root: root}
	if err := os.MkdirAll(filepath.Dir(c.config()), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.config(), []byte("version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.start()
	t.Cleanup(func() {
		_ = c.cmd.Wait() // the test's context has ended it
		if t.Failed() {
			t.Logf("containerd: %s", &c.output)
		}
	})
	return c
}

func (c *Containerd) config() string { return filepath.Join(c.root, "etc/host-containerd/config.toml") }

func (c *Containerd) start() {
	c.t.Helper()
	socket := filepath.Join(c.root, "run/host-containerd/containerd.sock")
	c.cmd = exec.CommandContext(c.t.Context(), "containerd", "--config", c.config(), "--address", socket,
		"--root", filepath.Join(c.root, "var/lib/host-containerd"), "--state", filepath.Join(c.root, "run/host-containerd"))
	c.cmd.Stdout, c.cmd.Stderr = &c.output, &c.output
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
	c.cmd.WaitDelay = 10 * time.Second
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	for deadline := time.Now().Add(startLimit); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("containerd does not listen: %v", err)
		}
	}
}

// Restart stops containerd and starts it again, as a service manager does: containers run on meanwhile.
func (c *Containerd) Restart() {
	c.t.Helper()
	if err := c.cmd.Cancel(); err != nil {
		c.t.Fatal(err)
	}
	_ = c.cmd.Wait()
	c.start()
}

// Program builds a static Go program of the module for this machine. Those that are built already for the tests it takes
// as they are.
func Program(t testing.TB, pkg string) string {
	t.Helper()
	if built := filepath.Join(os.Getenv("DRYDOCK_BIN"), path.Base(pkg)); path.Base(path.Dir(pkg)) == "cmd" && filepath.IsAbs(built) {
		if _, err := os.Stat(built); err == nil {
			return built
		}
	}
	out := filepath.Join(t.TempDir(), filepath.Base(pkg))
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v: %s", pkg, err, text)
	}
	return out
}

// Image makes an image that holds one program, which it runs.
func Image(t testing.TB, program string) v1.Image {
	t.Helper()
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "program", Mode: 0o755, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		t.Fatal(err)
	}
	image, err = mutate.ConfigFile(image, &v1.ConfigFile{
		OS: "linux", Architecture: runtime.GOARCH, Config: v1.Config{Entrypoint: []string{"/program"}, Env: []string{"FROM=image"}},
		RootFS: rootFS(t, image),
	})
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func rootFS(t testing.TB, image v1.Image) v1.RootFS {
	c, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return c.RootFS
}

// Registry serves images on this machine; wrap may change how. It returns its host and port.
func Registry(t testing.TB, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	h := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	if wrap != nil {
		h = wrap(h)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// Push puts an image into a registry.
func Push(t testing.TB, image v1.Image, to string, options ...remote.Option) {
	t.Helper()
	ref, err := name.ParseReference(to, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image, options...); err != nil {
		t.Fatal(err)
	}
}
