// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
)

// cacheOptions limits the caches to shadows of one namespace and opted-in nodes, each cut down to what is
// used, so that the size of the cluster hardly shows in memory. Any other kind is refused.
func cacheOptions(namespace string) cache.Options {
	return cache.Options{
		ReaderFailOnMissingInformer: true,
		ByObject: map[client.Object]cache.ByObject{
			&v2.BottlerocketShadow{}: {
				Namespaces: map[string]cache.Config{namespace: {}},
				Transform:  cache.TransformStripManagedFields(),
			},
			&corev1.Node{}: {
				Label:     labels.SelectorFromSet(labels.Set{v2.UpdaterInterfaceLabel: v2.UpdaterInterfaceVersion}),
				Transform: slimNode,
			},
		},
	}
}

// slimNode keeps of a Node only what fleetview.Node reads. Other objects, such as the tombstone of a missed deletion,
// pass unchanged.
func slimNode(obj any) (any, error) {
	node, ok := obj.(*corev1.Node)
	if !ok {
		return obj, nil
	}
	slim := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion,
			Labels: pick(node.Labels, v2.UpdaterInterfaceLabel), Annotations: pick(node.Annotations, v2.CordonedByAnnotation),
		},
		Spec: corev1.NodeSpec{Unschedulable: node.Spec.Unschedulable},
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			slim.Status.Conditions = []corev1.NodeCondition{{Type: c.Type, Status: c.Status}}
		}
	}
	return slim, nil
}

func pick(m map[string]string, key string) map[string]string {
	v, ok := m[key]
	if !ok {
		return nil
	}
	return map[string]string{key: v}
}
