// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"context"
	"net/url"
	"slices"
	"testing"
)

// Go's own resolver, configured by the files that the node puts into the container, finds services.
func TestNamesResolveInPods(t *testing.T) {
	c, ns := newCluster(t)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- c.net.Run(ctx, c.client) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	n := newNode(t, c, "names")
	pod := n.pod(ns, "names", "serve", "8080")
	pod.Spec.Containers[0].ReadinessProbe = pingProbe()
	pod = n.await(n.create(pod), isReady)
	for _, name := range []string{"kubernetes.default.svc", "kubernetes.default", "kubernetes.default.svc.cluster.local"} {
		n.eventually(name, func() error {
			addrs, err := ask[[]string](pod, "/resolve", url.Values{"name": {name}})
			if err == nil && !slices.Equal(addrs, []string{"10.0.0.1"}) {
				t.Errorf("%s is %v", name, addrs)
			}
			return err
		})
	}
	if addrs, err := ask[[]string](pod, "/resolve", url.Values{"name": {"nobody.default.svc"}}); err == nil {
		t.Errorf("an unknown name resolves to %v", addrs)
	}
}
