// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"log/slog"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/testutil/kubetest"
)

func (f *fixture) now(n *corev1.Node) *corev1.Node {
	f.t.Helper()
	var now corev1.Node
	if err := f.client.Get(f.t.Context(), client.ObjectKeyFromObject(n), &now); err != nil {
		f.t.Fatal(err)
	}
	return &now
}

func marked(n *corev1.Node) bool {
	_, by := n.Annotations[v2.CordonedByAnnotation]
	_, held := n.Annotations[v2.HeldByAnnotation]
	_, excluded := n.Labels[v2.ExcludeFromLBLabel]
	return n.Spec.Unschedulable || by || held || excluded
}

// D21: a node whose label is removed in mid-update loses its agent, and then its shadow.
func TestD21AnOptedOutNodeIsReleased(t *testing.T) {
	f := newFixture(t)
	n := f.node("n")
	r := f.serve()
	pod := f.agent(n.Name)
	c := r.connect(n.Name, f.token(pod, agentapi.Audience))
	if err := c.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.ExcludeFromLB(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.cordon(n.Name); err != nil {
		t.Fatal(err)
	}
	if !marked(f.now(n)) {
		t.Fatal("not cordoned")
	}
	f.kill(pod)
	if err := f.client.Delete(t.Context(), f.shadow(n.Name)); err != nil {
		t.Fatal(err)
	}
	f.eventually("the node is released", func() bool { return !marked(f.now(n)) })
}

// uninstaller has the rights of the chart's Job that comes after an uninstallation, and no others.
func (f *fixture) uninstaller() *rest.Config {
	f.t.Helper()
	const account = "brupop-release-nodes"
	everywhere := metav1.ObjectMeta{Name: "release-nodes-" + f.ns}
	f.create(&rbacv1.ClusterRole{ObjectMeta: everywhere, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"get", "list", "patch"}},
	}})
	f.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: everywhere,
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: account, Namespace: f.ns}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: everywhere.Name},
	})
	return kubetest.Start(f.t).ServiceAccount(f.t, f.ns, account)
}

func TestACordonLeftFromBeforeTheStartIsLifted(t *testing.T) {
	f := newFixture(t)
	left, busy, theirs := f.node("left"), f.node("busy"), f.node("theirs")
	f.create(&v2.BottlerocketShadow{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: v2.ShadowName(busy.Name)},
		Spec:       v2.BottlerocketShadowSpec{State: v2.RebootedIntoUpdate},
	})
	theirs.Spec.Unschedulable = true
	if err := f.client.Update(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*corev1.Node{left, busy} {
		if _, err := f.cordon(n.Name); err != nil {
			t.Fatal(err)
		}
	}
	f.serve()
	f.eventually("the node is released", func() bool { return !marked(f.now(left)) })
	if !f.now(busy).Spec.Unschedulable {
		t.Error("a node in mid-update was released")
	}
	if !f.now(theirs).Spec.Unschedulable {
		t.Error("an administrator's cordon was lifted")
	}
	n, err := ReleaseNodes(t.Context(), f.uninstaller(), slog.New(slog.DiscardHandler))
	if err != nil || n < 1 || marked(f.now(busy)) || !f.now(theirs).Spec.Unschedulable {
		t.Errorf("release of all nodes: %d, %v", n, err)
	}
}
