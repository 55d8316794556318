// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Folders of health checks, below the root. Of two programs with one name the first counts, so that a host can replace
// a check of its image.
var healthDirs = []string{"etc/drydock/health.d", "usr/libexec/drydock/health.d"}

// kubeletMark exists on hosts that are meant to run a kubelet.
const kubeletMark = "etc/kubernetes/kubelet"

// DefaultKubeletURL is where a kubelet says that it is healthy, as Kubernetes documents it.
const DefaultKubeletURL = "http://127.0.0.1:10248/healthz"

// hostChecks returns what the host itself wants checked: its programs, in the order of their names, and its kubelet.
func (d *Daemon) hostChecks() ([]Check, error) {
	found := map[string]string{}
	for _, dir := range healthDirs {
		dir = filepath.Join(d.cfg.Root, dir)
		list, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("reading health checks: %w", err)
		}
		for _, entry := range list {
			name, path := entry.Name(), filepath.Join(dir, entry.Name())
			info, err := os.Stat(path) // may be a link
			if err != nil {
				return nil, fmt.Errorf("reading health checks: %w", err)
			}
			hidden := strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~")
			if _, replaced := found[name]; !replaced && !hidden && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				found[name] = path
			}
		}
	}
	var checks []Check
	for _, name := range slices.Sorted(maps.Keys(found)) {
		checks = append(checks, program{d, name, found[name]})
	}
	if _, err := os.Stat(filepath.Join(d.cfg.Root, kubeletMark)); err == nil && d.cfg.KubeletURL != "" {
		checks = append(checks, kubelet{d.cfg.KubeletURL})
	}
	return checks, nil
}

// program is passed when it exits with 0.
type program struct {
	d          *Daemon
	name, path string
}

func (p program) Name() string { return p.name }

// maxCheckText is how much of what a program prints is kept, in bytes.
const maxCheckText = 2 << 10

func (p program) Check(ctx context.Context) error {
	id := p.d.system
	// It runs in another folder than the daemon, whose paths may be relative.
	var paths [3]string
	for i, path := range []string{p.path, p.d.cfg.Root, p.d.socket} {
		var err error
		if paths[i], err = filepath.Abs(path); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, paths[0])
	cmd.Dir = paths[1]
	cmd.Env = []string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
		"DRYDOCK_ROOT=" + paths[1],
		"DRYDOCK_API_SOCKET=" + paths[2],
		"DRYDOCK_SLOT=" + id.Slot.String(),
		"DRYDOCK_VERSION=" + id.Version.String(),
		"DRYDOCK_VARIANT=" + id.Release.Variant,
		"DRYDOCK_BOOT_ID=" + id.BootID,
	}
	// What the program has started goes with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	text := &firstBytes{left: maxCheckText}
	cmd.Stdout, cmd.Stderr = text, text
	err := cmd.Run()
	if ctx.Err() != nil {
		return errors.New("no answer in time")
	}
	if said := strings.Join(strings.Fields(text.String()), " "); err != nil && said != "" {
		return fmt.Errorf("%w: %s", err, said)
	}
	return err
}

// firstBytes keeps the beginning of what is written to it.
type firstBytes struct {
	strings.Builder
	left int
}

func (f *firstBytes) Write(p []byte) (int, error) {
	n := min(f.left, len(p))
	f.left -= n
	f.Builder.Write(p[:n])
	return len(p), nil
}

// kubelet is passed when the kubelet says that it is healthy.
type kubelet struct{ url string }

func (kubelet) Name() string { return "kubelet" }

func (k kubelet) Check(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // without any proxy
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxCheckText)) // a cut-off explanation is better than none
		return fmt.Errorf("%s answers %s: %s", k.url, resp.Status, strings.Join(strings.Fields(string(text)), " "))
	}
	return nil
}
