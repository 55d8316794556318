// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"strings"
	"testing"

	"github.com/drydock-os/drydock/internal/cli"
)

func TestMistakesOfTheApiserverAreNamedAtStart(t *testing.T) {
	for name, tc := range map[string]struct{ value, allowed string }{
		"APISERVER_INTERNAL_PORT": {"70000", "a port from 1 to 65535"},
		"DRAIN_TIMEOUT":           {"-1s", "a time above zero"},
		"DRAIN_ON_TIMEOUT":        {"Force", "abort or force"},
		"LOGGING_FORMATTER":       {"text", "full, compact, pretty or json"},
		"TLS_MODE":                {"cert-manager", "own or files"},
	} {
		code, _, stderr := runWith(t, map[string]string{name: tc.value, "POD_NAMESPACE": "ns"}, "drydock", "apiserver")
		if code != cli.ExitUsage || !strings.Contains(stderr, name) || !strings.Contains(stderr, tc.value) || !strings.Contains(stderr, tc.allowed) {
			t.Errorf("%s=%s: exit %d with %q", name, tc.value, code, stderr)
		}
	}
}

func TestReleaseNodesIsPartOfTheApiserver(t *testing.T) {
	code, stdout, _ := runWith(t, nil, "./apiserver", "release-nodes", "--help")
	if code != cli.ExitOK || !strings.Contains(stdout, "from all nodes") {
		t.Errorf("exit %d with %q", code, stdout)
	}
}
