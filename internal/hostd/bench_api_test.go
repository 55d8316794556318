// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// BenchmarkGetSettings asks the real program, which has one core, for all settings, 1,000 times a second, whether or
// not earlier answers have come; one operation is such a second. A time counts from when its request was due. It
// reports the times, and how much memory the idle program has before and after.
func BenchmarkGetSettings(b *testing.B) {
	const (
		perSecond = 1000
		clients   = 2 // as many connections are kept
	)
	s := newSite(b, 1<<20, "1.20.0")
	s.bootLoader()
	d := s.startProgram(b, "taskset", "-c", "0")
	idle := resident(b, d.pid, "VmRSS")
	if code, reply, err := d.Do(b.Context(), http.MethodPost, "/tx/commit?tx=bottlerocket-launch", nil); err != nil || code != http.StatusOK {
		b.Fatalf("%d %s %v", code, reply, err)
	}
	var took []time.Duration
	for b.Loop() {
		due := make(chan time.Time, perSecond)
		var mu sync.Mutex
		var parts sync.WaitGroup
		for range clients {
			parts.Go(func() {
				for at := range due {
					code, _, err := d.Do(b.Context(), http.MethodGet, "/settings", nil)
					if err != nil || code != http.StatusOK {
						b.Errorf("%d %v", code, err)
					}
					mu.Lock()
					took = append(took, time.Since(at))
					mu.Unlock()
				}
			})
		}
		began := time.Now()
		for i := range perSecond {
			at := began.Add(time.Duration(i) * time.Second / perSecond)
			time.Sleep(time.Until(at))
			due <- at
		}
		close(due)
		parts.Wait()
	}
	slices.Sort(took)
	at := func(share float64) float64 {
		return float64(took[int(share*float64(len(took)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
	b.ReportMetric(at(1), "max-ms")
	b.ReportMetric(float64(idle)/(1<<20), "idle-MiB")
	b.ReportMetric(float64(resident(b, d.pid, "VmRSS"))/(1<<20), "after-MiB")
}

// resident returns a size in the status of a process, in bytes.
func resident(b *testing.B, pid int, field string) int64 {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var kib int64
		if _, err := fmt.Sscanf(line, field+": %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	b.Fatalf("no %s", field)
	return 0
}
