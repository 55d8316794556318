// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/slot"
)

// A server that answers 503 now and then, and cuts every connection after a while, only costs time.
func TestFlakyServer(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0", "1.21.0")
	s.wantBoot(slot.A)
	d := s.start()
	d.log.await(t, "boot marked successful")
	var requests, ranges atomic.Int64
	s.setTamper(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Range") != "" {
			ranges.Add(1)
		}
		if requests.Add(1)%3 == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		if strings.HasSuffix(r.URL.Path, "-root.erofs.lz4") {
			http.FileServer(http.Dir(s.repo)).ServeHTTP(&cutAfter{ResponseWriter: w, left: 500 << 10}, r)
			return true
		}
		return false
	})
	d.mustCommand(d.Refresh, hostapi.StateAvailable)
	d.mustCommand(d.Prepare, hostapi.StateStaged)
	if ranges.Load() == 0 {
		t.Error("nothing was taken up in the middle")
	}
}

// cutAfter is an answer whose connection breaks.
type cutAfter struct {
	http.ResponseWriter
	left int
}

func (c *cutAfter) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(p)
}

// Whatever is broken around the host: the command fails with a reason, the running system stays the next to boot, and
// when the fault is gone the update goes through.
func TestFaultsAround(t *testing.T) {
	for _, tc := range []struct {
		name  string
		cause func(*testing.T, *site) (repair func())
		want  string
	}{
		{"endless data", func(_ *testing.T, s *site) func() {
			s.setTamper(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "-boot.img.lz4") {
					return false
				}
				for junk := make([]byte, 64<<10); ; {
					if _, err := w.Write(junk); err != nil {
						return true
					}
				}
			})
			return func() { s.setTamper(nil) }
		}, "target does not match its signed digest"},
		{"server that only says no", func(_ *testing.T, s *site) func() {
			s.setTamper(func(w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(http.StatusInternalServerError)
				return true
			})
			return func() { s.setTamper(nil) }
		}, "giving up after 4 tries: the server answered 500"},
		{"disk in use by another program", func(t *testing.T, s *site) func() {
			d, err := gpt.OpenFile(s.disk, true)
			if err != nil {
				t.Fatal(err)
			}
			return func() { _ = d.Close() }
		}, "in use"},
		{"state folder that cannot be written", func(t *testing.T, s *site) func() {
			dir := filepath.Join(s.root, "var/lib/drydock")
			if err := errors.Join(os.Rename(dir, dir+".away"), os.WriteFile(dir, nil, 0o644)); err != nil {
				t.Fatal(err)
			}
			return func() { _ = errors.Join(os.Remove(dir), os.Rename(dir+".away", dir)) }
		}, "not a directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 1<<20, "1.20.0", "1.21.0")
			s.wantBoot(slot.A)
			d := s.start()
			d.log.await(t, "boot marked successful")
			d.mustCommand(d.Refresh, hostapi.StateAvailable)
			repair := tc.cause(t, s)
			err := d.Prepare(t.Context())
			text := ""
			if err == nil {
				status, err := d.WaitUpdateStatus(t.Context())
				if err == nil && status.MostRecentCommand.Status == hostapi.StatusFailed {
					text = status.MostRecentCommand.Stderr
				} else if err != nil {
					text = err.Error()
				}
			} else {
				text = err.Error()
			}
			if !strings.Contains(text, tc.want) {
				t.Errorf("told %q, want something about %q", text, tc.want)
			}
			if a, b := s.flags(); a != (slot.Flags{Priority: 1, Successful: true}) || b.Priority != 0 {
				t.Errorf("flags: A %+v, B %+v", a, b)
			}
			repair()
			d.mustCommand(d.Prepare, hostapi.StateStaged)
		})
	}
}

// Of many clients that want the same at once, one gets it and the others hear that somebody was first.
func TestClientsAtOnce(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0", "1.21.0")
	s.wantBoot(slot.A)
	d := s.start()
	d.log.await(t, "boot marked successful")
	d.mustCommand(d.Refresh, hostapi.StateAvailable)
	hold := make(chan struct{})
	s.setTamper(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, ".lz4") {
			<-hold
		}
		return false
	})
	var started, busy atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			switch err := d.Prepare(t.Context()); {
			case err == nil:
				started.Add(1)
			case errors.Is(err, hostapi.ErrBusy):
				busy.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	clients.Wait()
	if started.Load() != 1 || busy.Load() != 7 {
		t.Errorf("%d started, %d were told to wait", started.Load(), busy.Load())
	}
	// Those who watch see how far it has come, although it still runs.
	status, err := d.ProgressStatus(t.Context())
	if err != nil || status.Progress == nil || status.Progress.Command != hostapi.CommandPrepare || status.UpdateState != hostapi.StateAvailable {
		t.Errorf("progress: %+v, %v", status, err)
	}
	close(hold)
	if status, err := d.WaitUpdateStatus(t.Context()); err != nil || status.UpdateState != hostapi.StateStaged || status.Progress != nil {
		t.Errorf("after all: %+v, %v", status, err)
	}
}

// A wrong clock is an error that names it, or makes no difference; it never makes the host forget what it knows.
func TestWrongClocks(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0", "1.21.0")
	s.wantBoot(slot.A)
	var offset atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	d := s.start(func(c *Config) { c.Now = now })
	d.log.await(t, "boot marked successful")
	for _, tc := range []struct {
		name  string
		clock time.Time
		want  string // empty: it works
	}{
		{"right", time.Now(), ""},
		{"1970", time.Unix(0, 0), "clock"},
		{"2038", time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC), "expired"},
		{"an hour ago", time.Now().Add(-time.Hour), ""},
		{"right again", time.Now(), ""},
	} {
		offset.Store(int64(time.Until(tc.clock)))
		c := d.command(d.Refresh).MostRecentCommand
		if tc.want == "" && c.Status != hostapi.StatusSuccess || tc.want != "" && !strings.Contains(c.Stderr, tc.want) {
			t.Errorf("%s: %s %q, want something about %q", tc.name, c.Status, c.Stderr, tc.want)
		}
	}
	// The clock goes wrong between looking and preparing, too.
	offset.Store(int64(time.Until(time.Unix(0, 0))))
	if c := d.command(d.Prepare).MostRecentCommand; c.Status != hostapi.StatusFailed || !strings.Contains(c.Stderr, "clock") {
		t.Errorf("prepare in 1970: %s %q", c.Status, c.Stderr)
	}
	if a, b := s.flags(); a != (slot.Flags{Priority: 1, Successful: true}) || b.Priority != 0 {
		t.Errorf("flags after a prepare in 1970: A %+v, B %+v", a, b)
	}
	offset.Store(int64(-time.Hour))
	d.mustCommand(d.Prepare, hostapi.StateStaged)
}
