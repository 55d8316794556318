// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package notice

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/types"
	typed "k8s.io/client-go/kubernetes/typed/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/drydock-os/drydock/internal/testutil/kubetest"
)

// replicas are processes that write events to a real server.
type replicas struct {
	t       *testing.T
	client  client.WithWatch
	subject Subject
	events  typed.EventsV1Interface
}

func newReplicas(t *testing.T) *replicas {
	t.Helper()
	c := kubetest.Start(t)
	events, err := typed.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	ns := c.Namespace(t)
	return &replicas{t, c.Client(t), Subject{Node: "node-of-" + ns, NodeUID: types.UID("uid-of-" + ns), Namespace: ns, ShadowUID: "shadow-uid"}, events}
}

// tell has one process tell all that, and end.
func (r *replicas) tell(instance string, notices ...Notice) {
	w, err := NewWriter(Config{Events: func(ns string) Sink { return r.events.Events(ns) }, Reporter: "tester", Instance: instance})
	if err != nil {
		r.t.Error(err)
		return
	}
	for _, n := range notices {
		n.Subject, n.Action = r.subject, "Test"
		w.Tell(n)
	}
	ctx, stop := context.WithCancel(r.t.Context())
	stop()
	w.Run(ctx)
}

// stored returns the counts of all events about the subject.
func (r *replicas) stored() []string {
	r.t.Helper()
	var all []eventsv1.Event
	for _, ns := range []string{"default", r.subject.Namespace} {
		var list eventsv1.EventList
		if err := r.client.List(r.t.Context(), &list, client.InNamespace(ns)); err != nil {
			r.t.Fatal(err)
		}
		for _, e := range list.Items {
			if strings.HasSuffix(e.Regarding.Name, r.subject.Node) {
				all = append(all, e)
			}
		}
	}
	return sorted(all)
}

func TestTheSameAgainIsCounted(t *testing.T) {
	r := newReplicas(t)
	staged, failed := Notice{Reason: "Staged", Note: "1.2.3 is staged"}, Notice{Reason: "Failed", Note: "no", Warning: true}
	r.tell("one", staged)
	r.tell("one", failed)
	for _, instance := range []string{"one", "two", "three"} {
		r.tell(instance, staged)
	}
	waits := Notice{Reason: "Waits", Note: "until later", Known: true}
	for _, instance := range []string{"one", "two"} {
		r.tell(instance, waits)
	}
	want := []string{
		"BottlerocketShadow Failed x1", "BottlerocketShadow Staged x4", "BottlerocketShadow Waits x1",
		"Node Failed x1", "Node Staged x4", "Node Waits x1",
	}
	if diff := cmp.Diff(want, r.stored()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// Several replicas that tell the same at once make one event, and lose no count.
func TestManyTellTheSameAtOnce(t *testing.T) {
	r := newReplicas(t)
	var all sync.WaitGroup
	for _, instance := range []string{"one", "two", "three"} {
		all.Go(func() { r.tell(instance, Notice{Reason: "Again", Note: "n"}) })
	}
	all.Wait()
	if diff := cmp.Diff([]string{"BottlerocketShadow Again x3", "Node Again x3"}, r.stored()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// The server takes the longest names and texts there are.
func TestTheServerTakesWhatIsLong(t *testing.T) {
	r := newReplicas(t)
	r.subject.Node += strings.Repeat(".a", (249-len(r.subject.Node))/2)
	r.tell(strings.Repeat("i", 200), Notice{Reason: "Long", Note: strings.Repeat("ü", 2000)})
	if diff := cmp.Diff([]string{"BottlerocketShadow Long x1", "Node Long x1"}, r.stored()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
