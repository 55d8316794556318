// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package nodes

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
)

// A node is nearly always in one of two states: it carries none of the marks, or all that we set. For these a JSON
// patch says what it expects and what it changes in one request, without reading the node first. If the node is
// different the patch fails whole, and the node is looked at.

// operation is one step of a JSON patch (RFC 6902). A test for null passes where there is nothing.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

const unschedulablePath = "/spec/unschedulable"

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

func annotation(key string) string { return "/metadata/annotations/" + pointerEscapes.Replace(key) }

// cordonUntouched cordons a schedulable node without any mark.
func cordonUntouched() []operation {
	set := []operation{
		{"add", unschedulablePath, true},
		{"add", annotation(v2.CordonedByAnnotation), v2.CordonOwner},
		{"add", annotation(v2.HeldByAnnotation), heldNothing},
	}
	for _, key := range holds {
		set = append(set, operation{"add", annotation(key), holdValue})
	}
	return append(expect(set, func(operation) any { return nil }), set...)
}

// uncordonUsual undoes cordonUntouched.
func uncordonUsual() []operation {
	usual := cordonUntouched()
	usual = usual[len(usual)/2:]
	ops := append(expect(usual, func(o operation) any { return o.Value }), operation{"test", annotation(v2.ExcludedByAnnotation), nil})
	for _, o := range usual {
		ops = append(ops, operation{"remove", o.Path, nil})
	}
	return ops
}

// excludeUntouched takes a node out of load balancers that is in them.
func excludeUntouched() []operation {
	set := []operation{
		{"add", "/metadata/labels/" + pointerEscapes.Replace(v2.ExcludeFromLBLabel), excludedValue},
		{"add", annotation(v2.ExcludedByAnnotation), v2.CordonOwner},
	}
	return append(expect(set, func(operation) any { return nil }), set...)
}

// expect makes a test of each operation's path.
func expect(ops []operation, value func(operation) any) []operation {
	var tests []operation
	for _, o := range ops {
		tests = append(tests, operation{"test", o.Path, value(o)})
	}
	return tests
}

// try sends a JSON patch. It returns neither node nor error if the node is not as the patch expects it.
func (n *Nodes) try(ctx context.Context, name string, ops []operation) (*corev1.Node, error) {
	body, err := json.Marshal(ops)
	if err != nil {
		return nil, fmt.Errorf("encoding patch of node %s: %w", name, err)
	}
	node, err := n.client.Patch(ctx, name, types.JSONPatchType, body, metav1.PatchOptions{})
	switch {
	case err == nil:
		return node, nil
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsConflict(err):
		return nil, nil
	}
	return nil, fmt.Errorf("patching node %s: %w", name, err)
}
