// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package drain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/drydock-os/drydock/internal/testutil/kubetest"
)

// node is a node with pods on a real API server, and the kubelet's part of a deletion.
type node struct {
	t    *testing.T
	name string
	ns   string
	rest *rest.Config
	kube kubernetes.Interface

	mu        sync.Mutex
	evictions []string // pod names, in the order of the requests
}

func newNode(t *testing.T) *node {
	t.Helper()
	c := kubetest.Start(t)
	n := &node{t: t, ns: c.Namespace(t)}
	n.name = "node-" + n.ns
	n.rest = rest.CopyConfig(c.Config)
	n.rest.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/eviction") {
				parts := strings.Split(r.URL.Path, "/")
				n.mu.Lock()
				n.evictions = append(n.evictions, parts[len(parts)-2])
				n.mu.Unlock()
			}
			return next.RoundTrip(r)
		})
	})
	var err error
	if n.kube, err = kubernetes.NewForConfig(n.rest); err != nil {
		t.Fatal(err)
	}
	return n
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (n *node) evicted() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.evictions)
}

func (n *node) pod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	n.t.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: n.ns, Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{NodeName: n.name, Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
	for _, c := range change {
		c(p)
	}
	created, err := n.kube.CoreV1().Pods(n.ns).Create(n.t.Context(), p, metav1.CreateOptions{})
	if err != nil {
		n.t.Fatal(err)
	}
	phase := corev1.PodRunning
	if p.Status.Phase != "" {
		phase = p.Status.Phase
	}
	status := fmt.Appendf(nil, `{"status":{"phase":%q,"conditions":[{"type":"Ready","status":"True"}]}}`, phase)
	_, err = n.kube.CoreV1().Pods(n.ns).Patch(n.t.Context(), name, types.MergePatchType, status, metav1.PatchOptions{}, "status")
	if err != nil && !apierrors.IsNotFound(err) { // a drain may have been faster
		n.t.Fatal(err)
	}
	return created
}

// kubelet ends pods that are being deleted, until the test ends.
func (n *node) kubelet() {
	ctx, cancel := context.WithCancel(n.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		pods := n.kube.CoreV1().Pods(n.ns)
		for ctx.Err() == nil {
			list, err := pods.List(ctx, metav1.ListOptions{})
			if err == nil {
				for _, p := range list.Items {
					if p.DeletionTimestamp != nil {
						_ = pods.Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0)), Preconditions: metav1.NewUIDPreconditions(string(p.UID))})
					}
				}
			}
			time.Sleep(30 * time.Millisecond)
		}
	})
	n.t.Cleanup(func() { cancel(); wg.Wait() })
}

// budget makes a disruption budget for the pods with label app, and plays the controller that counts.
func (n *node) budget(app string, allowed int32) {
	n.t.Helper()
	budgets := n.kube.PolicyV1().PodDisruptionBudgets(n.ns)
	b, err := budgets.Get(n.t.Context(), app, metav1.GetOptions{})
	if err != nil {
		b, err = budgets.Create(n.t.Context(), &policyv1.PodDisruptionBudget{
			ObjectMeta: metav1.ObjectMeta{Name: app, Namespace: n.ns},
			Spec: policyv1.PodDisruptionBudgetSpec{
				MinAvailable: new(intstr.FromInt32(1)),
				Selector:     &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			n.t.Fatal(err)
		}
	}
	b.Status = policyv1.PodDisruptionBudgetStatus{ObservedGeneration: b.Generation, DisruptionsAllowed: allowed, CurrentHealthy: 1, DesiredHealthy: 1, ExpectedPods: 1}
	if _, err := budgets.UpdateStatus(n.t.Context(), b, metav1.UpdateOptions{}); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) drainer(change ...func(*Config)) *Drainer {
	n.t.Helper()
	cfg := Config{Client: n.kube, Deadline: time.Minute, PauseMin: 10 * time.Millisecond, PauseMax: 100 * time.Millisecond}
	for _, c := range change {
		c(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	return d
}

func (n *node) left() []string {
	n.t.Helper()
	list, err := n.kube.CoreV1().Pods(n.ns).List(n.t.Context(), metav1.ListOptions{})
	if err != nil {
		n.t.Fatal(err)
	}
	var names []string
	for _, p := range list.Items {
		names = append(names, p.Name)
	}
	return names
}

func TestDrainLeavesOnlyWhatMayStay(t *testing.T) {
	n := newNode(t)
	n.kubelet()
	for i := range 8 {
		n.pod(fmt.Sprint("web-", i))
	}
	n.pod("elsewhere", func(p *corev1.Pod) { p.Spec.NodeName = "other-" + n.ns })
	n.pod("finished", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })
	n.pod("daemon", func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "DaemonSet", Name: "d", UID: "u", Controller: new(true)}}
	})
	start := time.Now()
	if err := n.drainer().Drain(t.Context(), n.name, Observer{}); err != nil {
		t.Fatal(err)
	}
	t.Logf("8 pods in %v", time.Since(start))
	if got := n.left(); !slices.Equal(got, []string{"daemon", "elsewhere", "finished"}) {
		t.Errorf("left: %v", got)
	}
	if got := len(n.evicted()); got != 8 {
		t.Errorf("%d evictions for 8 pods", got)
	}
	if err := n.drainer().Drain(t.Context(), n.name, Observer{}); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestD18OneBudgetHoldsUpOnePodOnly(t *testing.T) {
	n := newNode(t)
	n.kubelet()
	n.pod("guarded")
	n.pod("free")
	n.budget("guarded", 0)
	blocked := make(chan Blocked, 10)
	done := make(chan error, 1)
	go func() {
		done <- n.drainer().Drain(t.Context(), n.name, Observer{Blocked: func(b Blocked) { blocked <- b }})
	}()
	select {
	case b := <-blocked:
		if b.Pod.Name != "guarded" || !strings.Contains(b.Reason, "disruption budget guarded") {
			t.Errorf("blocked: %v", b)
		}
	case err := <-done:
		t.Fatalf("drain ended with %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("nobody was told what blocks")
	}
	if got := n.left(); !slices.Equal(got, []string{"guarded"}) {
		t.Errorf("left: %v", got)
	}
	n.budget("guarded", 1)
	if err := <-done; err != nil {
		t.Errorf("drain ended with %v", err)
	}
	if got := n.left(); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

func TestD16TheDeadlineNamesWhatBlocks(t *testing.T) {
	n := newNode(t)
	n.pod("guarded")
	n.pod("hangs") // nobody plays the kubelet: it never ends
	n.budget("guarded", 0)
	err := n.drainer(func(c *Config) { c.Deadline = time.Second }).Drain(t.Context(), n.name, Observer{})
	be, ok := errors.AsType[*BlockedError](err)
	if !ok || len(be.Pods) != 2 {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"/guarded: ", "disruption budget guarded", "/hangs: still terminating"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
}

// Forced, a drain deletes at the deadline what no budget lets go, with its grace period, and nothing before that. What
// does not end is still named: a node is never called empty that is not.
func TestAForcedDrainDeletesWhatIsLeft(t *testing.T) {
	force := func(c *Config) { c.Deadline, c.Force = time.Second, true }
	n := newNode(t)
	n.kubelet()
	n.pod("guarded")
	n.pod("free")
	n.budget("guarded", 0)
	var forced []Blocked
	if err := n.drainer(force).Drain(t.Context(), n.name, Observer{Forced: func(b []Blocked) { forced = b }}); err != nil {
		t.Fatal(err)
	}
	if len(forced) != 1 || forced[0].Pod.Name != "guarded" || forced[0].Budget != "guarded" || len(n.left()) != 0 {
		t.Errorf("forced %v, left %v", forced, n.left())
	}

	n = newNode(t) // without a kubelet nothing ends
	n.pod("hangs")
	err := n.drainer(force).Drain(t.Context(), n.name, Observer{})
	be, ok := errors.AsType[*BlockedError](err)
	if !ok || len(be.Pods) != 1 || !strings.Contains(err.Error(), "/hangs: still terminating") {
		t.Errorf("got %v", err)
	}
	pod, err := n.kube.CoreV1().Pods(n.ns).Get(t.Context(), "hangs", metav1.GetOptions{})
	if err != nil || pod.DeletionGracePeriodSeconds == nil || *pod.DeletionGracePeriodSeconds == 0 {
		t.Errorf("a pod lost its grace period: %+v, %v", pod.ObjectMeta, err)
	}
}

// A pod that arrives while the drain waits for others is drained as well.
func TestD19LateArrivalsLeaveToo(t *testing.T) {
	n := newNode(t)
	n.kubelet()
	n.pod("guarded")
	n.budget("guarded", 0)
	done := make(chan error, 1)
	blocked := make(chan Blocked, 10)
	go func() {
		done <- n.drainer().Drain(t.Context(), n.name, Observer{Blocked: func(b Blocked) { blocked <- b }})
	}()
	<-blocked
	n.pod("late")
	n.budget("guarded", 1)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := n.left(); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

// The name of a blocked pod passes to a pod on another node: that one is not ours to evict.
func TestASuccessorOnAnotherNodeIsLeftAlone(t *testing.T) {
	n := newNode(t)
	old := n.pod("web-0")
	n.budget("web-0", 0)
	blocked := make(chan Blocked, 10)
	done := make(chan error, 1)
	go func() {
		done <- n.drainer().Drain(t.Context(), n.name, Observer{Blocked: func(b Blocked) { blocked <- b }})
	}()
	<-blocked
	err := n.kube.CoreV1().Pods(n.ns).Delete(t.Context(), old.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
	if err != nil {
		t.Fatal(err)
	}
	next := n.pod("web-0", func(p *corev1.Pod) { p.Spec.NodeName = "other-" + n.ns })
	n.budget("web-0", 1)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	now, err := n.kube.CoreV1().Pods(n.ns).Get(t.Context(), "web-0", metav1.GetOptions{})
	if err != nil || now.UID != next.UID || now.DeletionTimestamp != nil {
		t.Errorf("the successor: %+v, %v", now, err)
	}
	// And a request under the old UID, that was on its way, does not touch it either.
	if v := evict(t.Context(), n.kube.PolicyV1().RESTClient(), old); v.outcome != gone {
		t.Errorf("eviction under the old UID: %+v", v)
	}
}

func TestOwnPodGoesLast(t *testing.T) {
	n := newNode(t)
	n.kubelet()
	n.pod("a-own")
	n.pod("guarded")
	n.budget("guarded", 0)
	d := n.drainer(func(c *Config) { c.Own = types.NamespacedName{Namespace: n.ns, Name: "a-own"} })
	blocked := make(chan Blocked, 10)
	done := make(chan error, 1)
	go func() { done <- d.Drain(t.Context(), n.name, Observer{Blocked: func(b Blocked) { blocked <- b }}) }()
	<-blocked
	if slices.Contains(n.evicted(), "a-own") {
		t.Error("the own pod was evicted while another was there")
	}
	n.budget("guarded", 1)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := n.evicted(); got[len(got)-1] != "a-own" {
		t.Errorf("order: %v", got)
	}
}

// Without the right to evict the drain fails; the original said "done".
func TestARefusedEvictionIsAFailure(t *testing.T) {
	n := newNode(t)
	n.pod("web")
	kube, err := kubernetes.NewForConfig(kubetest.Start(t).User(t, "reader", "system:masters-not"))
	if err != nil {
		t.Fatal(err)
	}
	if v := evict(t.Context(), kube.PolicyV1().RESTClient(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: n.ns, Name: "web"}}); v.outcome != refused || !strings.Contains(v.reason, "forbidden") {
		t.Errorf("%+v", v)
	}
	r := newRun(n.drainer(), n.name, Observer{}, evict)
	r.pods["u"] = &progress{name: types.NamespacedName{Namespace: n.ns, Name: "web"}, asking: true}
	err = r.settle(result{"u", verdict{outcome: refused, reason: "forbidden"}})
	if _, ok := errors.AsType[*RefusedError](err); !ok || !strings.Contains(err.Error(), "web: forbidden") {
		t.Errorf("got %v", err)
	}
}

func TestTheCallerMayLeave(t *testing.T) {
	n := newNode(t)
	n.pod("hangs")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.drainer().Drain(ctx, n.name, Observer{}) }()
	time.Sleep(300 * time.Millisecond)
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the drain goes on without its caller")
	}
}
