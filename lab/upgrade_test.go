// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	brupopv2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/deploy"
	"github.com/drydock-os/drydock/lab/fleet"
)

// patience bounds each wait for the fleet: an update of two nodes takes ten seconds on an idle machine.
const patience = 3 * time.Minute

// definition is the name of the definition of BottlerocketShadows.
const definition = "bottlerocketshadows.brupop.bottlerocket.aws"

// cluster is a lab that is up, seen through its kubeconfig.
type cluster struct {
	t *testing.T
	client.WithWatch
	config *rest.Config
}

func dial(t *testing.T, access *fleet.Access) cluster {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", access.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	cfg.QPS = -1
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, brupopv2.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return cluster{t, c, cfg}
}

// optIn gives a node the operator's label, or takes it away.
func (c cluster) optIn(node string, in bool) {
	c.t.Helper()
	label := map[string]any{brupopv2.UpdaterInterfaceLabel: nil}
	if in {
		label[brupopv2.UpdaterInterfaceLabel] = brupopv2.UpdaterInterfaceVersion
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": label}})
	if err != nil {
		c.t.Fatal(err)
	}
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}
	if err := c.Patch(c.t.Context(), n, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		c.t.Fatalf("labelling %s: %v", node, err)
	}
}

// until follows all objects of a kind until they are as wanted; objects maps names to the present state. A watch
// may end at any time, as its server sees fit: it is begun anew.
func (c cluster) until(what string, list client.ObjectList, wanted func(objects map[string]client.Object) bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	objects := map[string]client.Object{}
	for ctx.Err() == nil {
		w, err := c.Watch(ctx, list)
		if err != nil {
			c.t.Fatalf("watching until %s: %v", what, err)
		}
		clear(objects)
		for e := range w.ResultChan() {
			o, ok := e.Object.(client.Object)
			if !ok {
				break
			}
			objects[o.GetName()] = o
			if e.Type == "DELETED" {
				delete(objects, o.GetName())
			}
			if wanted(objects) {
				w.Stop()
				return
			}
		}
		w.Stop()
	}
	state, _ := json.MarshalIndent(objects, "", "  ")
	c.t.Fatalf("not within %v: %s; it is\n%s", patience, what, state)
}

// eventually looks until something is so that a watch, which begins with one object after the other, cannot tell: that
// others are not there.
func (c cluster) eventually(what string, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// untilUpdated waits until that many nodes are Idle in the new version, and all are in use.
func (c cluster) untilUpdated(nodes int) {
	c.t.Helper()
	c.untilIdle(nodes)
	c.untilInUse(nodes)
}

// untilIdle waits until that many nodes are looked after, and all are Idle in the new version.
func (c cluster) untilIdle(nodes int) {
	c.t.Helper()
	c.until("every node is Idle on 1.21.0", &brupopv2.BottlerocketShadowList{}, func(objects map[string]client.Object) bool {
		for _, o := range objects {
			s, ok := o.(*brupopv2.BottlerocketShadow)
			if !ok || s.Status == nil || s.Spec.State != brupopv2.Idle || s.Status.CurrentState != brupopv2.Idle || s.Status.CurrentVersion != "1.21.0" {
				return false
			}
		}
		return len(objects) == nodes
	})
}

// untilInUse waits until that many nodes are there, and all are schedulable and Ready.
func (c cluster) untilInUse(nodes int) {
	c.t.Helper()
	c.until("every node is schedulable and Ready", &corev1.NodeList{}, func(objects map[string]client.Object) bool {
		for _, o := range objects {
			n, ok := o.(*corev1.Node)
			if !ok || n.Spec.Unschedulable || !slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
				return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
			}) {
				return false
			}
		}
		return len(objects) == nodes
	})
}

// apply applies a manifest as 'kubectl apply --server-side --force-conflicts' does.
func (c cluster) apply(objects []*unstructured.Unstructured) {
	c.t.Helper()
	for _, o := range objects {
		if err := c.Apply(c.t.Context(), client.ApplyConfigurationFromUnstructured(o.DeepCopy()), client.FieldOwner("kubectl"), client.ForceOwnership); err != nil {
			c.t.Fatalf("applying %s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

// parseObjects reads a file of several documents.
func parseObjects(t *testing.T, data []byte) (all []*unstructured.Unstructured) {
	t.Helper()
	for docs := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096); ; {
		var u unstructured.Unstructured
		err := docs.Decode(&u)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(u.Object) > 0 {
			all = append(all, &u)
		}
	}
}

// operatorImageDir makes a directory with what the operator's image holds.
func operatorImageDir(t *testing.T) string {
	t.Helper()
	dir, bin := t.TempDir(), binDir(t)
	for name, from := range map[string]string{"agent": "drydock-agent", "apiserver": "drydock", "controller": "drydock"} {
		from, to := filepath.Join(bin, from), filepath.Join(dir, name)
		if os.Link(from, to) == nil {
			continue
		}
		data, err := os.ReadFile(from) // another file system
		if err == nil {
			err = os.WriteFile(to, data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// operatorImage returns the value of --image for the image that the objects name.
func operatorImage(t *testing.T, objects []*unstructured.Unstructured) string {
	t.Helper()
	dir := operatorImageDir(t)
	for _, o := range objects {
		containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
		for _, c := range containers {
			if image, ok := c.(map[string]any)["image"].(string); ok {
				return image + "=" + dir
			}
		}
	}
	t.Fatal("the manifest names no image")
	return ""
}

// workloads returns what must stay of all workloads and services of the operator: name, identity and selector.
func (c cluster) workloads() map[string]string {
	c.t.Helper()
	found := map[string]string{}
	add := func(kind string, o client.Object, selector map[string]string) {
		text, err := json.Marshal(selector)
		if err != nil {
			c.t.Fatal(err)
		}
		found[kind+"/"+o.GetName()] = string(o.GetUID()) + " " + string(text)
	}
	var deployments appsv1.DeploymentList
	var sets appsv1.DaemonSetList
	var services corev1.ServiceList
	for _, list := range []client.ObjectList{&deployments, &sets, &services} {
		if err := c.List(c.t.Context(), list, client.InNamespace(brupopv2.DefaultNamespace)); err != nil {
			c.t.Fatal(err)
		}
	}
	for i := range deployments.Items {
		add("Deployment", &deployments.Items[i], deployments.Items[i].Spec.Selector.MatchLabels)
	}
	for i := range sets.Items {
		add("DaemonSet", &sets.Items[i], sets.Items[i].Spec.Selector.MatchLabels)
	}
	for i := range services.Items {
		add("Service", &services.Items[i], services.Items[i].Spec.Selector)
	}
	return found
}

// TestALiveClusterIsTakenOverFromBrupop begins where Brupop 1.4.0 is installed and has just asked the first of two
// nodes to stage an update, and follows docs/operator/upgrade-from-brupop.md for the static manifest. Brupop's
// own pods are simulated: they count as running and do nothing.
func TestALiveClusterIsTakenOverFromBrupop(t *testing.T) {
	t.Parallel()
	ours := parseObjects(t, deploy.Manifest)
	data, err := os.ReadFile(filepath.Join("..", "deploy", "testdata", "brupop-1.4.0-objects.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	theirs := parseObjects(t, data)
	for _, o := range theirs {
		endSoon(t, o)
	}
	cmd, access := startUp(t, "--nodes", "2", "--without-operator", "--image", operatorImage(t, ours))
	defer stopUp(t, cmd)
	c := dial(t, access)

	for _, host := range access.Hosts {
		c.optIn(host.Name, true)
	}
	c.apply(theirs)
	c.untilServed(definition)
	shadows := map[string]any{}
	for i, host := range access.Hosts { // one at a time, as by Brupop's default
		s := brupopShadow(c, host.Name, i == 0)
		shadows[s.Name] = s.UID
	}
	c.until("Brupop's controller runs", &appsv1.DeploymentList{}, func(objects map[string]client.Object) bool {
		d, ok := objects["brupop-controller-deployment"].(*appsv1.Deployment)
		return ok && d.Status.AvailableReplicas == 1
	})
	before := c.workloads()

	c.apply(ours)
	c.untilUpdated(2)

	if diff := cmp.Diff(before, c.workloads()); diff != "" {
		t.Errorf("workloads and services before and after the upgrade (-before +after):\n%s", diff)
	}
	var list brupopv2.BottlerocketShadowList
	if err := c.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	after := map[string]any{}
	for _, s := range list.Items {
		after[s.Name] = s.UID
	}
	if diff := cmp.Diff(shadows, after); diff != "" {
		t.Errorf("shadows before and after the upgrade (-before +after):\n%s", diff)
	}
	checkLeftovers(c, theirs, ours)
}

// endSoon gives the pods of a workload a short grace period: simulated ones stay for the whole of it.
func endSoon(t *testing.T, o *unstructured.Unstructured) {
	t.Helper()
	if _, isPod, _ := unstructured.NestedMap(o.Object, "spec", "template", "spec"); isPod {
		if err := unstructured.SetNestedField(o.Object, int64(1), "spec", "template", "spec", "terminationGracePeriodSeconds"); err != nil {
			t.Fatal(err)
		}
	}
}

// untilServed waits until the API server serves what these definitions define.
func (c cluster) untilServed(names ...string) {
	c.t.Helper()
	c.until("the definitions are served", &apiextensionsv1.CustomResourceDefinitionList{}, func(objects map[string]client.Object) bool {
		for _, name := range names {
			crd, ok := objects[name].(*apiextensionsv1.CustomResourceDefinition)
			if !ok || !slices.ContainsFunc(crd.Status.Conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
				return c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue
			}) {
				return false
			}
		}
		return true
	})
}

// brupopShadow makes the object of a node as Brupop writes it.
func brupopShadow(c cluster, name string, started bool) *brupopv2.BottlerocketShadow {
	c.t.Helper()
	var node corev1.Node
	if err := c.Get(c.t.Context(), client.ObjectKey{Name: name}, &node); err != nil {
		c.t.Fatal(err)
	}
	s := &brupopv2.BottlerocketShadow{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: brupopv2.DefaultNamespace, Name: brupopv2.ShadowName(name),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: name, UID: node.UID}},
		},
		Spec: brupopv2.BottlerocketShadowSpec{State: brupopv2.Idle},
	}
	if started {
		s.Spec = brupopv2.BottlerocketShadowSpec{
			State: brupopv2.StagedAndPerformedUpdate, Version: new(brupopv2.Version("1.21.0")),
			StateTransitionTimestamp: new(time.Now().UTC().Format(time.RFC3339)),
		}
	}
	if err := c.Create(c.t.Context(), s); err != nil {
		c.t.Fatal(err)
	}
	s.Status = &brupopv2.BottlerocketShadowStatus{CurrentVersion: "1.20.0", TargetVersion: "1.21.0", CurrentState: brupopv2.Idle}
	if err := c.Status().Update(c.t.Context(), s); err != nil {
		c.t.Fatal(err)
	}
	return s
}

// checkLeftovers compares what of Brupop is still there and not ours with what the guide says to delete, and deletes it.
func checkLeftovers(c cluster, theirs, ours []*unstructured.Unstructured) {
	c.t.Helper()
	kept := map[string]bool{}
	for _, o := range ours {
		kept[o.GetKind()+"/"+o.GetName()] = true
	}
	guide, err := os.ReadFile(filepath.Join("..", "docs", "operator", "upgrade-from-brupop.md"))
	if err != nil {
		c.t.Fatal(err)
	}
	left := map[string]bool{}
	for _, o := range theirs {
		if kept[o.GetKind()+"/"+o.GetName()] {
			continue
		}
		left[o.GetKind()+"/"+o.GetName()] = true
		if !bytes.Contains(guide, []byte("`"+o.GetName())) && !bytes.Contains(guide, []byte(" "+o.GetName())) {
			c.t.Errorf("the guide does not name %s %s", o.GetKind(), o.GetName())
		}
		if err := c.Delete(c.t.Context(), o); err != nil {
			c.t.Errorf("deleting %s %s as the guide says: %v", o.GetKind(), o.GetName(), err)
		}
	}
	want := map[string]bool{
		"ClusterRole/brupop-agent-role":                                   true,
		"ClusterRoleBinding/brupop-agent-role-binding":                    true,
		"ClusterRoleBinding/brupop-apiserver-auth-delegator-role-binding": true,
	}
	if diff := cmp.Diff(want, left); diff != "" {
		c.t.Errorf("left of Brupop (-want +got):\n%s", diff)
	}
}
