// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/hostapi"
)

// dyingHost is a host whose daemon ends once, at a request, and is back after a while.
type dyingHost struct {
	host
	at    string // the request: a command, "reboot", "os" or "status"
	when  string // before: the request is lost; in the middle: the command was begun; after: only the answer is lost
	error error  // what the caller sees
	away  time.Duration
}

// calls makes the request, in the way that the daemon's end allows.
func (d *dyingHost) calls(name string, request func() error) error {
	d.mu.Lock()
	dies := d.at == name
	if dies {
		d.at = ""
		if d.away > 0 {
			d.hostDown = d.error
			time.AfterFunc(d.away, func() {
				d.mu.Lock()
				defer d.mu.Unlock()
				d.hostDown = nil
			})
		}
	}
	down := d.hostDown
	d.mu.Unlock()
	switch {
	case !dies && down != nil:
		return down
	case !dies:
		return request()
	case d.when == "after":
		_ = request()
	case d.when == "in the middle":
		d.mu.Lock()
		d.asked, d.update.MostRecentCommand = true, &hostapi.CommandResult{
			Type: hostapi.Command(name), Status: hostapi.StatusFailed, ExitStatus: 1, Stderr: "the daemon ended", Interrupted: true,
		}
		d.mu.Unlock()
	}
	return d.error
}

func (d *dyingHost) Refresh(ctx context.Context) error {
	return d.calls("refresh", func() error { return d.host.Refresh(ctx) })
}

func (d *dyingHost) Prepare(ctx context.Context) error {
	return d.calls("prepare", func() error { return d.host.Prepare(ctx) })
}

func (d *dyingHost) Activate(ctx context.Context) error {
	return d.calls("activate", func() error { return d.host.Activate(ctx) })
}

func (d *dyingHost) Deactivate(ctx context.Context) error {
	return d.calls("deactivate", func() error { return d.host.Deactivate(ctx) })
}

func (d *dyingHost) Reboot(ctx context.Context) error {
	return d.calls("reboot", func() error { return d.host.Reboot(ctx) })
}

func (d *dyingHost) OS(ctx context.Context) (os hostapi.OS, err error) {
	err = d.calls("os", func() error { os, err = d.host.OS(ctx); return err })
	return os, err
}

func (d *dyingHost) WaitUpdateStatus(ctx context.Context) (s hostapi.UpdateStatus, err error) {
	err = d.calls("status", func() error { s, err = d.host.WaitUpdateStatus(ctx); return err })
	return s, err
}

// A daemon that ends during any request, in any way and at any moment of it, costs time and nothing else.
func TestADaemonThatEndsDuringARequest(t *testing.T) {
	lost := func(err error) error { return fmt.Errorf("%w: %w", hostapi.ErrDisconnected, err) }
	for name, err := range map[string]error{
		"EOF": lost(io.EOF), "cut answer": lost(io.ErrUnexpectedEOF), "reset": lost(syscall.ECONNRESET),
		"broken pipe": lost(syscall.EPIPE), "socket gone": lost(&fs.PathError{Op: "connect", Path: "/run/api.sock", Err: syscall.ENOENT}),
		"refused": errRefused, "stopping": &hostapi.StatusError{Code: 503, Body: "the host daemon is stopping"},
	} {
		for _, at := range []string{"refresh", "prepare", "activate", "deactivate", "reboot", "os", "status"} {
			for _, when := range []string{"before", "in the middle", "after"} {
				if when == "in the middle" && (at == "reboot" || at == "os" || at == "status") {
					continue // these have no middle
				}
				if when != "before" && errors.Is(err, syscall.ECONNREFUSED) {
					continue // it never reached anybody
				}
				for _, away := range []time.Duration{0, 2 * time.Second} {
					t.Run(fmt.Sprint(name, "/", at, "/", when, "/", away), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							w := newWorld()
							if at == "deactivate" { // somebody has armed another version
								other := &hostapi.Image{Version: "1.20.5"}
								w.asked, w.other = true, "1.20.5"
								w.update = hostapi.UpdateStatus{UpdateState: hostapi.StateReady, ChosenUpdate: other,
									StagingPartition: &hostapi.Partition{Image: *other, NextToBoot: true}}
							}
							d := &dyingHost{host: host{w}, at: at, when: when, error: err, away: away}
							w.live(t, 20*time.Minute, func(c *Config) { c.Host = d })
							if s := w.now(); s.CurrentVersion != "1.21.0" || s.CurrentState != agentapi.Idle || s.CrashCount != 0 || s.LastError != "" || w.cordoned {
								t.Errorf("cordoned %v, %+v\n%v", w.cordoned, s, w.journal)
							}
							if n := countPrepares(w.journal); n > 2 || w.reboots != 1 {
								t.Errorf("prepared %d times, rebooted %d times\n%v", n, w.reboots, w.journal)
							}
							if d.at != "" {
								t.Errorf("%s was never asked\n%v", at, w.journal)
							}
							for _, m := range w.messages {
								if strings.Contains(m, "failed") {
									t.Errorf("reported %q", m)
								}
							}
						})
					})
				}
			}
		}
	}
}

// A daemon that ends at each prepare, for instance because that takes more memory than it may, is a failure in the end.
func TestADaemonThatAlwaysEndsIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.before = func(call string, _ int) {
			if call == "status" {
				w.mu.Lock()
				defer w.mu.Unlock()
				if r := w.update.MostRecentCommand; r != nil && r.Type == hostapi.CommandPrepare {
					w.update.UpdateState = hostapi.StateAvailable
					w.update.MostRecentCommand = &hostapi.CommandResult{Type: r.Type, Status: hostapi.StatusFailed, Stderr: "killed", Interrupted: true}
				}
			}
		}
		w.live(t, time.Hour)
		if s := w.now(); s.CrashCount != 1 || !strings.Contains(s.LastError, "the host did not get ready in 12 steps") || !strings.Contains(s.LastError, "killed") {
			t.Errorf("%+v", s)
		}
	})
}
