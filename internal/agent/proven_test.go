// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agent

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/hostapi"
)

// proving is a host whose new system passes its health checks after a while, or goes back to the one before.
type proving struct {
	host
	passes time.Duration // after the boot; 0: never
	gives  time.Duration // up, after the boot, if it has not passed
	booted *time.Time
}

func (p proving) OS(ctx context.Context) (hostapi.OS, error) {
	os, err := p.host.OS(ctx)
	os.Boot = &hostapi.Boot{Slot: os.Slot, Successful: true}
	if os.VersionID == "1.21.0" && (p.passes == 0 || time.Since(*p.booted) < p.passes) {
		os.Boot.Successful = false
		os.Boot.Checks = []hostapi.BootCheck{{Name: "api", Passed: true}, {Name: "10-web", Error: "the web server does not answer"}}
	}
	return os, err
}

func (p proving) Reboot(ctx context.Context) error {
	*p.booted = time.Now()
	if p.passes == 0 {
		time.AfterFunc(p.gives, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.running, p.other, p.inB = p.other, p.running, !p.inB
			p.bootID++
			p.onReboot()
		})
	}
	return p.host.Reboot(ctx)
}

// A node is not updated before its host says so: until then it stays empty, keeps its place, and says what it waits for.
func TestANodeStaysEmptyUntilItsHostHasProvedItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, booted := newWorld(), time.Time{}
		var back time.Time
		w.before = func(call string, _ int) {
			if call == "uncordon" && !booted.IsZero() && back.IsZero() {
				back = time.Now()
			}
		}
		w.live(t, 10*time.Minute, func(c *Config) { c.Host = proving{host{w}, 2 * time.Minute, 0, &booted} })
		if s := w.now(); s.CurrentVersion != "1.21.0" || s.CurrentState != agentapi.Idle || s.CrashCount != 0 || w.cordoned {
			t.Errorf("cordoned %v, %+v", w.cordoned, s)
		}
		if took := back.Sub(booted); took < 2*time.Minute || took > 2*time.Minute+5*time.Second {
			t.Errorf("back in service %v after the boot, want 2m", took)
		}
		want := "running 1.21.0, which is to prove itself first: its health check 10-web says: the web server does not answer"
		said := 0
		for _, m := range w.messages {
			if m == want {
				said++
			}
		}
		if said != 1 {
			t.Errorf("%q was said %d times in %q, want once", want, said, w.messages)
		}
	})
}

// A system that never proves itself costs the node one drain, and is not taken for an update at any moment.
func TestAHostThatGoesBackWasNeverUpdated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, booted := newWorld(), time.Time{}
		w.live(t, 30*time.Minute, func(c *Config) { c.Host = proving{host{w}, 0, 10 * time.Minute, &booted} })
		s := w.now()
		if want := "the node fell back: it was to boot 1.21.0 and came back with 1.20.0"; s.LastError != want || s.CrashCount != 1 {
			t.Errorf("%d failures, the last: %q, want one: %q", s.CrashCount, s.LastError, want)
		}
		if s.CurrentVersion != "1.20.0" || s.CurrentState != agentapi.Idle || w.drains != 1 || w.cordoned {
			t.Errorf("%d drains, cordoned %v, %+v", w.drains, w.cordoned, s)
		}
		for _, early := range []agentapi.State{agentapi.RebootedIntoUpdate, agentapi.MonitoringUpdate} {
			if slices.Contains(w.journal, "put "+string(early)) {
				t.Errorf("reported %s: %v", early, w.journal)
			}
		}
	})
}

// What the controller calls off is not waited for.
func TestTheWaitForAHostEndsWithTheUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, booted := newWorld(), time.Time{}
		go func() {
			time.Sleep(5 * time.Minute)
			w.mu.Lock()
			w.paused = true // a real one gives it time
			w.mu.Unlock()
			w.want(agentapi.Idle, "1.21.0")
		}()
		w.live(t, 6*time.Minute, func(c *Config) { c.Host = proving{host{w}, time.Hour, 0, &booted} })
		if s := w.now(); s.CurrentState != agentapi.Idle || s.CrashCount != 0 || w.cordoned {
			t.Errorf("cordoned %v, %+v", w.cordoned, s)
		}
	})
}
