// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/plan"
)

func TestKubectlFindsThePlugin(t *testing.T) {
	code, stdout, stderr := runWith(t, nil, "/usr/local/bin/kubectl-drydock", "--help")
	if code != cli.ExitOK || !strings.Contains(stdout, "kubectl drydock [command]") || strings.Contains(stdout, "controller ") {
		t.Errorf("exit %d, stdout %q, stderr %q, want the help of the plugin, without roles", code, stdout, stderr)
	}
	code, _, stderr = runWith(t, nil, "kubectl-drydock", "node")
	if code != cli.ExitUsage || !strings.Contains(stderr, "'kubectl drydock status'") {
		t.Errorf("exit %d, stderr %q, want a hint in the words of kubectl", code, stderr)
	}
}

func TestAMistypedCommandIsGuessed(t *testing.T) {
	for args, want := range map[string]string{
		"drydock stats":                  "did you mean 'drydock status'?",
		"drydock apiserver relase-nodes": "did you mean 'drydock apiserver release-nodes'?",
		"kubectl-drydock stats":          "did you mean 'kubectl drydock status'?",
		"drydock nothing-like-a-command": "'drydock --help' lists the commands",
	} {
		code, stdout, stderr := runWith(t, nil, strings.Fields(args)...)
		if code != cli.ExitUsage || stdout != "" || !strings.Contains(stderr, "has no command") || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d, stdout %q, stderr %q, want %q", args, code, stdout, stderr, want)
		}
	}
}

func TestPeopleWithoutAClusterAreToldSo(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	code, stdout, stderr := runWith(t, nil, "drydock", "status")
	want := "drydock: error: no cluster is configured: there is no kubeconfig\ndrydock: hint: "
	if code != cli.ExitFailure || stdout != "" || !strings.HasPrefix(stderr, want) {
		t.Errorf("exit %d, stdout %q, stderr %q, want %q", code, stdout, stderr, want)
	}
}

func TestThePlanOfPeopleIsThatOfTheController(t *testing.T) {
	env := map[string]string{"MAX_CONCURRENT_UPDATE": "3", "MY_NODE_NAME": "worker-1", "POD_NAMESPACE": "test"}
	at, err := controllerSettings(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	if s := at(time.Now()); s.MaxConcurrent != plan.Limit(3) || s.OwnNode != "worker-1" || s.Window.Closed {
		t.Errorf("settings %+v, want those of the environment", s)
	}
	env["MAX_CONCURRENT_UPDATE"] = "many"
	if _, err := controllerSettings(func(name string) string { return env[name] }); err == nil {
		t.Error("a value that the controller refuses was taken")
	}
}
