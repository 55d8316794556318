// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/agentapi"
)

type answer struct {
	code   int
	body   string
	header http.Header
}

// raw sends a request as an agent of the original would, over HTTP/1.1.
func (r *replica) raw(t testing.TB, method, path string, body []byte, header map[string]string) answer {
	t.Helper()
	host := agentapi.ServiceName + "." + r.f.ns + ".svc.cluster.local"
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // names are checked by the tests with the client
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, r.address)
		},
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), method, "https://"+host+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, string(text), resp.Header}
}

func (f *fixture) shadow(node string) *v2.BottlerocketShadow {
	f.t.Helper()
	var s v2.BottlerocketShadow
	if err := f.client.Get(f.t.Context(), client.ObjectKey{Namespace: f.ns, Name: v2.ShadowName(node)}, &s); err != nil {
		f.t.Fatal(err)
	}
	return &s
}

// The wire of the original, to the byte where its agents look.
func TestWireOfTheOriginal(t *testing.T) {
	f := newFixture(t)
	n := f.node("n")
	r := f.serve()
	headers := map[string]string{
		agentapi.HeaderNodeName: n.Name, agentapi.HeaderNodeUID: string(n.UID),
		agentapi.HeaderToken: f.token(f.agent(n.Name), agentapi.Audience),
	}
	with := func(k, v string) map[string]string {
		m := map[string]string{k: v}
		for k, v := range headers {
			m[k] = v
		}
		return m
	}
	jsonType := with("Content-Type", "application/json")

	if got := r.raw(t, "GET", "/ping", nil, nil); got.code != 200 || got.body != "pong" {
		t.Errorf("ping: %+v", got)
	}
	status := `{"current_version":"1.20.0","target_version":"1.20.1","current_state":"Idle","crash_count":0,"state_transition_failure_timestamp":null}`
	if got := r.raw(t, "PUT", agentapi.PathResource, []byte(status), jsonType); got.code != 404 {
		t.Errorf("status of a shadow that does not exist: %+v", got)
	}
	want := fmt.Sprintf(`{"apiVersion":"brupop.bottlerocket.aws/v2","kind":"BottlerocketShadow","metadata":{"name":"brs-%s","ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"%s","uid":"%s"}]},"spec":{"state":"Idle","state_transition_timestamp":null,"version":null}}`, n.Name, n.Name, n.UID)
	for range 2 { // the second time it is there already
		got := r.raw(t, "POST", agentapi.PathResource, []byte(`{"node_selector":{"node_name":"x","node_uid":"y"}}`), headers)
		if got.code != 200 || !sameJSON(t, got.body, want) {
			t.Errorf("create: %+v\nwant %s", got, want)
		}
	}
	if got := r.raw(t, "PUT", agentapi.PathResource, []byte(status), jsonType); got.code != 200 || !sameJSON(t, got.body, status) {
		t.Errorf("status: %+v", got)
	}
	for _, tc := range []struct {
		name, method, path, body string
		header                   map[string]string
		want                     int
	}{
		{"no JSON type", "PUT", agentapi.PathResource, status, headers, 400},
		{"no JSON", "PUT", agentapi.PathResource, "{", jsonType, 400},
		{"a key is missing", "PUT", agentapi.PathResource, `{"current_version":"1.0.0"}`, jsonType, 400},
		{"an unknown state", "PUT", agentapi.PathResource, strings.Replace(status, `"Idle"`, `"Odd"`, 1), jsonType, 400},
		{"a version that is none", "PUT", agentapi.PathResource, strings.Replace(status, "1.20.0", "v1", 1), jsonType, 400},
		{"too large", "PUT", agentapi.PathResource, strings.Repeat(" ", agentapi.MaxBody) + status, jsonType, 413},
		{"unknown path", "GET", "/other", "", headers, 404},
		{"wrong method", "DELETE", agentapi.PathResource, "", headers, 405},
		{"unknown path, nobody", "GET", "/other", "", map[string]string{agentapi.HeaderNodeName: "x"}, 401},
		{"no node", "POST", agentapi.PathUncordon, "", map[string]string{agentapi.HeaderToken: "x"}, 400},
		{"ping with a slash is not exempt", "GET", "/ping/", "", nil, 400},
	} {
		if got := r.raw(t, tc.method, tc.path, []byte(tc.body), tc.header); got.code != tc.want {
			t.Errorf("%s: %d %s, want %d", tc.name, got.code, got.body, tc.want)
		}
	}
}

func sameJSON(t testing.TB, a, b string) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal([]byte(a), &x), json.Unmarshal([]byte(b), &y)); err != nil {
		t.Error(err)
		return false
	}
	return cmp.Equal(x, y)
}

func TestStatusIsReplacedNotMerged(t *testing.T) {
	f := newFixture(t)
	n := f.node("n")
	r := f.serve()
	c := r.connect(n.Name, f.token(f.agent(n.Name), agentapi.Audience))
	if err := c.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := f.shadow(n.Name).OwnerReferences; len(got) != 1 || got[0].UID != n.UID || got[0].Kind != "Node" {
		t.Errorf("owner: %+v", got)
	}
	when := "2026-01-02T03:04:05Z"
	full := agentapi.Status{
		CurrentVersion: "1.20.0", TargetVersion: "1.21.0", CurrentState: agentapi.ErrorReset, CrashCount: 2,
		StateTransitionFailureTimestamp: &when, Message: "m", LastError: "e", Slot: "A", BootID: "b",
	}
	plain := agentapi.Status{CurrentVersion: "1.20.0", TargetVersion: "1.21.0", CurrentState: agentapi.Idle}
	var before uint64
	for _, want := range []agentapi.Status{full, plain} {
		revision, err := c.PutStatus(t.Context(), want)
		if err != nil {
			t.Fatal(err)
		}
		got := f.shadow(n.Name)
		if diff := cmp.Diff(want, *wireStatus(*got.Status)); diff != "" {
			t.Error(diff)
		}
		if revision <= before || fmt.Sprint(revision) != got.ResourceVersion {
			t.Errorf("revision %d after %d, object has %s", revision, before, got.ResourceVersion)
		}
		before = revision
	}
	same, err := c.PutStatus(t.Context(), plain)
	if err != nil || same != before {
		t.Errorf("a write without a change made revision %d of %d, %v", same, before, err)
	}
}

func TestShadowOfAnEarlierNodeIsNotTaken(t *testing.T) {
	f := newFixture(t)
	n := f.node("n")
	f.create(&v2.BottlerocketShadow{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: f.ns, Name: v2.ShadowName(n.Name),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: "earlier"}},
		},
		Spec: v2.BottlerocketShadowSpec{State: v2.Idle},
	})
	r := f.serve()
	if err := r.connect(n.Name, f.token(f.agent(n.Name), agentapi.Audience)).Create(t.Context()); code(err) != 409 {
		t.Errorf("got %v, want 409", err)
	}
}

// Each agent sees its own shadow: absent, created, changed by the controller, deleted.
func TestStreamFollowsTheShadow(t *testing.T) {
	f := newFixture(t)
	n, other := f.node("n"), f.node("other")
	r := f.serve()
	c := r.connect(n.Name, f.token(f.agent(n.Name), agentapi.Audience))
	seen := make(chan agentapi.Event, 100)
	ctx, cancel := context.WithCancel(t.Context())
	watching := make(chan error, 1)
	go func() { watching <- c.Watch(ctx, func(e agentapi.Event) { seen <- e }) }()
	next := func(want string, ok func(agentapi.Event) bool) agentapi.Event {
		t.Helper()
		for {
			select {
			case e := <-seen:
				if ok(e) {
					return e
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("no event: %s", want)
			}
		}
	}
	next("absent", func(e agentapi.Event) bool { return e.Type == agentapi.EventAbsent })
	if err := c.Create(ctx); err != nil {
		t.Fatal(err)
	}
	e := next("created", func(e agentapi.Event) bool { return e.Type == agentapi.EventState })
	if e.Spec.State != agentapi.Idle || e.Status != nil || e.Spec.Version != nil || e.Revision == 0 {
		t.Errorf("created: %+v", e)
	}
	f.create(&v2.BottlerocketShadow{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: v2.ShadowName(other.Name)}, Spec: v2.BottlerocketShadowSpec{State: v2.MonitoringUpdate}})

	s := f.shadow(n.Name)
	s.Spec.State, s.Spec.Version = v2.StagedAndPerformedUpdate, new(v2.Version("1.21.0"))
	if err := f.client.Update(ctx, s); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	e = next("changed", func(e agentapi.Event) bool { return e.Spec != nil && e.Spec.State != agentapi.Idle })
	if e.Spec.State != agentapi.StagedAndPerformedUpdate || e.Spec.WantedVersion() != "1.21.0" {
		t.Errorf("changed: %+v", e.Spec)
	}
	t.Logf("the change arrived within %v", time.Since(start))
	if err := f.client.Delete(ctx, s); err != nil {
		t.Fatal(err)
	}
	next("deleted", func(e agentapi.Event) bool { return e.Type == agentapi.EventAbsent })
	cancel()
	if err := <-watching; !errors.Is(err, context.Canceled) {
		t.Errorf("watch ended with %v", err)
	}
}

// Whatever somebody writes into a shadow by hand, its agent can read the stream.
func TestAHugeShadowDoesNotCutItsAgentOff(t *testing.T) {
	f := newFixture(t)
	n := f.node("n")
	huge := strings.Repeat("ü", 300<<10)
	f.create(&v2.BottlerocketShadow{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: v2.ShadowName(n.Name), Annotations: map[string]string{"note": strings.Repeat("x", 200<<10)}},
		Spec:       v2.BottlerocketShadowSpec{State: v2.MonitoringUpdate, StateTransitionTimestamp: &huge},
	})
	s := f.shadow(n.Name)
	s.Status = &v2.BottlerocketShadowStatus{CurrentVersion: "1.0.0", TargetVersion: "1.0.0", CurrentState: v2.Idle, LastError: huge[:200<<10], Message: huge[:100<<10]}
	if err := f.client.Status().Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	r := f.serve()
	c := r.connect(n.Name, f.token(f.agent(n.Name), agentapi.Audience))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := c.Watch(ctx, func(e agentapi.Event) {
		if e.Spec.State != agentapi.MonitoringUpdate || len(e.Status.LastError) != maxWireText {
			t.Errorf("state %s with an error of %d bytes", e.Spec.State, len(e.Status.LastError))
		}
		cancel()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the stream: %v", err)
	}
}

func TestD14ShutdownEndsStreamsAndDrains(t *testing.T) {
	f := newFixture(t)
	n := f.node("n")
	agent := f.agent(n.Name)
	f.pod(f.ns, "stays", n.Name, "default", nil) // no kubelet runs: it never leaves
	r := f.serve()
	c := r.connect(n.Name, f.token(agent, agentapi.Audience))
	open := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = c.Watch(ctx, func(agentapi.Event) { close(open) }) }()
	<-open
	drained := make(chan error, 1)
	go func() { drained <- c.CordonAndDrain(ctx) }()
	f.eventually("the node is cordoned", func() bool {
		var now corev1.Node
		return f.client.Get(ctx, client.ObjectKeyFromObject(n), &now) == nil && now.Spec.Unschedulable
	})
	begin := time.Now()
	if err := r.stop(); err != nil {
		t.Errorf("server ended with %v", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the end took %v", took)
	}
	if err := <-drained; code(err) != 503 || !agentapi.Temporary(err) {
		t.Errorf("the drain ended with %v, want 503", err)
	}
}

func TestD7MetricsNeedNoToken(t *testing.T) {
	f := newFixture(t)
	r := f.serve()
	r.raw(t, "GET", "/ping", nil, nil)
	body := r.scrape(t)
	for _, want := range []string{`drydock_apiserver_request_duration_seconds_count{code="200",method="GET",route="/ping"}`, "drydock_apiserver_streams 0"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
}

// scrape returns the metrics of a replica.
func (r *replica) scrape(t *testing.T) string {
	t.Helper()
	resp, err := http.Get("http://" + r.metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
