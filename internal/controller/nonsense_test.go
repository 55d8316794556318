// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/controller"
	"github.com/drydock-os/drydock/internal/plan"
)

// nonsense is what somebody may write into a node's shadow or on the node, and the event that tells of it; none where
// nothing is wrong for the controller, and the node is updated.
type nonsense struct {
	name   string
	spec   string // JSON, merged into the object
	status string
	node   func(*corev1.Node)
	shadow func(*unstructured.Unstructured)
	event  plan.WaitReason
	move   plan.MoveReason
	gone   bool // the shadow is deleted
}

// never is text that is longer than anything may be that is repeated.
var never = strings.Repeat("∞", 100<<10)

func allNonsense() []nonsense {
	const offered = `{"current_version":"1.20.0","target_version":"1.21.0","current_state":"Idle","crash_count":0`
	return []nonsense{
		{name: "an unknown wanted state", spec: `{"state":"Sideways"}`, move: plan.SpecRepaired},
		{name: "a huge wanted state", spec: `{"state":"` + never + `"}`, move: plan.SpecRepaired},
		{name: "an unknown reported state", status: `{"current_version":"1.20.0","target_version":"1.21.0","current_state":"Nowhere"}`, event: plan.InvalidData},
		{name: "a wanted state that only agents report", spec: `{"state":"ErrorReset","version":"1.21.0"}`, move: plan.SpecRepaired},
		{name: "staged without a version", spec: `{"state":"StagedAndPerformedUpdate"}`, status: `{"current_version":"1.20.0","target_version":"1.21.0","current_state":"StagedAndPerformedUpdate"}`, event: plan.InvalidData},
		{name: "staged with a version that is none", spec: `{"state":"StagedAndPerformedUpdate","version":"the newest"}`, status: `{"current_version":"1.20.0","target_version":"1.21.0","current_state":"StagedAndPerformedUpdate"}`, event: plan.InvalidData},
		{name: "a target that is no version", status: `{"current_version":"1.20.0","target_version":"latest","current_state":"Idle"}`, event: plan.InvalidData},
		{name: "a huge version", status: `{"current_version":"` + never + `","target_version":"1.21.0","current_state":"Idle"}`, event: plan.InvalidData},
		{name: "a number without end", status: `{"current_version":"1.20.0","target_version":"` + strings.Repeat("9", 200) + `.0.0","current_state":"Idle"}`, move: plan.UpdateAvailable},
		{name: "no version at all", status: `{"current_version":"","target_version":"","current_state":"Idle"}`, event: plan.InvalidData},
		{name: "it failed yesterday, says somebody", status: offered + `,"state_transition_failure_timestamp":"yesterday"}`, event: plan.InvalidData},
		{name: "it failed in the year 9999", status: offered + `,"state_transition_failure_timestamp":"9999-12-31T23:59:59Z"}`, event: plan.InvalidData},
		{name: "it failed in 1970, and very often", status: strings.Replace(offered, `"crash_count":0`, `"crash_count":4294967295`, 1) + `,"state_transition_failure_timestamp":"1970-01-01T00:00:00Z"}`, move: plan.UpdateAvailable},
		{name: "asked for since 1970", spec: `{"state":"RebootedIntoUpdate","version":"1.21.0","state_transition_timestamp":"1970-01-01T00:00:00Z"}`, move: plan.StateTimedOut},
		{name: "asked for from the year 9999 on", spec: `{"state":"RebootedIntoUpdate","version":"1.21.0","state_transition_timestamp":"9999-12-31T23:59:59+14:00"}`, move: plan.ClockStarted},
		{name: "asked for since a word", spec: `{"state":"MonitoringUpdate","version":"1.21.0","state_transition_timestamp":"` + never + `"}`, move: plan.ClockStarted},
		{name: "failed with a huge error", spec: `{"state":"StagedAndPerformedUpdate","version":"1.21.0"}`, status: `{"current_version":"1.20.0","target_version":"1.21.0","current_state":"ErrorReset","last_error":"` + never + `"}`, move: plan.AttemptFailed},
		{name: "a huge error of the host, since 1970", status: `{"current_version":"1.21.0","target_version":"1.21.0","current_state":"Idle","update_check":{"error":"` + never + `","failing_since":"1970-01-01T00:00:00Z","last_success":"never"}}`, event: plan.CheckFailing},
		{name: "held back by a word, until a word", status: `{"current_version":"1.21.0","target_version":"1.21.0","current_state":"Idle","held_update":{"version":"` + never + `","reason":"` + never + `","until":"soon","locked_to":"\u001b[31m"}}`, event: plan.HeldBack},
		{name: "a mark of ours that somebody has edited", shadow: annotate(v2.TimedOutAnnotation, `{"count":-1,"at":[]}`), move: plan.UpdateAvailable},
		{name: "a mark of ours from the year 9999", shadow: annotate(v2.TimedOutAnnotation, `{"count":9,"at":"9999-12-31T23:59:59Z","state":"Sideways"}`), move: plan.UpdateAvailable},
		{name: "marks of ours on the node", node: func(n *corev1.Node) {
			n.Annotations = map[string]string{v2.CordonedByAnnotation: "Captain", v2.HeldByAnnotation: "{", v2.ExcludedByAnnotation: "∞", "note": strings.Repeat("x", 200<<10)}
		}, move: plan.UpdateAvailable},
		{name: "a node that is for another version of the interface", node: func(n *corev1.Node) { n.Labels[v2.UpdaterInterfaceLabel] = "3.0.0" }, gone: true},
		{name: "a shadow that somebody else owns", shadow: func(u *unstructured.Unstructured) {
			u.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "elsewhere", UID: "not-this-one"}})
		}, gone: true},
		{name: "a shadow that is owned by nobody, with a finalizer", shadow: func(u *unstructured.Unstructured) {
			u.SetOwnerReferences(nil)
			u.SetFinalizers([]string{"example.com/never"})
		}, move: plan.UpdateAvailable},
		{name: "nothing wrong", move: plan.UpdateAvailable},
	}
}

func annotate(key, value string) func(*unstructured.Unstructured) {
	return func(u *unstructured.Unstructured) { u.SetAnnotations(map[string]string{key: value}) }
}

// TestD12NonsenseIsReportedAndLeftAlone writes by hand what no part of ours would, into a definition that checks nothing: each
// object is told of by an event, at the shadow and where it is bad at the node, in so few words that an event can hold
// them; everything else goes on; and then it is quiet: there is no loop that tries again and again.
//
// It is not parallel: the changed definition ends the watches of others.
func TestD12NonsenseIsReportedAndLeftAlone(t *testing.T) {
	cases := allNonsense()
	w := newWorld(t, len(cases))
	w.checkNothing()
	ctx := t.Context()
	stray := &v2.BottlerocketShadow{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "not-named-as-one-of-ours"}, Spec: v2.BottlerocketShadowSpec{State: v2.Idle}}
	w.must(w.client.Create(ctx, stray))
	for i, c := range cases {
		w.write(w.nodes[i], c)
	}
	log := &lines{}
	r := w.startWith(func(cfg *controller.Config) {
		cfg.MaxConcurrent, cfg.Log = plan.Limit(len(cases)), log.logger()
		cfg.Timeouts = plan.Timeouts{Staged: time.Hour, Rebooted: time.Hour, Monitoring: time.Hour, Idle: time.Hour}
	})

	for i, c := range cases {
		name := w.nodes[i]
		if c.gone {
			w.eventually(c.name+": the shadow is deleted", func() bool {
				var s v2.BottlerocketShadow
				return client.IgnoreNotFound(w.client.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: v2.ShadowName(name)}, &s)) == nil && s.Name == ""
			})
			continue
		}
		want := string(c.event) + string(c.move)
		var told eventsv1.Event
		w.eventually(fmt.Sprintf("%s: the event %s", c.name, want), func() bool {
			var ok bool
			told, ok = w.told(w.namespace, "BottlerocketShadow", v2.ShadowName(name), want)
			return ok
		})
		bad := told.Type == corev1.EventTypeWarning
		if isBad := c.move != plan.UpdateAvailable && c.move != plan.ClockStarted && c.event != plan.HeldBack; bad != isBad {
			t.Errorf("%s: the event is %s", c.name, told.Type)
		}
		if told.Note == "" || len(told.Note) > 1024 {
			t.Errorf("%s: the event says %.100q in %d bytes", c.name, told.Note, len(told.Note))
		}
		if bad {
			w.eventually(c.name+": the event at the node", func() bool {
				_, ok := w.told(metav1.NamespaceDefault, "Node", name, want)
				return ok
			})
		}
	}
	w.must(w.client.Get(ctx, client.ObjectKeyFromObject(stray), stray))

	before := w.revisions()
	select {
	case <-r.ended:
		t.Fatalf("the controller ended: %v", r.err)
	case <-time.After(2 * time.Second): // two retries and more would be over by now
	}
	if after := w.revisions(); !slices.Equal(before, after) {
		t.Errorf("shadows are still written:\n%v\n%v", before, after)
	}
	if most := log.longest(); most > 4096 {
		t.Errorf("a line of the log has %d bytes", most)
	}
}

// TestD12WhatTheDefinitionAdmitsCanBeRead writes what is at the edge of the definition's rules. One object that is stored and
// cannot be read would keep all others from being read, too: they are listed together.
func TestD12WhatTheDefinitionAdmitsCanBeRead(t *testing.T) {
	w := newWorld(t, 1)
	const good = `"current_version":"1.0.0","target_version":"1.0.0","current_state":"Idle"`
	const condition = `"type":"Updated","status":"True","reason":"R","message":"m"`
	admitted := 0
	for _, status := range []string{
		`{"crash_count":4294967295,` + good + `}`, `{"crash_count":4294967296,` + good + `}`, `{"crash_count":-1,` + good + `}`, `{"crash_count":1.5,` + good + `}`,
		`{"crash_count":9223372036854775807,` + good + `}`, `{"crash_count":1e3,` + good + `}`,
		`{"crash_count":0,"drain":{"pods_left":2147483647},` + good + `}`, `{"crash_count":0,"drain":{"pods_left":2147483648},` + good + `}`,
		`{"crash_count":0,"drain":{},` + good + `}`, `{"crash_count":0,"update_check":{"error":7},` + good + `}`,
		`{"crash_count":0,"conditions":[{` + condition + `,"lastTransitionTime":"2026-01-01T00:00:00Z"}],` + good + `}`,
		`{"crash_count":0,"conditions":[{` + condition + `,"lastTransitionTime":"2026-01-01t00:00:00z"}],` + good + `}`,
		`{"crash_count":0,"conditions":[{` + condition + `,"lastTransitionTime":"2026-01-01T23:59:60Z"}],` + good + `}`,
		`{"crash_count":0,"conditions":[{` + condition + `,"lastTransitionTime":"2026-02-31T00:00:00Z"}],` + good + `}`,
		`{"crash_count":0,"conditions":[{` + condition + `,"lastTransitionTime":"2026-01-01T00:00:00+23:59"}],` + good + `}`,
		`{"crash_count":0,"conditions":[{` + condition + `,"lastTransitionTime":"2026-01-01T00:00:00.5Z","observedGeneration":9223372036854775807}],` + good + `}`,
		`{"crash_count":0,"conditions":[{` + condition + `,"lastTransitionTime":"yesterday"}],` + good + `}`,
	} {
		brs := &v2.BottlerocketShadow{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: v2.ShadowName(w.nodes[0])}}
		clear := client.RawPatch("application/merge-patch+json", []byte(`{"status":null}`))
		w.must(w.client.Status().Patch(t.Context(), brs, clear))
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(v2.GroupVersion.WithKind("BottlerocketShadow"))
		u.SetNamespace(brs.Namespace)
		u.SetName(brs.Name)
		err := w.client.Status().Patch(t.Context(), u, client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"status":%s}`, status)))
		if err != nil {
			if !apierrors.IsInvalid(err) {
				t.Errorf("%s: %v", status, err)
			}
			continue
		}
		admitted++
		if err := w.client.List(t.Context(), &v2.BottlerocketShadowList{}, client.InNamespace(w.namespace)); err != nil {
			t.Errorf("%s is admitted, and then: %v", status, err)
		}
	}
	if admitted < 4 {
		t.Errorf("only %d were admitted", admitted)
	}
}

// checkNothing takes all rules out of the definition, as one of an earlier or later version might have others.
func (w *world) checkNothing() {
	w.t.Helper()
	crd := &unstructured.Unstructured{}
	crd.SetGroupVersionKind(apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition"))
	key := client.ObjectKey{Name: "bottlerocketshadows.brupop.bottlerocket.aws"}
	w.must(w.client.Get(w.t.Context(), key, crd))
	original := crd.DeepCopy()
	versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
	w.must(err)
	anything := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	for _, v := range versions {
		v.(map[string]any)["schema"] = map[string]any{"openAPIV3Schema": map[string]any{
			"type": "object", "properties": map[string]any{"spec": anything, "status": anything},
		}}
	}
	w.must(unstructured.SetNestedSlice(crd.Object, versions, "spec", "versions"))
	w.must(w.client.Update(w.t.Context(), crd))
	w.t.Cleanup(func() {
		w.must(w.client.Get(context.WithoutCancel(w.t.Context()), key, crd))
		crd.Object["spec"] = original.Object["spec"]
		w.must(w.client.Update(context.WithoutCancel(w.t.Context()), crd))
	})
	// The old rules hold for a moment longer.
	w.eventually("a definition without rules", func() bool {
		probe := &v2.BottlerocketShadow{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "probe"}, Spec: v2.BottlerocketShadowSpec{State: "Sideways"}}
		if w.client.Create(w.t.Context(), probe) != nil {
			return false
		}
		w.must(w.client.Delete(w.t.Context(), probe))
		return true
	})
}

// write puts the nonsense into the cluster.
func (w *world) write(node string, c nonsense) {
	w.t.Helper()
	ctx := w.t.Context()
	if c.node != nil {
		var n corev1.Node
		w.must(w.client.Get(ctx, client.ObjectKey{Name: node}, &n))
		c.node(&n)
		w.must(w.client.Update(ctx, &n))
	}
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(v2.GroupVersion.WithKind("BottlerocketShadow"))
	w.must(w.client.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: v2.ShadowName(node)}, u))
	if c.shadow != nil {
		c.shadow(u)
		w.must(w.client.Update(ctx, u))
	}
	for field, text := range map[string]string{"spec": c.spec, "status": c.status} {
		if text == "" {
			continue
		}
		patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{%q:%s}`, field, text))
		if field == "status" {
			w.must(w.client.Status().Patch(ctx, u, patch))
		} else {
			w.must(w.client.Patch(ctx, u, patch))
		}
	}
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// told is the event of that reason at an object.
func (w *world) told(namespace, kind, name, reason string) (eventsv1.Event, bool) {
	var list eventsv1.EventList
	w.must(w.client.List(w.t.Context(), &list, client.InNamespace(namespace)))
	for _, e := range list.Items {
		if e.Regarding.Kind == kind && e.Regarding.Name == name && e.Reason == reason {
			return e, true
		}
	}
	return eventsv1.Event{}, false
}

// revisions are those of all shadows.
func (w *world) revisions() []string {
	w.t.Helper()
	var list v2.BottlerocketShadowList
	w.must(w.client.List(w.t.Context(), &list, client.InNamespace(w.namespace)))
	var all []string
	for _, s := range list.Items {
		all = append(all, s.Name+" "+s.ResourceVersion)
	}
	slices.Sort(all)
	return all
}

// lines is a log of which the longest line counts.
type lines struct {
	mu   sync.Mutex
	most int
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *lines) Write(p []byte) (int, error) { // a record is one call
	l.mu.Lock()
	defer l.mu.Unlock()
	l.most = max(l.most, len(p))
	return len(p), nil
}

func (l *lines) longest() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.most
}
