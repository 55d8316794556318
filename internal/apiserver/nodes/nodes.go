// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package nodes cordons and uncordons nodes, keeps autoscalers from removing them meanwhile, and takes them out of
// and back into external load balancers.
//
// Each change is recorded on the node as ours with the state before it, in the same write. What an administrator
// did before stays as it was: a cordon, label or annotation that was already there is left alone and never
// lifted. Every call may safely be repeated, also by another replica.
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

// excludedValue is the label's value as the original operator writes it.
const excludedValue = "True"

// maxConflicts bounds how often a write starts again because somebody else wrote the node in between.
// The kubelet and the node controller write a node a few times per minute.
const maxConflicts = 10

// listPage bounds the nodes in memory at once: one has some 10 KiB.
const listPage = 200

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

// Cordon makes the node unschedulable and holds off autoscalers. A node that is already cordoned keeps the cordon
// it has.
func (n *Nodes) Cordon(ctx context.Context, name string) (*corev1.Node, error) {
	if node, err := n.try(ctx, name, cordonUntouched()); node != nil || err != nil {
		return node, err
	}
	return n.change(ctx, name, func(node *corev1.Node) *patch {
		p := hold(node)
		if !node.Spec.Unschedulable {
			p.unschedulable = new(true)
			p.annotations[v2.CordonedByAnnotation] = v2.CordonOwner
		}
		return p
	})
}

// Uncordon lifts our cordon and, should they still be there, our hold on autoscalers and our exclusion from load
// balancers: after it the node is as it was before. Somebody else's cordon stays. likely says that the node is in
// mid-update, so that most probably there is a cordon of ours: it saves a look.
func (n *Nodes) Uncordon(ctx context.Context, name string, likely bool) (*corev1.Node, error) {
	if likely {
		if node, err := n.try(ctx, name, uncordonUsual()); node != nil || err != nil {
			return node, err
		}
	}
	return n.change(ctx, name, release)
}

// Release takes every mark of ours off a node, and reports whether there was one.
func (n *Nodes) Release(ctx context.Context, name string) (bool, error) {
	changed := false
	_, err := n.change(ctx, name, func(node *corev1.Node) *patch {
		p := release(node)
		changed = !p.empty()
		return p
	})
	return changed && err == nil, err
}

// Marked returns the names of all nodes that carry a mark of ours.
func (n *Nodes) Marked(ctx context.Context) ([]string, error) {
	var names []string
	for next := ""; ; {
		list, err := n.client.List(ctx, metav1.ListOptions{Limit: listPage, Continue: next})
		if err != nil {
			return nil, fmt.Errorf("listing nodes: %w", err)
		}
		for i := range list.Items {
			if node := &list.Items[i]; !release(node).empty() {
				names = append(names, node.Name)
			}
		}
		if next = list.Continue; next == "" {
			return names, nil
		}
	}
}

// Exclude takes the node out of external load balancers, unless somebody already did.
func (n *Nodes) Exclude(ctx context.Context, name string) (*corev1.Node, error) {
	if node, err := n.try(ctx, name, excludeUntouched()); node != nil || err != nil {
		return node, err
	}
	return n.change(ctx, name, func(node *corev1.Node) *patch {
		p := newPatch()
		if _, ok := node.Labels[v2.ExcludeFromLBLabel]; !ok {
			p.labels[v2.ExcludeFromLBLabel] = excludedValue
			p.annotations[v2.ExcludedByAnnotation] = v2.CordonOwner
		}
		return p
	})
}

// Include puts the node back into external load balancers, if it was us who took it out.
func (n *Nodes) Include(ctx context.Context, name string) (*corev1.Node, error) {
	return n.change(ctx, name, func(node *corev1.Node) *patch {
		p := newPatch()
		p.include(node)
		return p
	})
}

// release makes the patch that takes every mark of ours off the node.
func release(node *corev1.Node) *patch {
	p := newPatch()
	p.include(node)
	p.letGo(node)
	if node.Annotations[v2.CordonedByAnnotation] == v2.CordonOwner {
		p.annotations[v2.CordonedByAnnotation] = nil
		if node.Spec.Unschedulable {
			p.unschedulable = new(false)
		}
	}
	return p
}

// patch is a change of a node; nil values remove.
type patch struct {
	unschedulable       *bool
	labels, annotations map[string]any
}

func newPatch() *patch { return &patch{labels: map[string]any{}, annotations: map[string]any{}} }

func (p *patch) empty() bool {
	return p.unschedulable == nil && len(p.labels) == 0 && len(p.annotations) == 0
}

// include undoes an exclusion of ours.
func (p *patch) include(node *corev1.Node) {
	if node.Annotations[v2.ExcludedByAnnotation] != v2.CordonOwner {
		return
	}
	p.annotations[v2.ExcludedByAnnotation] = nil
	if node.Labels[v2.ExcludeFromLBLabel] == excludedValue { // else somebody made it theirs meanwhile
		p.labels[v2.ExcludeFromLBLabel] = nil
	}
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

// change reads the node, lets decide make a patch (empty: nothing to do) and writes it.
func (n *Nodes) change(ctx context.Context, name string, decide func(*corev1.Node) *patch) (*corev1.Node, error) {
	for try := 1; ; try++ {
		node, err := n.client.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("getting node %s: %w", name, err)
		}
		node, err = n.apply(ctx, node, decide(node))
		if err == nil {
			return node, nil
		}
		if !apierrors.IsConflict(err) || try == maxConflicts {
			return nil, err
		}
	}
}

// apply writes p, which was made for exactly this node object.
func (n *Nodes) apply(ctx context.Context, node *corev1.Node, p *patch) (*corev1.Node, error) {
	if p.empty() {
		return node, nil
	}
	body, err := p.body(node.ResourceVersion)
	if err != nil {
		return nil, fmt.Errorf("encoding patch of node %s: %w", node.Name, err)
	}
	name := node.Name
	node, err = n.client.Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{})
	if err != nil {
		return nil, fmt.Errorf("patching node %s: %w", name, err)
	}
	return node, nil
}
