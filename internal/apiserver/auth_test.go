// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/testutil/kubetest"
)

// Who may speak for a node, against real tokens of the real Kubernetes API server.
func TestD8OnlyTheAgentOfTheNodeIsHeard(t *testing.T) {
	f := newFixture(t)
	n1, n2 := f.node("n1"), f.node("n2")
	a1, a2 := f.agent(n1.Name), f.agent(n2.Name)
	r := f.serve()

	agentLabels := map[string]string{v2.ComponentLabel: "agent"}
	f.serviceAccount(f.ns, "other")
	otherAccount := f.pod(f.ns, "other-account", n1.Name, "other", agentLabels)
	unlabelled := f.pod(f.ns, "unlabelled", n1.Name, agentapi.AgentServiceAccount, nil)
	foreignNS := kubetest.Start(t).Namespace(t)
	f.serviceAccount(foreignNS, agentapi.AgentServiceAccount)
	impostor := f.pod(foreignNS, a1.Name, n1.Name, agentapi.AgentServiceAccount, agentLabels)
	deleted := f.pod(f.ns, "deleted", n1.Name, agentapi.AgentServiceAccount, agentLabels)
	deletedToken := f.token(deleted, agentapi.Audience)
	f.kill(deleted)

	for _, tc := range []struct {
		name, node, token string
		want              int
	}{
		{"its own agent", n1.Name, f.token(a1, agentapi.Audience), 200},
		{"its own agent again, from the cache", n1.Name, f.token(a1, agentapi.Audience), 200},
		{"another node's agent", n1.Name, f.token(a2, agentapi.Audience), 403},
		{"a token for another audience", n1.Name, f.token(a1, "https://kubernetes.default.svc"), 401},
		{"garbage", n1.Name, "garbage", 401},
		{"a damaged token", n1.Name, f.token(a1, agentapi.Audience) + "x", 401},
		{"another service account", n1.Name, f.token(otherAccount, agentapi.Audience), 403},
		{"a pod that is no agent", n1.Name, f.token(unlabelled, agentapi.Audience), 403},
		{"a pod of the same name in another namespace", n1.Name, f.token(impostor, agentapi.Audience), 403},
		{"a deleted pod", n1.Name, deletedToken, 401},
		{"a node that does not exist", "nowhere", f.token(a1, agentapi.Audience), 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := r.connect(tc.node, tc.token).Uncordon(t.Context()); code(err) != tc.want {
				t.Errorf("got %d (%v), want %d", code(err), err, tc.want)
			}
		})
	}
}

func TestATokenDiesWithItsPod(t *testing.T) {
	f := newFixture(t)
	n := f.node("n")
	pod := f.agent(n.Name)
	r := f.serve()
	c := r.connect(n.Name, f.token(pod, agentapi.Audience))
	if err := c.Uncordon(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.kill(pod)
	// Without the check on the pod the cache would accept the token for ten seconds more.
	f.eventually("the token is refused", func() bool { return code(c.Uncordon(t.Context())) != 200 })

	again := f.agent(n.Name)
	if err := c.Uncordon(t.Context()); code(err) == 200 {
		t.Error("the token of the deleted pod is accepted for its successor of the same name")
	}
	if err := r.connect(n.Name, f.token(again, agentapi.Audience)).Uncordon(t.Context()); err != nil {
		t.Errorf("the successor is refused: %v", err)
	}
}

func TestNodeUIDHeaderMustFitWhenGiven(t *testing.T) {
	f := newFixture(t)
	n := f.node("n")
	pod := f.agent(n.Name)
	r := f.serve()
	token := f.token(pod, agentapi.Audience)
	for uid, want := range map[string]int{"": 200, string(n.UID): 200, "another": 403} {
		if got := r.raw(t, "POST", agentapi.PathUncordon, nil, map[string]string{
			agentapi.HeaderNodeName: n.Name, agentapi.HeaderNodeUID: uid, agentapi.HeaderToken: token,
		}); got.code != want {
			t.Errorf("uid %q: %d %s, want %d", uid, got.code, got.body, want)
		}
	}
}

func TestForeignNodesAreUntouchedAfterRefusal(t *testing.T) {
	f := newFixture(t)
	victim, mine := f.node("victim"), f.node("mine")
	f.agent(victim.Name)
	r := f.serve()
	c := r.connect(victim.Name, f.token(f.agent(mine.Name), agentapi.Audience))
	if err := c.CordonAndDrain(t.Context()); code(err) != 403 {
		t.Fatalf("drain of another node: %v", err)
	}
	var now corev1.Node
	if err := f.client.Get(t.Context(), client.ObjectKeyFromObject(victim), &now); err != nil {
		t.Fatal(err)
	}
	if now.ResourceVersion != victim.ResourceVersion {
		t.Errorf("the victim was changed: %+v", now)
	}
}
