// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package lab

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestTheOperatorIsInstalledAndRemovedByTheGuide types the commands of the page about installing, from the first to the last,
// but for those of kubectl, whose labels are set in another way.
func TestTheOperatorIsInstalledAndRemovedByTheGuide(t *testing.T) {
	t.Parallel()
	cmd, access := startUp(t, "--nodes", "2", "--without-operator", "--image", newImage+"="+operatorImageDir(t))
	defer stopUp(t, cmd)
	c := dial(t, access)
	u := newHelmUser(c, access.Kubeconfig)
	typed := map[string]bool{}
	for _, block := range shellBlocks(operatorPage(t, "install.md")) {
		var script strings.Builder
		for line := range strings.Lines(block) {
			switch words := strings.Fields(line); {
			case strings.HasPrefix(line, "kubectl label node "):
				for _, host := range access.Hosts {
					c.optIn(host.Name, true)
				}
				c.untilUpdated(len(access.Hosts))
			case strings.HasPrefix(line, "kubectl "):
			default:
				script.WriteString(line)
				typed[strings.Join(words[:min(len(words), 3)], " ")] = true
			}
		}
		if strings.Contains(script.String(), "release-nodes") {
			c.markCordoned(access.Hosts[0].Name)
		}
		u.run(script.String())
	}
	for _, want := range []string{"helm install drydock", "helm upgrade drydock", "helm uninstall drydock", "drydock status #", "drydock apiserver release-nodes"} {
		if !typed[want] {
			t.Errorf("the page does not tell to type %q", want)
		}
	}
	if left := c.workloads(); len(left) > 0 {
		t.Errorf("left of the workloads: %v", left)
	}
	var nodes corev1.NodeList
	if err := c.List(t.Context(), &nodes); err != nil {
		t.Fatal(err)
	}
	for i := range nodes.Items {
		if nodes.Items[i].Spec.Unschedulable {
			t.Errorf("%s is left cordoned", nodes.Items[i].Name)
		}
	}
}
