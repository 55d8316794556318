// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package nodes

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/testutil/kubetest"
)

// mark is what this package may change on a node.
type mark struct {
	Cordoned   bool
	CordonedBy string
	Label      string
	LabelBy    string
	Karpenter  string
	Autoscaler string
	Held       string
}

func marks(n *corev1.Node) mark {
	return mark{n.Spec.Unschedulable, n.Annotations[v2.CordonedByAnnotation], n.Labels[v2.ExcludeFromLBLabel], n.Annotations[v2.ExcludedByAnnotation], n.Annotations[karpenterHold], n.Annotations[clusterAutoscalerHold], n.Annotations[v2.HeldByAnnotation]}
}

func client(t *testing.T) corev1client.NodeInterface {
	t.Helper()
	kube, err := kubernetes.NewForConfig(kubetest.Start(t).Config)
	if err != nil {
		t.Fatal(err)
	}
	return kube.CoreV1().Nodes()
}

func TestD20OnlyOurOwnMarksAreLifted(t *testing.T) {
	ours := map[string]string{v2.CordonedByAnnotation: v2.CordonOwner}
	excluded := map[string]string{v2.ExcludeFromLBLabel: "theirs"}
	type step func(*Nodes, context.Context, string) (*corev1.Node, error)
	cordon, exclude, include := (*Nodes).Cordon, (*Nodes).Exclude, (*Nodes).Include
	uncordon := func(n *Nodes, ctx context.Context, name string) (*corev1.Node, error) {
		return n.Uncordon(ctx, name, true)
	}
	look := func(n *Nodes, ctx context.Context, name string) (*corev1.Node, error) {
		return n.Uncordon(ctx, name, false)
	}
	held := mark{Karpenter: "true", Autoscaler: "true", Held: heldNothing}
	cordoned := held
	cordoned.Cordoned, cordoned.CordonedBy = true, v2.CordonOwner
	annotated := func(pairs ...string) corev1.Node {
		n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{}}}
		for i := 0; i < len(pairs); i += 2 {
			n.Annotations[pairs[i]] = pairs[i+1]
		}
		return n
	}
	for i, tc := range []struct {
		name  string
		node  corev1.Node
		steps []step
		want  mark
	}{
		{"cordon", corev1.Node{}, []step{cordon, cordon}, cordoned},
		{"cordon of a node with annotations", annotated("a", "b"), []step{cordon, cordon}, cordoned},
		{"cordon and uncordon of a node with annotations", annotated("a", "b"), []step{cordon, uncordon}, mark{}},
		{"uncordon after a look", annotated("a", "b"), []step{cordon, look, look}, mark{}},
		{"a foreign cordon is held too", corev1.Node{Spec: corev1.NodeSpec{Unschedulable: true}}, []step{cordon}, mark{Cordoned: true, Karpenter: "true", Autoscaler: "true", Held: heldNothing}},
		{"holds of others stay", annotated(karpenterHold, "true", clusterAutoscalerHold, "true"), []step{cordon, uncordon}, mark{Karpenter: "true", Autoscaler: "true"}},
		{"other values come back", annotated(karpenterHold, "false", clusterAutoscalerHold, ""), []step{cordon, cordon, uncordon}, mark{Karpenter: "false"}},
		{"a damaged note", annotated(v2.HeldByAnnotation, "{", karpenterHold, "true"), []step{cordon, uncordon}, mark{Karpenter: "true"}},
		{"a note about something else", annotated(v2.HeldByAnnotation, `{"a":"b"}`), []step{uncordon}, mark{}},
		{"cordon and uncordon", corev1.Node{}, []step{cordon, uncordon, uncordon}, mark{}},
		{"a foreign cordon stays", corev1.Node{Spec: corev1.NodeSpec{Unschedulable: true}}, []step{cordon, uncordon}, mark{Cordoned: true}},
		{"somebody uncordoned our node", corev1.Node{ObjectMeta: metav1.ObjectMeta{Annotations: ours}}, []step{uncordon}, mark{}},
		{"our cordon from before a restart", corev1.Node{ObjectMeta: metav1.ObjectMeta{Annotations: ours}, Spec: corev1.NodeSpec{Unschedulable: true}}, []step{cordon, uncordon}, mark{}},
		{"exclude", corev1.Node{}, []step{exclude, exclude}, mark{Label: "True", LabelBy: v2.CordonOwner}},
		{"exclude and include", corev1.Node{}, []step{exclude, include, include}, mark{}},
		{"a foreign exclusion stays", corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: excluded}}, []step{exclude, include, uncordon}, mark{Label: "theirs"}},
		{"uncordon lifts both", corev1.Node{}, []step{exclude, cordon, uncordon}, mark{}},
		{"uncordon lifts an exclusion alone", corev1.Node{Spec: corev1.NodeSpec{Unschedulable: true}}, []step{exclude, cordon, uncordon}, mark{Cordoned: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cl := client(t)
			tc.node.Name = fmt.Sprint("marks-", i)
			if _, err := cl.Create(t.Context(), &tc.node, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			n := New(cl)
			for _, s := range tc.steps {
				if _, err := s(n, t.Context(), tc.node.Name); err != nil {
					t.Fatal(err)
				}
			}
			now, err := cl.Get(t.Context(), tc.node.Name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, marks(now)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Others write the node all the time; each write here is based on what the node is at that moment.
func TestWritesSurviveOtherWriters(t *testing.T) {
	cl := client(t)
	const name = "busy"
	if _, err := cl.Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	n := New(cl)
	errs := make(chan error, 8)
	var wg sync.WaitGroup
	for range cap(errs) {
		wg.Go(func() {
			_, err := n.Cordon(t.Context(), name)
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	node, err := n.Uncordon(t.Context(), name, true)
	if err != nil || node.Spec.Unschedulable {
		t.Errorf("the cordon was taken for somebody else's: %v, %v", node, err)
	}
}
