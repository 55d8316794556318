// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/slot"
)

// BenchmarkStage compares writing an image of 1 GiB to the idle slot, from the request to the verified slot, with the
// slowest of its stages alone, as common programs do them in the same run. Run it alone, with -benchtime 3x.
func BenchmarkStage(b *testing.B) {
	const size = 1 << 30
	if testing.Short() {
		b.Skip("takes a minute and 5 GiB of disk")
	}
	s := newSite(b, size, "1.20.0", "1.21.0")
	s.wantBoot(slot.A)
	d := s.startProgram(b)
	d.mustCommand(d.Refresh, hostapi.StateAvailable)
	packed, err := filepath.Glob(filepath.Join(s.repo, "targets", "*v1.21.0-root.erofs.lz4"))
	if err != nil || len(packed) != 1 {
		b.Fatalf("image %v, %v", packed, err)
	}
	plain, copied := filepath.Join(b.TempDir(), "plain"), filepath.Join(b.TempDir(), "copy")
	stages := map[string][]string{
		"sha256sum": {"sha256sum", plain},
		"lz4":       {"lz4", "-q", "-d", "-f", packed[0], plain},
		"dd":        {"dd", "if=" + plain, "of=" + copied, "bs=1M", "conv=fsync"},
	}
	run := func(args []string) time.Duration {
		began := time.Now()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			b.Fatalf("%v: %v: %s", args, err, out)
		}
		return time.Since(began)
	}
	run(stages["lz4"]) // what the others read
	sums := map[string]time.Duration{}
	for b.Loop() {
		for name, args := range stages {
			sums[name] += run(args)
		}
		s.setFlags(slot.B, slot.Flags{})
		began := time.Now()
		d.mustCommand(d.Prepare, hostapi.StateStaged)
		sums["stage"] += time.Since(began)
	}
	peak := resident(b, d.pid, "VmHWM")
	slowest := max(sums["sha256sum"], sums["lz4"], sums["dd"])
	for name, sum := range sums {
		b.ReportMetric(sum.Seconds()/float64(b.N), name+"-s")
	}
	b.ReportMetric(sums["stage"].Seconds()/slowest.Seconds(), "x-slowest")
	b.ReportMetric(float64(peak>>20), "peak-MiB")
}

// programDaemon is the daemon as hosts run it.
type programDaemon struct {
	*daemon
	pid int
}

// startProgram builds the real program and starts it, until the benchmark ends, by another one if given.
func (s *site) startProgram(b *testing.B, by ...string) programDaemon {
	b.Helper()
	path := filepath.Join(b.TempDir(), "hostd")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/drydock-os/drydock/cmd/hostd").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	d := &daemon{t: b, log: &logBuffer{lines: make(chan string, 1000)}}
	args := append(by, path, "serve", "--root", s.root, "--disk", s.disk, "--log-format", "json")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = d.log, os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	d.Client = hostapi.New(filepath.Join(s.root, hostapi.DefaultSocket))
	d.log.await(b, "boot marked successful")
	return programDaemon{d, cmd.Process.Pid}
}
