// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/controller"
	"github.com/drydock-os/drydock/internal/plan"
	"github.com/drydock-os/drydock/internal/setting"
	"github.com/drydock-os/drydock/internal/testutil/settingtest"
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

// Every variable that the roles know, with values that are wrong, and with some that are right.
func TestD46EveryWrongSettingStopsTheStart(t *testing.T) {
	for role, settings := range map[string][]setting.Setting{
		"controller": controllerTable(&controllerEnv{}), "apiserver": apiServerTable(&apiServerEnv{}),
	} {
		settingtest.Check(t, settings, "finding the Kubernetes API", func(env map[string]string) (int, string) {
			if _, given := env["POD_NAMESPACE"]; !given {
				env["POD_NAMESPACE"] = "test"
			}
			code, _, stderr := runWith(t, env, "drydock", role, "--kubeconfig", "/nowhere")
			return code, stderr
		})
	}
}

// Settings that are right each, and wrong together.
func TestD46SettingsThatContradictEachOther(t *testing.T) {
	for _, tc := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"LEASE_DURATION": "2s"}, `LEASE_RENEW_DEADLINE is "2s", but may only be a time below LEASE_DURATION, which is 2s`},
		{map[string]string{"LEASE_RENEW_DEADLINE": "4s"}, `LEASE_RENEW_DEADLINE is "4s"`},
		{map[string]string{"LEASE_RETRY_PERIOD": "2.5s"}, `LEASE_RETRY_PERIOD is "2.5s", but may only be a time that is, with a fifth of it added, below LEASE_RENEW_DEADLINE, which is 2s`},
		{map[string]string{"STATE_TIMEOUT_REBOOTED": "1h", "EXCLUDE_FROM_LB_WAIT_TIME_IN_SEC": "3000"}, `STATE_TIMEOUT_REBOOTED is "1h0m0s", but may only be a time above 1h0m0s`},
		{map[string]string{"UPDATE_WINDOW_START": "8:0:0"}, `UPDATE_WINDOW_STOP is "", but may only be a time such as 4:30:0, since UPDATE_WINDOW_START is set`},
		{map[string]string{"UPDATE_WINDOW_STOP": "8:0:0"}, `UPDATE_WINDOW_START is ""`},
		{map[string]string{"UPDATE_WINDOW_START": "8:0:0", "UPDATE_WINDOW_STOP": "8:0:0"}, "another time than the window start"},
	} {
		tc.env["POD_NAMESPACE"] = "test"
		code, _, stderr := runWith(t, tc.env, "drydock", "controller", "--kubeconfig", "/nowhere")
		if code != cli.ExitUsage || !strings.Contains(stderr, tc.want) {
			t.Errorf("%v: exit %d with %q, want %q", tc.env, code, stderr, tc.want)
		}
	}
}

// What ends a role is left where the kubelet reads it.
func TestTheKubeletIsToldWhatEndedARole(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	for _, args := range [][]string{{"./controller"}, {"./apiserver"}, {"./apiserver", "release-nodes"}} {
		env := map[string]string{"POD_NAMESPACE": "test", "TERMINATION_LOG": file, "LOGGING_FORMATTER": "xml"}
		_, _, stderr := runWith(t, env, args...)
		got, err := os.ReadFile(file)
		if err != nil || string(got) != stderr || stderr == "" {
			t.Errorf("%v: left %q, %v, and printed %q", args, got, err, stderr)
		}
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
