// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubetest_test

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/testutil/kubetest"
)

func TestAShadowCanBeStored(t *testing.T) {
	cluster := kubetest.Start(t)
	c, ns := cluster.Client(t), cluster.Namespace(t)
	brs := &v2.BottlerocketShadow{Spec: v2.BottlerocketShadowSpec{State: v2.Idle}}
	brs.Name, brs.Namespace = v2.ShadowName("n1"), ns
	if err := c.Create(t.Context(), brs); err != nil {
		t.Fatal(err)
	}
	brs.Status = &v2.BottlerocketShadowStatus{CurrentVersion: "1.20.0", TargetVersion: "1.21.0", CurrentState: v2.Idle}
	if err := c.Status().Update(t.Context(), brs); err != nil {
		t.Fatal(err)
	}
	var got v2.BottlerocketShadow
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(brs), &got); err != nil {
		t.Fatal(err)
	}
	if got.Status == nil || got.Status.TargetVersion != "1.21.0" {
		t.Errorf("stored status = %+v, want the one written", got.Status)
	}
}

func TestAUserHasOnlyTheRightsGiven(t *testing.T) {
	cluster := kubetest.Start(t)
	cfg := cluster.ServiceAccount(t, cluster.Namespace(t), "nobody")
	c, err := client.New(cfg, client.Options{Scheme: kubetest.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.List(t.Context(), &v2.BottlerocketShadowList{}); err == nil {
		t.Error("a ServiceAccount without any role could list BottlerocketShadows")
	}
}
