// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drydock-os/drydock/internal/controller"
	"github.com/drydock-os/drydock/internal/plan"
	"github.com/drydock-os/drydock/internal/setting"
)

// controllerWith reads an environment as the controller does.
func controllerWith(t *testing.T, env map[string]string) controller.Config {
	t.Helper()
	var e controllerEnv
	p := process{env: func(name string) string {
		if name == "POD_NAMESPACE" {
			return "test"
		}
		return env[name]
	}}
	if err := p.controllerEnv(&e); err != nil {
		t.Fatalf("%v: %v", env, err)
	}
	return e.Config
}

func TestTheDefaultsOfTheController(t *testing.T) {
	cfg := controllerWith(t, nil)
	if cfg.Schedule == nil || !cfg.Schedule.Contains(time.Unix(0, 0)) || cfg.Schedule.OneShot() {
		t.Error("updates may not start at any time")
	}
	cfg.Schedule = nil
	want := controller.Config{
		Namespace: "test", MaxConcurrent: 1, CountUnavailable: true,
		Timeouts:       plan.Timeouts{Staged: 12 * time.Minute, Rebooted: 30 * time.Minute, Monitoring: 5 * time.Minute, Idle: 2 * time.Minute},
		LeaderElection: controller.LeaderElection{LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 400 * time.Millisecond},
	}
	if diff := cmp.Diff(want, cfg); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

// The limit of the reboot follows those of what comes before it.
func TestTheLimitOfTheRebootFollowsTheDrain(t *testing.T) {
	for _, tc := range []struct {
		env  map[string]string
		want time.Duration
	}{
		{map[string]string{"DRAIN_TIMEOUT": "1h"}, 105 * time.Minute},
		{map[string]string{"EXCLUDE_FROM_LB_WAIT_TIME_IN_SEC": "600"}, 40 * time.Minute},
		{map[string]string{"STATE_TIMEOUT_REBOOTED": "11m"}, 11 * time.Minute},
	} {
		if got := controllerWith(t, tc.env).Timeouts.Rebooted; got != tc.want {
			t.Errorf("%v: %v, want %v", tc.env, got, tc.want)
		}
	}
}

func TestSchedulesFromTheEnvironment(t *testing.T) {
	tests := []struct {
		name         string
		env          map[string]string
		open, closed string // RFC 3339
	}{
		{
			name: "an expression, in UTC",
			env:  map[string]string{"SCHEDULER_CRON_EXPRESSION": " * * 22-23 * * Fri "},
			open: "2026-03-06T22:30:00Z", closed: "2026-03-06T21:30:00Z",
		},
		{
			name: "elsewhere, and with a length",
			env:  map[string]string{"SCHEDULER_CRON_EXPRESSION": "0 0 22 * * Fri", "SCHEDULER_TIME_ZONE": "Asia/Tokyo", "SCHEDULER_WINDOW_DURATION": "4h"},
			open: "2026-03-06T16:59:59Z", closed: "2026-03-06T17:00:00Z",
		},
		{
			name: "the legacy window overnight",
			env:  map[string]string{"UPDATE_WINDOW_START": "22:0:0", "UPDATE_WINDOW_STOP": "4:30:0"},
			open: "2026-03-06T04:29:59Z", closed: "2026-03-06T04:30:00Z",
		},
		{
			name: "D50: half a legacy window beside an expression has no effect",
			env:  map[string]string{"SCHEDULER_CRON_EXPRESSION": "* * 22-23 * * Fri", "UPDATE_WINDOW_START": "8:0:0"},
			open: "2026-03-06T22:30:00Z", closed: "2026-03-06T08:30:00Z",
		},
		{
			name: "D50: so has a wrong one",
			env:  map[string]string{"SCHEDULER_CRON_EXPRESSION": "* * 22-23 * * Fri", "UPDATE_WINDOW_START": "x", "UPDATE_WINDOW_STOP": "y"},
			open: "2026-03-06T22:30:00Z", closed: "2026-03-06T08:30:00Z",
		},
	}
	for _, tt := range tests {
		s := controllerWith(t, tt.env).Schedule
		for text, want := range map[string]bool{tt.open: true, tt.closed: false} {
			now, err := time.Parse(time.RFC3339, text)
			if err != nil {
				t.Fatal(err)
			}
			if s.Contains(now) != want {
				t.Errorf("%s: open at %s: %v, want %v", tt.name, text, !want, want)
			}
		}
	}
}

var update = flag.Bool("update", false, "write the documents anew")

// TestTheDocumentNamesTheSettings compares the reference with the program.
func TestTheDocumentNamesTheSettings(t *testing.T) {
	const file = "../../docs/operator/settings.md"
	for section, settings := range map[string][]setting.Setting{
		"controller": controllerTable(&controllerEnv{}), "apiserver": apiServerTable(&apiServerEnv{}),
	} {
		now, wanted, err := setting.Document(file, section, settings)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(file, []byte(wanted), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if diff := cmp.Diff(wanted, now); diff != "" {
			t.Errorf("%s differs from the settings of the %s, run 'make generate' (-want +got):\n%s", file, section, diff)
		}
	}
}
