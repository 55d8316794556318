// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCommandLine(t *testing.T) {
	root := t.TempDir()
	for _, tc := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"--help", 0, "Run containers of the host itself", ""},
		{"", 2, "", "host-ctr: error: no command given\nhost-ctr: hint: see 'host-ctr --help'\n"},
		{"fly", 2, "", `host-ctr: error: host-ctr has no command "fly"`},
		{"run --source x", 2, "", `container id "": want 1 to 76 letters`},
		{"run --container-id ../x --source x", 2, "", `container id "../x"`},
		{"run --container-id x --container-type pod --source x", 2, "", `container type "pod": want host or bootstrap`},
		{"run --container-id x", 2, "", "the flag --source is required"},
		{"pull-image", 2, "", "the flag --source is required"},
		{"pull-image --source x --label y", 2, "", "want NAME=VALUE"},
		{"clean-up", 2, "", "the flag --container-id is required"},
		{"clean-up --container-id x --log-level loud", 2, "", "want debug, info, warn or error"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), strings.Fields(tc.args+" "), &stdout, &stderr); code != tc.code {
			t.Errorf("%s: exit code %d", tc.args, code)
		}
		if !strings.Contains(stdout.String(), tc.stdout) || !strings.Contains(stderr.String(), tc.stderr) {
			t.Errorf("%s: stdout %q, stderr %q", tc.args, stdout.String(), stderr.String())
		}
	}
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"clean-up", "--root", root, "--container-id", "x"}, &stdout, &stderr); code != 1 ||
		!strings.Contains(stderr.String(), "host-ctr: hint: containerd must run") {
		t.Errorf("code %d, %s", code, &stderr)
	}
}

func TestCommandLinesOfTheFirstGeneration(t *testing.T) {
	for args, want := range map[string]string{
		"-ctr-id=admin -source=x -superpowered=true":                         "run --container-id=admin --source=x --superpowered=true",
		"-ctr-id admin -source x -superpowered":                              "run --container-id=admin --source=x --superpowered",
		"-source=x -pull-image-only -namespace=k8s.io -containerd-socket=/s": "pull-image --source=x --namespace=k8s.io --containerd-socket=/s",
		"--ctr-id=pause -source=x -superpowered=false -pull-image-only=true": "pull-image --source=x",
		"run --container-id x":                                               "run --container-id x",
		"--root x run":                                                       "--root x run",
		"--help":                                                             "--help",
		"-ctr-id":                                                            "-ctr-id",
	} {
		if diff := cmp.Diff(want, strings.Join(modern(strings.Fields(args)), " ")); diff != "" {
			t.Errorf("%s: %s", args, diff)
		}
	}
}
