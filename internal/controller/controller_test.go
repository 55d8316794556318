// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
)

func TestNewChecksItsConfiguration(t *testing.T) {
	good := Config{REST: &rest.Config{}, Namespace: "test"}
	if _, err := New(good); err != nil {
		t.Fatalf("the defaults are refused: %v", err)
	}
	for name, spoil := range map[string]func(*Config){
		"kube-apiserver": func(c *Config) { c.REST = nil },
		"namespace":      func(c *Config) { c.Namespace = "" },
		"limit":          func(c *Config) { c.MaxConcurrent = -101 },
		"timeouts":       func(c *Config) { c.Timeouts.Idle = -time.Second },
		"lease duration": func(c *Config) { c.LeaderElection.LeaseDuration = 2 * time.Second },
		"whole seconds":  func(c *Config) { c.LeaderElection.LeaseDuration = 3500 * time.Millisecond },
		"retry period":   func(c *Config) { c.LeaderElection.RetryPeriod = 1900 * time.Millisecond },
	} {
		c := good
		spoil(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want one about the %s", err, name)
		}
	}
}

func scrape(t *testing.T, f *fixture, leading <-chan struct{}) string {
	t.Helper()
	f.watch()
	w := httptest.NewRecorder()
	metricsHandler(f.reconciler, leading).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestD51MetricsShowThePresent(t *testing.T) {
	silent := shadow("d")
	silent.Status = nil
	updated := shadow("c")
	updated.Status.CurrentVersion = "1.21.0"
	f := newFixture(t, 1, node("a"), shadow("a"), shadow("b"), updated, silent)
	leading := make(chan struct{})
	if got := scrape(t, f, leading); strings.Contains(got, "brupop_hosts") {
		t.Errorf("a standby counts hosts too, which a sum over replicas would double:\n%s", got)
	}
	close(leading)
	got := scrape(t, f, leading)
	for _, want := range []string{
		`brupop_hosts_state{state="Idle"} 3`,
		`brupop_hosts_state{state="ErrorReset"} 0`,
		`brupop_hosts_version{bottlerocket_version="1.20.0"} 2`,
		`brupop_hosts_version{bottlerocket_version="1.21.0"} 1`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no line %q", want)
		}
	}
	updated.Status.CurrentState = v2.ErrorReset
	if err := f.server.Status().Update(t.Context(), updated); err != nil {
		t.Fatal(err)
	}
	if got := scrape(t, f, leading); !strings.Contains(got, `brupop_hosts_state{state="ErrorReset"} 1`) {
		t.Error("the next scrape does not show the change")
	}
}

func TestALookThatHangsFailsTheProbe(t *testing.T) {
	f := newFixture(t, 1)
	if err := f.hanging(); err != nil {
		t.Errorf("idle, but %v", err)
	}
	f.busySince.Store(f.clock.Add(-time.Second).UnixNano())
	if err := f.hanging(); err != nil {
		t.Errorf("busy for a second, and %v", err)
	}
	f.busySince.Store(f.clock.Add(-time.Hour).UnixNano())
	if f.hanging() == nil {
		t.Error("an hour is not seen as hanging")
	}
}
