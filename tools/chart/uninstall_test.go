// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

const releaseNodes = "Job/brupop-release-nodes"

// Nodes that are in mid-update when the operator goes keep their cordons unless somebody lifts them.
func TestUninstallingReleasesNodes(t *testing.T) {
	all := mustRender(t, `{namespace: updates, image: "registry.example.com/drydock:v9", image_pull_secrets: [{name: a}],
placement: {apiserver: {priorityClassName: brupop-controller-high-priority, tolerations: [{key: api, operator: Exists}]}}}`)
	order := map[string]string{"ServiceAccount": "-10", "ClusterRole": "-10", "ClusterRoleBinding": "-5", "Job": "0"}
	for kind, weight := range order {
		o := all[kind+"/brupop-release-nodes"]
		want := map[string]string{
			"helm.sh/hook":               "post-delete", // before it, agents would cordon again
			"helm.sh/hook-weight":        weight,
			"helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
		}
		for key, value := range want {
			if got := at(o, "metadata", "annotations", key); got != value {
				t.Errorf("%s: %s is %v, want %s", kind, key, got, value)
			}
		}
	}
	if got := fmt.Sprint(at(all["ClusterRole/brupop-release-nodes"], "rules")); got != "[map[apiGroups:[] resources:[nodes] verbs:[get list patch]]]" {
		t.Errorf("rights are %s", got)
	}
	subject := at(all["ClusterRoleBinding/brupop-release-nodes"], "subjects", 0)
	if at(subject, "name") != "brupop-release-nodes" || at(subject, "namespace") != "updates" {
		t.Errorf("rights go to %v", subject)
	}
	pod := at(all[releaseNodes], "spec", "template", "spec")
	for what, got := range map[string]any{
		"[./apiserver release-nodes]":     at(pod, "containers", 0, "command"),
		"registry.example.com/drydock:v9": at(pod, "containers", 0, "image"),
		"brupop-release-nodes":            at(pod, "serviceAccountName"),
		"a":                               at(pod, "imagePullSecrets", 0, "name"),
		"api":                             at(pod, "tolerations", 0, "key"),
		"true":                            at(pod, "securityContext", "runAsNonRoot"),
		"<nil>":                           at(pod, "priorityClassName"), // the chart's own is gone by then
	} {
		if fmt.Sprint(got) != what {
			t.Errorf("the pod has %v, want %s", got, what)
		}
	}
	if got := at(all[releaseNodes], "spec", "template", "metadata", "labels", "brupop.bottlerocket.aws/component"); got != "release-nodes" {
		t.Errorf("the pod is taken for one of %v", got)
	}
}

func TestNodesMayBeLeftAsTheyAre(t *testing.T) {
	for name := range mustRender(t, `uninstall: {releaseNodes: false}`) {
		if strings.HasSuffix(name, "/brupop-release-nodes") {
			t.Errorf("there is %s", name)
		}
	}
}

func TestTheManifestHasNoHooks(t *testing.T) {
	var out bytes.Buffer
	if err := renderChart(&out, filepath.Join("..", "..", operator), "elsewhere", nil); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"helm.sh/hook", "release-nodes"} {
		if strings.Contains(out.String(), word) {
			t.Errorf("the manifest, which kubectl would apply at once, contains %s", word)
		}
	}
}
