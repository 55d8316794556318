// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/controller"
	"github.com/drydock-os/drydock/internal/plan"
)

// noon is when all of these tests happen.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const testNamespace = v2.DefaultNamespace

// result is what a command left behind.
type result struct {
	stdout, stderr string
	err            error
}

// world is a tool on a pretended cluster.
type world struct {
	*tool
	cluster        *cluster
	stdout, stderr bytes.Buffer
	env            map[string]string
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	event := func(field func(*corev1.Event) string) client.IndexerFunc {
		return func(o client.Object) []string { return []string{field(o.(*corev1.Event))} }
	}
	w := &world{env: map[string]string{}}
	w.cluster = &cluster{
		namespace: testNamespace, host: "https://cluster.example", program: "drydock",
		client: fake.NewClientBuilder().WithScheme(scheme()).WithObjects(objects...).
			WithIndex(&corev1.Event{}, "involvedObject.kind", event(func(e *corev1.Event) string { return e.InvolvedObject.Kind })).
			WithIndex(&corev1.Event{}, "involvedObject.name", event(func(e *corev1.Event) string { return e.InvolvedObject.Name })).
			Build(),
		logs: func(_ context.Context, pod, container string, previous bool) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("log of " + pod + "/" + container + "\n")), nil
		},
		serverVersion: func(context.Context) (string, error) { return "v1.36.3", nil },
	}
	w.tool = newTool(w.config(&w.stdout, &w.stderr))
	w.connect = func() (*cluster, error) { return w.cluster, nil }
	return w
}

// config is that of the program, with settings read from the one variable that matters here.
func (w *world) config(stdout, stderr io.Writer) Config {
	return Config{
		Program: "drydock", Version: "0.1.0", Stdout: stdout, Stderr: stderr,
		Env: func(name string) string { return w.env[name] },
		Settings: func(env func(string) string) (SnapshotAt, error) {
			limit, err := plan.ParseLimit(env("MAX_CONCURRENT_UPDATE"))
			return func(time.Time) plan.Snapshot {
				return plan.Snapshot{MaxConcurrent: limit, OwnNode: env("MY_NODE_NAME")}
			}, err
		},
		Now: func() time.Time { return noon },
	}
}

// run runs one command line.
func (w *world) run(t *testing.T, args ...string) result {
	t.Helper()
	w.stdout.Reset()
	w.stderr.Reset()
	root := &cobra.Command{Use: "drydock", SilenceErrors: true, SilenceUsage: true}
	root.SetOut(&w.stdout)
	root.SetErr(&w.stderr)
	root.AddCommand(commands(w.tool)...)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return result{w.stdout.String(), w.stderr.String(), err}
}

// node is one that takes part and is Ready.
func node(name string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: types.UID("uid-of-" + name),
			Labels: map[string]string{v2.UpdaterInterfaceLabel: v2.UpdaterInterfaceVersion},
		},
		Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{
			Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet runs pods",
			LastTransitionTime: metav1.NewTime(noon.Add(-time.Hour)),
		}}},
	}
}

// shadow is that of an idle node which is offered an update.
func shadow(nodeName string) *v2.BottlerocketShadow {
	return &v2.BottlerocketShadow{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: testNamespace, Name: v2.ShadowName(nodeName),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: nodeName, UID: types.UID("uid-of-" + nodeName)}},
		},
		Spec:   v2.BottlerocketShadowSpec{State: v2.Idle},
		Status: &v2.BottlerocketShadowStatus{CurrentVersion: "1.20.0", TargetVersion: "1.21.0", CurrentState: v2.Idle, Slot: "A"},
	}
}

// updating is a shadow on its way to a state since a minute.
func updating(nodeName string, wanted, reached v2.State) *v2.BottlerocketShadow {
	brs := shadow(nodeName)
	since, version := noon.Add(-time.Minute).Format(time.RFC3339), v2.Version("1.21.0")
	brs.Spec = v2.BottlerocketShadowSpec{State: wanted, StateTransitionTimestamp: &since, Version: &version}
	brs.Status.CurrentState = reached
	return brs
}

// failed is a shadow whose last attempt failed half a minute ago.
func failed(nodeName, cause string) *v2.BottlerocketShadow {
	brs := shadow(nodeName)
	at := noon.Add(-30 * time.Second).Format(time.RFC3339)
	brs.Status.CrashCount, brs.Status.StateTransitionFailureTimestamp, brs.Status.LastError = 1, &at, cause
	return brs
}

// operator is a controller with its Lease, its leader running on the node.
func operator(limit, onNode string) []client.Object {
	labels := map[string]string{v2.ComponentLabel: controllerComponent}
	replicas, holder := int32(2), "controller-1_8b6e"
	container := corev1.Container{Name: "brupop", Image: "registry.example/drydock:v0.1.0", Env: []corev1.EnvVar{
		{Name: "MY_NODE_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}},
		{Name: "MAX_CONCURRENT_UPDATE", Value: limit},
	}}
	return []client.Object{
		&appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: testNamespace, Name: "brupop-controller-deployment", Labels: labels},
			Spec: appsv1.DeploymentSpec{
				Replicas: &replicas,
				Selector: &metav1.LabelSelector{MatchLabels: labels},
				Strategy: appsv1.DeploymentStrategy{RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &intstr.IntOrString{IntVal: 1}}},
				Template: corev1.PodTemplateSpec{
					ObjectMeta: metav1.ObjectMeta{Labels: labels},
					Spec:       corev1.PodSpec{Containers: []corev1.Container{container}},
				},
			},
			Status: appsv1.DeploymentStatus{ReadyReplicas: 2},
		},
		&coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: testNamespace, Name: controller.Name},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder},
		},
		&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: testNamespace, Name: "controller-1", Labels: labels},
			Spec:       corev1.PodSpec{NodeName: onNode, Containers: []corev1.Container{container}},
		},
	}
}

// withoutSentences puts the reason in the place of each sentence of the plan, which has tests of its own.
func (w *world) withoutSentences(t *testing.T, text string) string {
	t.Helper()
	f, err := w.load(t.Context(), w.cluster)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range f.report(noon) {
		if r.Next != nil {
			text = strings.ReplaceAll(text, printable(r.Next.Text), "<"+r.Next.Reason+">")
		}
	}
	return text
}

// sameText compares with a text that is indented in the test's source.
func sameText(t *testing.T, what, got, want string) {
	t.Helper()
	if want = strings.TrimPrefix(want, "\n"); got != want {
		t.Errorf("%s is\n%s\nwant\n%s", what, got, want)
	}
}
