// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/drydock-os/drydock/internal/cli"
)

// runWith runs the program in this process with the given environment.
func runWith(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	p := process{env: func(name string) string { return env[name] }, stdout: &out, stderr: &err}
	code = run(t.Context(), p, args)
	return code, out.String(), err.String()
}

func TestVersion(t *testing.T) {
	code, stdout, _ := runWith(t, nil, "drydock", "version")
	if code != cli.ExitOK || !strings.HasPrefix(stdout, "drydock "+version) {
		t.Errorf("exit %d with %q, want 0 and the version", code, stdout)
	}
}

func TestEveryNameOfTheProgramAnswersVersion(t *testing.T) {
	for _, args := range [][]string{{"drydock", "--version"}, {"controller", "--version"}, {"/apiserver", "--version"}, {"drydock", "apiserver", "--version"}, {"kubectl-drydock", "--version"}} {
		code, stdout, stderr := runWith(t, nil, args...)
		if code != cli.ExitOK || !strings.HasSuffix(stdout, " version "+cli.Version(version)+"\n") || stderr != "" {
			t.Errorf("%v: exit %d with %q and %q, want 0 and the version", args, code, stdout, stderr)
		}
	}
}

func TestARoleIsTakenByTheNameOfTheProgram(t *testing.T) {
	for _, name := range []string{"./controller", "/controller", "controller"} {
		code, stdout, stderr := runWith(t, nil, name, "--help")
		if code != cli.ExitOK || !strings.Contains(stdout, "MAX_CONCURRENT_UPDATE") {
			t.Errorf("%s --help: exit %d, stdout %q, stderr %q, want the help of the controller", name, code, stdout, stderr)
		}
	}
}

func TestD46MistakesAreNamedAtStart(t *testing.T) {
	tests := []struct {
		env  map[string]string
		args []string
		want []string
	}{
		{args: []string{"drydock", "sail"}, want: []string{"sail", "drydock --help"}},
		{args: []string{"drydock", "controller", "--fast"}, want: []string{"--fast", "drydock controller --help"}},
		{env: map[string]string{"MAX_CONCURRENT_UPDATE": "110%"}, want: []string{"MAX_CONCURRENT_UPDATE", "110%", "1% to 100%", "unlimited"}},
		{env: map[string]string{"MAX_CONCURRENT_UPDATE": "-1"}, want: []string{"MAX_CONCURRENT_UPDATE", "-1", "whole number from 0"}},
		{env: map[string]string{"LOGGING_FORMATTER": "xml"}, want: []string{"LOGGING_FORMATTER", "xml", "full, compact, pretty or json"}},
		{env: map[string]string{"LOGGING_ANSI_ENABLED": "yes"}, want: []string{"LOGGING_ANSI_ENABLED", "yes", "true or false"}},
		{env: map[string]string{"LEASE_DURATION": "soon"}, want: []string{"LEASE_DURATION", "soon", "such as 3s"}},
		{env: map[string]string{"STATE_TIMEOUT_REBOOTED": "10m"}, want: []string{"STATE_TIMEOUT_REBOOTED", "10m0s", "above 10m0s", "DRAIN_TIMEOUT"}},
		{env: map[string]string{"POD_NAMESPACE": ""}, want: []string{"namespace", "POD_NAMESPACE"}},
	}
	for _, tt := range tests {
		env := map[string]string{"POD_NAMESPACE": "test"}
		for k, v := range tt.env {
			env[k] = v
		}
		args := tt.args
		if args == nil {
			args = []string{"controller"}
		}
		code, stdout, stderr := runWith(t, env, args...)
		if code != cli.ExitUsage || stdout != "" {
			t.Errorf("%v with %v: exit %d, stdout %q, want %d and nothing", args, tt.env, code, stdout, cli.ExitUsage)
		}
		for _, want := range append(tt.want, "drydock: error: ") {
			if !strings.Contains(stderr, want) {
				t.Errorf("%v with %v says %q, want %q in it", args, tt.env, stderr, want)
			}
		}
	}
}

func TestTheDefaultScheduleIsAccepted(t *testing.T) {
	code, _, stderr := runWith(t, map[string]string{
		"POD_NAMESPACE": "test", "SCHEDULER_CRON_EXPRESSION": " * * * * *  * * ", "MAX_CONCURRENT_UPDATE": "Unlimited",
		"LOGGING_FORMATTER": "json", "LOGGING_ANSI_ENABLED": "True", "TRACING_FILTER_DIRECTIVE": "agent=debug,info",
	}, "controller", "--kubeconfig", "/nowhere")
	if code != cli.ExitFailure || !strings.Contains(stderr, "finding the Kubernetes API") {
		t.Errorf("exit %d with %q, want to get as far as looking for the cluster", code, stderr)
	}
}
