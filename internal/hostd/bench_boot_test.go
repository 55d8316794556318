// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/drydock-os/drydock/internal/osimage"
	"github.com/drydock-os/drydock/internal/tuf"
)

// bootUserData is what a Kubernetes node is started with.
const bootUserData = `[settings.kubernetes]
cluster-name = "bench"
api-server = "https://10.0.0.1:6443"
cluster-certificate = "bWF5YmU="
bootstrap-token = "abcdef.0123456789abcdef"
cluster-dns-ip = "10.96.0.10"
[settings.kubernetes.node-labels]
"example.org/pool" = "a"
[settings.network]
hostname = "bench"
`

// BenchmarkBootPath is what a Kubernetes node waits for before its services start: from the migrator to the files of
// all settings, by the programs that a boot runs, one after the other. First boots also take user data. Starting the
// same program as often without any work is measured in the same run.
func BenchmarkBootPath(b *testing.B) {
	base := b.TempDir()
	s := &site{t: b, root: filepath.Join(base, "r"), disk: filepath.Join(base, "disk.img")}
	repo := filepath.Join(base, "repo")
	if _, err := tuf.Init(b.Context(), repo, filepath.Join(base, "keys"), tuf.InitOptions{Now: time.Now()}); err != nil {
		b.Fatal(err)
	}
	image, err := osimage.Build(b.Context(), osimage.Spec{
		Variant: "metal-k8s-1.33", Arch: arch(), Version: "1.20.0",
		Files: map[string]osimage.File{"/usr/share/updog/root.json": {Path: filepath.Join(repo, "root.json")}},
	}, filepath.Join(base, "image"))
	if err != nil {
		b.Fatal(err)
	}
	if err := osimage.WriteDisk(b.Context(), s.disk, osimage.LayoutFor(0), image); err != nil {
		b.Fatal(err)
	}
	program := filepath.Join(base, "hostd")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/drydock-os/drydock/cmd/hostd").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	var first, later, nothing time.Duration
	for b.Loop() {
		for _, dir := range []string{"var/lib/bottlerocket", "etc"} { // of partitions that are mounted before
			if err := errors.Join(os.RemoveAll(filepath.Join(s.root, dir)), os.MkdirAll(filepath.Join(s.root, dir), 0o755)); err != nil {
				b.Fatal(err)
			}
		}
		s.write("local/user-data-defaults.toml", bootUserData)
		first += s.bootPath(program)
		if _, err := os.Stat(filepath.Join(s.root, "etc/kubernetes/kubelet/config")); err != nil {
			b.Fatalf("the boot applied nothing: %v", err)
		}
		later += s.bootPath(program)
		began := time.Now()
		for range len(bootPrograms) + 1 {
			s.mustRun(program, "--help")
		}
		nothing += time.Since(began)
	}
	for name, sum := range map[string]time.Duration{"first": first, "later": later, "nothing": nothing} {
		b.ReportMetric(float64(sum.Microseconds())/1e3/float64(b.N), name+"-ms")
	}
}

// bootPrograms run in this order; the daemon starts behind the first two.
var bootPrograms = [][]string{
	{"migrator", "--migrate-to-version", "1.20.0"}, {"storewolf", "--version", "1.20.0", "--variant", "metal-k8s-1.33"},
	{"early-boot-config"}, {"sundog"}, {"settings-committer"}, {"thar-be-settings", "--all"},
}

// bootPath boots once and says how long it took.
func (s *site) bootPath(program string) time.Duration {
	s.t.Helper()
	s.bootLoader()
	log := &logBuffer{lines: make(chan string, 1000)}
	daemon := exec.Command(program, "serve", "--root", s.root, "--disk", s.disk, "--log-format", "json")
	daemon.Stdout, daemon.Stderr = log, os.Stderr
	began := time.Now()
	for i, args := range bootPrograms {
		if i == 2 {
			if err := daemon.Start(); err != nil {
				s.t.Fatal(err)
			}
			log.await(s.t, `"api ready"`)
		}
		s.mustRun(program, append(args, "--root", s.root)...)
	}
	took := time.Since(began)
	if err := daemon.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_ = daemon.Wait() // killed
	return took
}

func (s *site) mustRun(program string, args ...string) {
	s.t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%q: %v: %s", args, err, out)
	}
}
