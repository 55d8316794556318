// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/fleetview"
	"github.com/drydock-os/drydock/internal/notice"
	"github.com/drydock-os/drydock/internal/plan"
)

const testNamespace = "test"

// node is an opted-in node that is Ready.
func node(name string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: types.UID("uid-of-" + name),
			Labels: map[string]string{v2.UpdaterInterfaceLabel: v2.UpdaterInterfaceVersion},
		},
		Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}},
	}
}

// shadow is that of an idle node which is offered an update.
func shadow(nodeName string) *v2.BottlerocketShadow {
	return &v2.BottlerocketShadow{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: testNamespace, Name: v2.ShadowName(nodeName), UID: types.UID("uid-of-shadow-" + nodeName),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: nodeName, UID: types.UID("uid-of-" + nodeName)}},
		},
		Spec:   v2.BottlerocketShadowSpec{State: v2.Idle},
		Status: &v2.BottlerocketShadowStatus{CurrentVersion: "1.20.0", TargetVersion: "1.21.0", CurrentState: v2.Idle},
	}
}

// fixture is a reconciler on a pretended server, with watches that can be made to lag.
type fixture struct {
	*reconciler
	t      *testing.T
	server client.WithWatch
	told   *tellings
	clock  time.Time
	// lags is whether the watches show nothing new.
	lags bool
	// onPatch runs instead of a patch of a spec when set; write carries it out.
	onPatch func(name string, write func() error) error
	marks   int // how often a shadow was marked
}

func newFixture(t *testing.T, limit plan.Limit, objects ...client.Object) *fixture {
	t.Helper()
	server := fake.NewClientBuilder().WithScheme(newScheme()).WithObjects(objects...).
		WithStatusSubresource(&v2.BottlerocketShadow{}).Build()
	return onServer(t, limit, server)
}

// onServer is a replica on the server of another.
func onServer(t *testing.T, limit plan.Limit, server client.WithWatch) *fixture {
	t.Helper()
	f := &fixture{t: t, server: server, told: &tellings{}, clock: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	writer := interceptor.NewClient(server, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			write := func() error { return c.Patch(ctx, obj, patch, opts...) }
			if body, err := patch.Data(obj); err == nil && bytes.Contains(body, []byte(v2.MarkAnnotation)) {
				f.marks++
				return write()
			}
			if f.onPatch != nil {
				return f.onPatch(obj.GetName(), write)
			}
			return write()
		},
	})
	seen := newMirror()
	f.reconciler = newReconciler(Config{
		Namespace: testNamespace, MaxConcurrent: limit, Version: "1.2.3", Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return f.clock },
	}, writer, server, f.told, seen, newLedger(seen.known), func() time.Time { return f.clock.Add(time.Second) })
	return f
}

// watch lets the watches show what there is, unless they lag. Deletions are shown as missed ones.
func (f *fixture) watch() {
	f.t.Helper()
	if f.lags {
		return
	}
	var nodes corev1.NodeList
	var shadows v2.BottlerocketShadowList
	if err := errors.Join(f.server.List(f.t.Context(), &nodes), f.server.List(f.t.Context(), &shadows)); err != nil {
		f.t.Fatal(err)
	}
	onNode, onShadow := f.mirror.nodeHandler(), f.mirror.shadowHandler()
	there := map[string]bool{}
	for i := range nodes.Items {
		there[nodes.Items[i].Name] = true
		onNode.OnUpdate(nil, &nodes.Items[i])
	}
	for i := range shadows.Items {
		there[shadows.Items[i].Name] = true
		onShadow.OnUpdate(nil, &shadows.Items[i])
	}
	for name := range f.mirror.nodes {
		if !there[name] {
			onNode.OnDelete(toolscache.DeletedFinalStateUnknown{Key: name, Obj: node(name)})
		}
	}
	for name, e := range f.mirror.shadows {
		if !there[name] {
			last := e.object.DeepCopy()
			last.ResourceVersion = e.shown
			onShadow.OnDelete(toolscache.DeletedFinalStateUnknown{Key: name, Obj: last})
		}
	}
}

// lag lets the watches show what there is now, and nothing more.
func (f *fixture) lag() {
	f.watch()
	f.lags = true
}

// reconcile looks at the fleet, and once more when the mark of a new leader is to be shown first. It returns when it
// wants to look again.
func (f *fixture) reconcile() time.Duration {
	f.t.Helper()
	for range 2 {
		f.watch()
		res, err := f.Reconcile(f.t.Context(), fleet)
		if err != nil {
			f.t.Fatalf("reconciling: %v", err)
		}
		if !f.uncertain {
			return res.RequeueAfter
		}
		if res.RequeueAfter <= 0 {
			f.t.Fatal("waits for its mark, for ever")
		}
	}
	return 0
}

// started returns the names of the nodes whose spec on the server asks for something.
func (f *fixture) started() []string {
	f.t.Helper()
	var list v2.BottlerocketShadowList
	if err := f.server.List(f.t.Context(), &list); err != nil {
		f.t.Fatal(err)
	}
	names := []string{}
	for i := range list.Items {
		if list.Items[i].Spec.State != v2.Idle {
			names = append(names, fleetview.NodeName(&list.Items[i]))
		}
	}
	return names
}

// tellings is a teller that remembers.
type tellings struct {
	mu  sync.Mutex
	all []notice.Notice
}

func (t *tellings) Tell(n notice.Notice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, n)
}

// notices returns what was told since the last call.
func (f *fixture) notices() []notice.Notice {
	f.told.mu.Lock()
	defer f.told.mu.Unlock()
	all := f.told.all
	f.told.all = nil
	return all
}

// drainEvents returns the same as texts: type, reason and note.
func (f *fixture) drainEvents() []string {
	var got []string
	for _, n := range f.notices() {
		kind := corev1.EventTypeNormal
		if n.Warning {
			kind = corev1.EventTypeWarning
		}
		got = append(got, kind+" "+n.Reason+" "+n.Note)
	}
	return got
}
