// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package nodes cordons and uncordons nodes, and takes them out of and back into external load balancers.
//
// Each change is recorded on the node as ours, in the same write. What an administrator did before stays as
// it was: a cordon or label that was already there is left alone and never lifted. Every call may safely be
// repeated, also by another replica.
package nodes

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
)

// ExcludedByAnnotation on a Node marks the label ExcludeFromLBLabel as the operator's own; its value is
// CordonOwner. Without it the label is somebody else's and is never removed.
const ExcludedByAnnotation = "drydock.dev/excluded-from-lb-by"

// excludedValue is the label's value as the original operator writes it.
const excludedValue = "True"

// maxConflicts bounds how often a write starts again because somebody else wrote the node in between.
// The kubelet and the node controller write a node a few times per minute.
const maxConflicts = 10

// Nodes changes Node objects.
type Nodes struct {
	client corev1client.NodeInterface
}

// New returns Nodes that writes through client.
func New(client corev1client.NodeInterface) *Nodes { return &Nodes{client: client} }

// UID returns the UID of a node.
func (n *Nodes) UID(ctx context.Context, name string) (string, error) {
	node, err := n.client.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("getting node %s: %w", name, err)
	}
	return string(node.UID), nil
}

// Cordon makes the node unschedulable. A node that is already cordoned is left as it is.
func (n *Nodes) Cordon(ctx context.Context, name string) (*corev1.Node, error) {
	return n.change(ctx, name, func(node *corev1.Node) *patch {
		if node.Spec.Unschedulable {
			return nil
		}
		return &patch{unschedulable: new(true), annotations: map[string]any{v2.CordonedByAnnotation: v2.CordonOwner}}
	})
}

// Uncordon lifts our cordon and, should it still be there, our exclusion from load balancers: after it the
// node is as it was before. Somebody else's cordon stays.
func (n *Nodes) Uncordon(ctx context.Context, name string) (*corev1.Node, error) {
	return n.change(ctx, name, func(node *corev1.Node) *patch {
		p := include(node)
		if node.Annotations[v2.CordonedByAnnotation] != v2.CordonOwner {
			return p
		}
		if p == nil {
			p = &patch{annotations: map[string]any{}}
		}
		p.annotations[v2.CordonedByAnnotation] = nil
		if node.Spec.Unschedulable {
			p.unschedulable = new(false)
		}
		return p
	})
}

// Exclude takes the node out of external load balancers, unless somebody already did.
func (n *Nodes) Exclude(ctx context.Context, name string) (*corev1.Node, error) {
	return n.change(ctx, name, func(node *corev1.Node) *patch {
		if _, ok := node.Labels[v2.ExcludeFromLBLabel]; ok {
			return nil
		}
		return &patch{
			labels:      map[string]any{v2.ExcludeFromLBLabel: excludedValue},
			annotations: map[string]any{ExcludedByAnnotation: v2.CordonOwner},
		}
	})
}

// Include puts the node back into external load balancers, if it was us who took it out.
func (n *Nodes) Include(ctx context.Context, name string) (*corev1.Node, error) {
	return n.change(ctx, name, include)
}

func include(node *corev1.Node) *patch {
	if node.Annotations[ExcludedByAnnotation] != v2.CordonOwner {
		return nil
	}
	return &patch{
		labels:      map[string]any{v2.ExcludeFromLBLabel: nil},
		annotations: map[string]any{ExcludedByAnnotation: nil},
	}
}

// patch is a change of a node; nil values remove.
type patch struct {
	unschedulable       *bool
	labels, annotations map[string]any
}

// body encodes p as a merge patch that only fits the given resource version, so that the decision and the
// write are about the same node.
func (p *patch) body(resourceVersion string) ([]byte, error) {
	meta := map[string]any{"resourceVersion": resourceVersion}
	if len(p.labels) > 0 {
		meta["labels"] = p.labels
	}
	if len(p.annotations) > 0 {
		meta["annotations"] = p.annotations
	}
	doc := map[string]any{"metadata": meta}
	if p.unschedulable != nil {
		doc["spec"] = map[string]any{"unschedulable": *p.unschedulable}
	}
	return json.Marshal(doc)
}

// change reads the node, lets decide make a patch (nil: nothing to do) and writes it.
func (n *Nodes) change(ctx context.Context, name string, decide func(*corev1.Node) *patch) (*corev1.Node, error) {
	for try := 1; ; try++ {
		node, err := n.client.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("getting node %s: %w", name, err)
		}
		p := decide(node)
		if p == nil {
			return node, nil
		}
		body, err := p.body(node.ResourceVersion)
		if err != nil {
			return nil, fmt.Errorf("encoding patch of node %s: %w", name, err)
		}
		node, err = n.client.Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{})
		if err == nil {
			return node, nil
		}
		if !apierrors.IsConflict(err) || try == maxConflicts {
			return nil, fmt.Errorf("patching node %s: %w", name, err)
		}
	}
}
