// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/drydock-os/drydock/internal/setting"
	"github.com/drydock-os/drydock/internal/testutil/settingtest"
)

func environment(pairs ...string) func(string) string {
	m := map[string]string{"MY_NODE_NAME": "n1", "APISERVER_SERVICE_PORT": "443", "POD_NAMESPACE": "ns"}
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, "=")
		m[name] = value
	}
	return func(name string) string { return m[name] }
}

func TestSettings(t *testing.T) {
	for _, tc := range []struct {
		set  string
		want string // part of the error, "" for none
		wait time.Duration
	}{
		{"", "", 0},
		{"MY_NODE_NAME=", "MY_NODE_NAME is not set", 0},
		{"APISERVER_SERVICE_PORT=", "port from 1 to 65535", 0},
		{"APISERVER_SERVICE_PORT=https", `APISERVER_SERVICE_PORT is "https"`, 0},
		{"DRAIN_TIMEOUT=0s", "DRAIN_TIMEOUT", 0},
		{"DRAIN_TIMEOUT=forever", "a time above zero", 0},
		{"UPDATE_CHECK_INTERVAL=1s", "a time from 10s to 24h", 0},
		{"UPDATE_CHECK_INTERVAL=25h", "a time from 10s to 24h", 0},
		{"UPDATE_CHECK_INTERVAL=10s", "", 0},
		{"APISERVER_SERVICE_PORT=0", "port from 1 to 65535", 0},
		{"APISERVER_SERVICE_PORT=70000", "port from 1 to 65535", 0},
		{"EXCLUDE_FROM_LB_WAIT_TIME_IN_SEC=0", "", 0},
		{"EXCLUDE_FROM_LB_WAIT_TIME_IN_SEC=90", "", 90 * time.Second},
		{"EXCLUDE_FROM_LB_WAIT_TIME_IN_SEC=3O", `"3O", but may only be a whole number of seconds`, 0},
		{"EXCLUDE_FROM_LB_WAIT_TIME_IN_SEC=-1", "whole number of seconds", 0},
		{"LOGGING_FORMATTER=json", "", 0},
		{"LOGGING_FORMATTER=xml", "LOGGING_FORMATTER", 0},
		{"LOGGING_ANSI_ENABLED=True", "", 0},
		{"LOGGING_ANSI_ENABLED=maybe", "LOGGING_ANSI_ENABLED", 0},
		{"TRACING_FILTER_DIRECTIVE=anything[", "", 0},
	} {
		s, err := readSettings(environment(tc.set))
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", tc.set, err, tc.want)
		}
		if err == nil && (s.lbWait != tc.wait || s.url() != "https://brupop-apiserver.ns.svc:443") {
			t.Errorf("%s: %+v", tc.set, s)
		}
	}
}

// Every variable that the agent knows, with values that are wrong, and with some that are right.
func TestEveryWrongSettingStopsTheStart(t *testing.T) {
	stopped, stop := context.WithCancel(t.Context())
	stop() // so that it ends where the work would begin
	settingtest.Check(t, (&settings{}).table(), "", func(env map[string]string) (int, string) {
		pairs := []string{"GOMEMLIMIT=off", "GOMAXPROCS=1"} // those of this test stay
		for name, value := range env {
			pairs = append(pairs, name+"="+value)
		}
		var errs bytes.Buffer
		code := run(stopped, nil, environment(pairs...), io.Discard, &errs)
		return code, errs.String()
	})
}

func TestTheKubeletIsToldWhatEndedTheAgent(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	var errs bytes.Buffer
	run(t.Context(), nil, environment("APISERVER_SERVICE_PORT=https", "TERMINATION_LOG="+file), io.Discard, &errs)
	if got, err := os.ReadFile(file); err != nil || string(got) != errs.String() || errs.Len() == 0 {
		t.Errorf("left %q, %v, and printed %q", got, err, errs.String())
	}
}

func TestCommandLine(t *testing.T) {
	for _, tc := range []struct {
		args string
		code int
		out  string
		err  string
	}{
		{"-h", 0, "Usage: drydock-agent", ""},
		{"--help", 0, "EXCLUDE_FROM_LB_WAIT_TIME_IN_SEC", ""},
		{"--version", 0, "drydock-agent version ", ""},
		{"--nonsense", 2, "", "drydock-agent: hint: run 'drydock-agent --help'"},
		{"extra", 2, "", `unexpected argument "extra"`},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{tc.args}, environment(), &out, &errs)
		if code != tc.code || !strings.Contains(out.String(), tc.out) || !strings.Contains(errs.String(), tc.err) {
			t.Errorf("%s: code %d, stdout %q, stderr %q", tc.args, code, out.String(), errs.String())
		}
	}
	var errs bytes.Buffer
	if code := run(t.Context(), nil, environment("MY_NODE_NAME="), io.Discard, &errs); code != 2 {
		t.Errorf("without a node name: code %d, %s", code, errs.String())
	}
}

// The agent runs on every node of a cluster: what it links, it costs everywhere.
func TestTheAgentLinksNoKubernetes(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatalf("listing dependencies: %v", err)
	}
	const module = "github.com/drydock-os/drydock/"
	for pkg := range strings.FieldsSeq(string(out)) {
		first, _, _ := strings.Cut(pkg, "/")
		if strings.Contains(first, ".") && !strings.HasPrefix(pkg, module) {
			t.Errorf("links %s", pkg)
		}
	}
}

var update = flag.Bool("update", false, "write the documents anew")

// TestTheDocumentNamesTheSettings compares the reference with the program.
func TestTheDocumentNamesTheSettings(t *testing.T) {
	const file = "../../docs/operator/settings.md"
	now, wanted, err := setting.Document(file, "agent", (&settings{}).table())
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case *update:
		if err := os.WriteFile(file, []byte(wanted), 0o644); err != nil {
			t.Fatal(err)
		}
	case now != wanted:
		t.Errorf("%s differs from the settings of the agent, run 'make generate'; it should be:\n%s", file, wanted)
	}
}
