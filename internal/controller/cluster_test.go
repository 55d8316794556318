// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/deploy"
	"github.com/drydock-os/drydock/internal/controller"
	"github.com/drydock-os/drydock/internal/plan"
	"github.com/drydock-os/drydock/internal/testutil/kubetest"
)

// patience bounds every wait of these tests; they need a few seconds on an idle machine.
const patience = 90 * time.Second

// world is a fleet of pretended nodes on a real API server, with agents that do what specs say.
type world struct {
	t         *testing.T
	cluster   *kubetest.Cluster
	client    client.WithWatch
	namespace string
	nodes     []string
	done      chan struct{} // closed when every node has been updated

	mu        sync.Mutex
	mostSlots int // most slots seen in use at once
	starts    []string
}

func newWorld(t *testing.T, nodes int) *world {
	t.Helper()
	cluster := kubetest.Start(t)
	w := &world{t: t, cluster: cluster, client: cluster.Client(t), namespace: cluster.Namespace(t), done: make(chan struct{})}
	w.applyRights()
	for range nodes {
		w.addNode()
	}
	return w
}

// addNode makes a node that is offered an update, and returns its name.
func (w *world) addNode() string {
	w.t.Helper()
	name := fmt.Sprintf("%s-n%d", w.namespace, len(w.nodes))
	w.nodes = append(w.nodes, name)
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v2.UpdaterInterfaceLabel: v2.UpdaterInterfaceVersion}}}
	w.must(w.client.Create(w.t.Context(), n))
	brs := &v2.BottlerocketShadow{Spec: v2.BottlerocketShadowSpec{State: v2.Idle}}
	brs.Namespace, brs.Name = w.namespace, v2.ShadowName(name)
	brs.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: name, UID: n.UID}}
	w.must(w.client.Create(w.t.Context(), brs))
	brs.Status = &v2.BottlerocketShadowStatus{CurrentVersion: "1.20.0", TargetVersion: "1.21.0", CurrentState: v2.Idle}
	w.must(w.client.Status().Update(w.t.Context(), brs))
	return name
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// applyRights gives the controller's ServiceAccount the rights of the manifest, in this world's namespace.
func (w *world) applyRights() {
	w.t.Helper()
	text := bytes.ReplaceAll(deploy.Manifest, []byte(v2.DefaultNamespace), []byte(w.namespace))
	for doc := range bytes.SplitSeq(text, []byte("\n---\n")) {
		u := &unstructured.Unstructured{}
		w.must(yaml.Unmarshal(doc, &u.Object))
		if !strings.Contains(u.GetName(), "controller") || !slices.Contains([]string{"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}, u.GetKind()) {
			continue
		}
		if u.GetKind() == "ClusterRoleBinding" { // each world has one
			u.SetName(u.GetName() + "-" + w.namespace)
		}
		w.must(w.client.Apply(w.t.Context(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("test"), client.ForceOwnership))
	}
}

// runAgents plays all agents, and watches the limit, until every node is updated.
func (w *world) runAgents() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	watcher, err := w.client.Watch(ctx, &v2.BottlerocketShadowList{}, client.InNamespace(w.namespace))
	w.must(err)
	var agents sync.WaitGroup
	agents.Go(func() {
		known := map[string]*v2.BottlerocketShadow{}
		for e := range watcher.ResultChan() {
			brs, ok := e.Object.(*v2.BottlerocketShadow)
			if !ok || e.Type != watch.Added && e.Type != watch.Modified {
				continue
			}
			w.observe(known, brs)
			if err := w.act(ctx, brs); err != nil && ctx.Err() == nil {
				w.t.Errorf("agent of %s: %v", brs.Name, err)
				return
			}
		}
	})
	w.t.Cleanup(func() { cancel(); agents.Wait() })
}

// observe keeps the record of slots and starts.
func (w *world) observe(known map[string]*v2.BottlerocketShadow, brs *v2.BottlerocketShadow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if old := known[brs.Name]; brs.Spec.State == v2.StagedAndPerformedUpdate && (old == nil || old.Spec.State == v2.Idle) {
		w.starts = append(w.starts, brs.Name)
	}
	known[brs.Name] = brs
	slots, updated := 0, 0
	for _, s := range known {
		idle := s.Spec.State == v2.Idle && (s.Status == nil || s.Status.CurrentState == v2.Idle)
		switch {
		case !idle:
			slots++
		case s.Status != nil && s.Status.CurrentVersion == "1.21.0" && s.Spec.Version == nil:
			updated++
		}
	}
	w.mostSlots = max(w.mostSlots, slots)
	if updated == len(w.nodes) {
		select {
		case <-w.done:
		default:
			close(w.done)
		}
	}
}

// act does what the spec says at once, and reports it.
func (w *world) act(ctx context.Context, brs *v2.BottlerocketShadow) error {
	if brs.Status == nil || brs.Status.CurrentState == brs.Spec.State {
		return nil
	}
	version := brs.Status.CurrentVersion
	if brs.Spec.State == v2.RebootedIntoUpdate {
		version = *brs.Spec.Version
	}
	patch := fmt.Sprintf(`{"status":{"current_state":%q,"current_version":%q}}`, brs.Spec.State, version)
	return w.client.Status().Patch(ctx, brs.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(patch)))
}

// replica is one running controller.
type replica struct {
	stop   context.CancelFunc
	ended  chan struct{}
	err    error       // once ended is closed
	cutOff atomic.Bool // whether it has lost the network
}

var errCutOff = errors.New("the network is gone")

// start runs a controller with the rights of its ServiceAccount.
func (w *world) start(limit plan.Limit) *replica {
	w.t.Helper()
	return w.startWith(func(c *controller.Config) { c.MaxConcurrent = limit })
}

func (w *world) startWith(change func(*controller.Config)) *replica {
	w.t.Helper()
	r := &replica{ended: make(chan struct{})}
	cfg := rest.CopyConfig(w.cluster.ServiceAccount(w.t, w.namespace, "brupop-controller-service-account"))
	cfg.QPS = -1
	var dialer net.Dialer
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		return &cuttable{conn, &r.cutOff}, err
	}
	config := controller.Config{REST: cfg, Namespace: w.namespace, Log: slog.New(slog.NewTextHandler(w.t.Output(), nil))}
	change(&config)
	c, err := controller.New(config)
	w.must(err)
	ctx, stop := context.WithCancel(w.t.Context())
	r.stop = stop
	go func() {
		defer close(r.ended)
		r.err = c.Run(ctx)
	}()
	w.t.Cleanup(func() { stop(); <-r.ended })
	return r
}

// cuttable is a connection that fails once its replica is cut off.
type cuttable struct {
	net.Conn
	cut *atomic.Bool
}

func (c *cuttable) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.cut.Load() {
		return 0, errCutOff
	}
	return n, err
}

func (c *cuttable) Write(p []byte) (int, error) {
	if c.cut.Load() {
		return 0, errCutOff
	}
	return c.Conn.Write(p)
}

func (w *world) wait(what string, ch <-chan struct{}) {
	w.t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		w.t.Fatalf("waiting for %s: nothing within %v", what, patience)
	}
}

// checkRecord holds the whole run to the limit, and to one start per node.
func (w *world) checkRecord(limit int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mostSlots > limit {
		w.t.Errorf("%d nodes were updated at once, limit %d", w.mostSlots, limit)
	}
	if len(w.starts) != len(w.nodes) {
		w.t.Errorf("%d starts for %d nodes: %v", len(w.starts), len(w.nodes), w.starts)
	}
}

func TestAFleetIsRolledWithTheRightsOfTheManifest(t *testing.T) {
	t.Parallel()
	const limit = 2
	w := newWorld(t, 6)
	w.runAgents()
	w.start(limit)
	w.wait("the fleet", w.done)
	w.checkRecord(limit)

	ctx := t.Context()
	transitions := []string{"UpdateAvailable", "UpdateStaged", "NodeRebooted", "UpdateVerified"}
	for _, node := range w.nodes {
		w.untilTold(node, transitions)
	}
	var brs v2.BottlerocketShadow
	w.must(w.client.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: v2.ShadowName(w.nodes[0])}, &brs))
	if !slices.ContainsFunc(brs.ManagedFields, func(m metav1.ManagedFieldsEntry) bool { return m.Manager == controller.Name }) {
		t.Errorf("no field is managed by %s", controller.Name)
	}
}

// untilTold waits until 'kubectl describe' shows exactly these reasons at a node and at its shadow: it looks for events by
// the same search. Events are written in the background.
func (w *world) untilTold(node string, want []string) {
	w.t.Helper()
	var n corev1.Node
	var brs v2.BottlerocketShadow
	w.must(w.client.Get(w.t.Context(), client.ObjectKey{Name: node}, &n))
	w.must(w.client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: v2.ShadowName(node)}, &brs))
	kube, err := corev1client.NewForConfig(w.cluster.Config)
	w.must(err)
	described := func(o client.Object, kind string) (reasons []string) {
		ref := &corev1.ObjectReference{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID()}
		list, err := kube.Events(o.GetNamespace()).SearchWithContext(w.t.Context(), w.client.Scheme(), ref)
		w.must(err)
		slices.SortFunc(list.Items, func(a, b corev1.Event) int { return a.EventTime.Compare(b.EventTime.Time) })
		for _, e := range list.Items {
			reasons = append(reasons, e.Reason)
		}
		return reasons
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		atNode, atShadow := described(&n, "Node"), described(&brs, "BottlerocketShadow")
		if slices.Equal(atNode, want) && slices.Equal(atShadow, want) {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("events of node %s: %v, of its shadow: %v, want %v at both", node, atNode, atShadow, want)
		}
	}
}

// TestNothingIsToldAgainByTheNextLeader changes the leader of a fleet that may not start.
func TestNothingIsToldAgainByTheNextLeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	first := w.start(0)
	told := func() {
		t.Helper()
		for _, node := range w.nodes {
			w.untilTold(node, []string{"StartsDisabled"})
		}
	}
	told()
	first.stop()
	w.wait("the first replica to end", first.ended)
	second := w.start(0)
	w.untilTold(w.addNode(), []string{"StartsDisabled"}) // so it leads, and has looked
	second.stop()
	w.wait("the second replica to end", second.ended) // with all events written, or refused
	told()
	var list eventsv1.EventList
	w.must(w.client.List(t.Context(), &list, client.InNamespace(w.namespace)))
	for _, e := range list.Items {
		if e.Series != nil {
			t.Errorf("counted again: %s of %s", e.Reason, e.Regarding.Name)
		}
	}
}

// TestNoEventIsLostWithItsLeader cuts off a leader that could write everything but events: the next one, which has watched
// along, tells of all that it did.
func TestNoEventIsLostWithItsLeader(t *testing.T) {
	t.Parallel()
	const limit = 1
	w := newWorld(t, 6)
	leads := make(chan struct{})
	var first sync.Once
	leader := w.startWith(func(c *controller.Config) {
		c.MaxConcurrent = limit
		c.REST.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if strings.Contains(r.URL.Path, "/events") {
					return nil, errors.New("no answer")
				}
				answer, err := next.RoundTrip(r)
				if err == nil && r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/leases") && answer.StatusCode == http.StatusCreated {
					first.Do(func() { close(leads) })
				}
				return answer, err
			})
		})
	})
	w.wait("the first replica to lead", leads)
	watching := make(chan struct{})
	var once sync.Once
	w.startWith(func(c *controller.Config) {
		c.MaxConcurrent = limit
		c.REST.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				answer, err := next.RoundTrip(r)
				if err == nil && strings.Contains(r.URL.Path, "/bottlerocketshadows") && r.URL.Query().Has("watch") {
					once.Do(func() { close(watching) })
				}
				return answer, err
			})
		})
	})
	w.wait("the second replica to watch", watching)
	w.runAgents() // before that, the first start is the last transition that there is
	w.waitForStarts(3)
	leader.cutOff.Store(true)
	w.wait("the leader to give up", leader.ended)
	w.wait("the fleet", w.done)
	w.checkRecord(limit)
	for _, node := range w.nodes {
		w.untilTold(node, []string{"UpdateAvailable", "UpdateStaged", "NodeRebooted", "UpdateVerified"})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestD39TheLimitHoldsWhenTheLeaderStops(t *testing.T) {
	t.Parallel()
	const limit = 1
	w := newWorld(t, 8)
	w.runAgents()
	// Each replica leads for a moment and is asked to stop; another is always waiting.
	current := w.start(limit)
	for range 3 {
		next := w.start(limit)
		w.waitForStarts(1)
		current.stop()
		w.wait("a stopped replica to end", current.ended)
		if current.err != nil {
			t.Errorf("a replica that was asked to stop: %v", current.err)
		}
		current = next
	}
	w.wait("the fleet", w.done)
	w.checkRecord(limit)
}

// lastRenewals watches the Lease, until the test ends, and returns when each holder has renewed it last.
func (w *world) lastRenewals() func() map[string]time.Time {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	watcher, err := w.client.Watch(ctx, &coordinationv1.LeaseList{}, client.InNamespace(w.namespace))
	w.must(err)
	var mu sync.Mutex
	var watching sync.WaitGroup
	last := map[string]time.Time{}
	watching.Go(func() {
		for e := range watcher.ResultChan() {
			if l, ok := e.Object.(*coordinationv1.Lease); ok && l.Spec.HolderIdentity != nil && l.Spec.RenewTime != nil {
				mu.Lock()
				last[*l.Spec.HolderIdentity] = l.Spec.RenewTime.Time
				mu.Unlock()
			}
		}
	})
	w.t.Cleanup(func() { cancel(); watching.Wait() })
	return func() map[string]time.Time {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(last)
	}
}

// TestTheLimitHoldsWhenTheLeaderIsCutOff takes the network from the leader, which learns so only later and cannot give its
// Lease back: for the others that is the same as its death. The next leads when the Lease is over, and not before.
func TestTheLimitHoldsWhenTheLeaderIsCutOff(t *testing.T) {
	t.Parallel()
	const limit = 1
	w := newWorld(t, 40)
	renewals := w.lastRenewals()
	w.runAgents()
	leader := w.start(limit)
	w.waitForStarts(1)
	w.start(limit)
	leader.cutOff.Store(true)
	w.wait("the leader to give up", leader.ended)
	if leader.err == nil {
		t.Error("the leader lost its Lease and reports no error")
	}
	w.wait("the fleet", w.done)
	w.checkRecord(limit)
	var lease coordinationv1.Lease
	w.must(w.client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: controller.Name}, &lease))
	seen := renewals()
	delete(seen, *lease.Spec.HolderIdentity)
	if len(seen) != 1 || *lease.Spec.LeaseTransitions != 1 {
		t.Fatalf("other leaders than the last: %v, after %d changes", seen, *lease.Spec.LeaseTransitions)
	}
	duration := time.Duration(*lease.Spec.LeaseDurationSeconds) * time.Second
	for _, renewed := range seen {
		if gap := lease.Spec.AcquireTime.Sub(renewed); gap < duration {
			t.Errorf("the Lease was taken %v after it was renewed, and it is for %v", gap, duration)
		} else {
			t.Logf("the next leader led %v after the last renewal of the one before", gap)
		}
	}
}

// waitForStarts waits until n more nodes have started, or all have.
func (w *world) waitForStarts(n int) {
	w.t.Helper()
	count := func() int { w.mu.Lock(); defer w.mu.Unlock(); return len(w.starts) }
	want := min(count()+n, len(w.nodes))
	for deadline := time.Now().Add(patience); count() < want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waiting for a start: nothing within %v", patience)
		}
	}
}

func TestALeaderThatStopsGivesItsLeaseBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.runAgents()
	r := w.start(1)
	w.wait("the fleet", w.done)
	r.stop()
	w.wait("the replica to end", r.ended)
	var lease coordinationv1.Lease
	w.must(w.client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: controller.Name}, &lease))
	if lease.Spec.HolderIdentity != nil && *lease.Spec.HolderIdentity != "" {
		t.Errorf("the Lease is still held by %q", *lease.Spec.HolderIdentity)
	}
}
