// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/drydock-os/drydock/internal/apiserver/drain"
)

func TestOnePodIsNotManyInEvents(t *testing.T) {
	a := drain.Blocked{Pod: types.NamespacedName{Namespace: "shop", Name: "a"}, Reason: "its budget allows no eviction"}
	for want, got := range map[string]string{
		"1 pod is to leave":   leaving(1),
		"2 pods are to leave": leaving(2),
		"the limit is over: one pod is deleted past its budget, shop/a: its budget allows no eviction":                 forced([]drain.Blocked{a}),
		"the limit is over: 2 pods are deleted past their budgets, the first is shop/a: its budget allows no eviction": forced([]drain.Blocked{a, a}),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
