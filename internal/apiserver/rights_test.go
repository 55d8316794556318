// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/apiserver/certs"
	"github.com/drydock-os/drydock/internal/testutil/kubetest"
)

// What the server does, it does with these rights and no others: the chart grants them.
func TestTheseRightsAreEnough(t *testing.T) {
	f := newFixture(t)
	rule := func(group, resource string, verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
	}
	definition := rule("apiextensions.k8s.io", "customresourcedefinitions", "get", "patch")
	definition.ResourceNames = []string{definitionName}
	named := rule("", "secrets", "get", "update")
	named.ResourceNames = []string{certs.CASecret, certs.BundleSecret}
	const account = "brupop-apiserver-service-account"
	everywhere := metav1.ObjectMeta{Name: "apiserver-" + f.ns}
	here := metav1.ObjectMeta{Name: "apiserver", Namespace: f.ns}
	subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Name: account, Namespace: f.ns}}
	for _, o := range []client.Object{
		&rbacv1.ClusterRole{ObjectMeta: everywhere, Rules: []rbacv1.PolicyRule{
			rule("authentication.k8s.io", "tokenreviews", "create"),
			definition,
			rule("", "nodes", "get", "list", "patch"),
			rule("", "pods", "get", "list", "watch"),
			rule("", "pods/eviction", "create"),
			rule("events.k8s.io", "events", "create", "patch"),
		}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: everywhere, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: everywhere.Name}},
		&rbacv1.Role{ObjectMeta: here, Rules: []rbacv1.PolicyRule{
			rule("brupop.bottlerocket.aws", "bottlerocketshadows", "create", "get", "list", "watch"),
			rule("brupop.bottlerocket.aws", "bottlerocketshadows/status", "patch"),
			rule("", "secrets", "create"),
			named,
		}},
		&rbacv1.RoleBinding{ObjectMeta: here, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: here.Name}},
	} {
		f.create(o)
	}
	n := f.node("n")
	pod := f.agent(n.Name)
	daemon := true // the agent's pod stays, as one of a DaemonSet
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "DaemonSet", Name: "d", UID: "d", Controller: &daemon}}
	if err := f.client.Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	workload := &corev1.Pod{ // gone as soon as it is evicted
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "workload"},
		Spec:       corev1.PodSpec{NodeName: n.Name, TerminationGracePeriodSeconds: new(int64(0)), Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
	f.create(workload)
	r := f.serve(func(c *Config) { c.REST = kubetest.Start(t).ServiceAccount(t, f.ns, account) })
	c := r.connect(n.Name, f.token(pod, agentapi.Audience))
	_, putErr := c.PutStatus(t.Context(), agentapi.Status{})
	if code(putErr) == 500 {
		t.Error(putErr)
	}
	err := errors.Join(c.Create(t.Context()), c.Create(t.Context()), c.ExcludeFromLB(t.Context()), c.CordonAndDrain(t.Context()), c.Uncordon(t.Context()))
	if err != nil {
		t.Error(err)
	}
	if _, err := c.PutStatus(t.Context(), agentapi.Status{CurrentVersion: "1.0.0", TargetVersion: "1.0.0", CurrentState: agentapi.Idle}); err != nil {
		t.Error(err)
	}
	for namespace, name := range map[string]string{"default": n.Name, f.ns: v2.ShadowName(n.Name)} {
		f.eventually("the drain shows in the events of "+name, func() bool {
			var list eventsv1.EventList
			if err := f.client.List(t.Context(), &list, client.InNamespace(namespace)); err != nil {
				t.Fatal(err)
			}
			return slices.ContainsFunc(list.Items, func(e eventsv1.Event) bool {
				return e.Regarding.Name == name && e.Reason == "Drained" && e.Regarding.UID != ""
			})
		})
	}
}
