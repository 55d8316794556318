// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/fleetview"
	"github.com/drydock-os/drydock/internal/plan"
)

// oldAgent does on the wire what an agent of the original does: it knows no stream and reads its shadow from Kubernetes,
// sends three headers with every request, and what it gets back must decode.
type oldAgent struct {
	f       *fixture
	r       *replica
	node    *corev1.Node
	token   string
	lbWait  bool
	running string // the version of its host
	offered string
	fails   bool // the next staging fails
	calls   []string
}

// send makes a request as the original does; anything but 200 is an error for it.
func (a *oldAgent) send(method, path, body string) string {
	a.f.t.Helper()
	a.calls = append(a.calls, strings.TrimPrefix(path, agentapi.PathResource))
	got := a.try(method, path, body)
	if got.code != 200 {
		a.f.t.Fatalf("%s %s: %d %s", method, path, got.code, got.body)
	}
	return got.body
}

// try is one try of such a request; the original makes up to six, whatever the answer is.
func (a *oldAgent) try(method, path, body string) answer {
	a.f.t.Helper()
	header := map[string]string{
		agentapi.HeaderNodeName: a.node.Name, agentapi.HeaderNodeUID: string(a.node.UID), agentapi.HeaderToken: a.token,
	}
	if method == "PUT" {
		header["Content-Type"] = "application/json"
	}
	return a.r.raw(a.f.t, method, path, []byte(body), header)
}

// put writes a status with exactly the five keys of the original, and decodes the echo.
func (a *oldAgent) put(state agentapi.State, crashes uint32, failedAt *string) {
	a.f.t.Helper()
	body, err := json.Marshal(map[string]any{
		"current_version": a.running, "target_version": a.offered, "current_state": state,
		"crash_count": crashes, "state_transition_failure_timestamp": failedAt,
	})
	if err != nil {
		a.f.t.Fatal(err)
	}
	if echo := a.send("PUT", agentapi.PathResource, string(body)); !sameJSON(a.f.t, echo, string(body)) {
		a.f.t.Errorf("echo of %s: %s", body, echo)
	}
}

// restore puts the node back into service as the original does: the exclusion first, and only if it is configured.
func (a *oldAgent) restore() {
	if a.lbWait {
		a.send("POST", agentapi.PathRemoveExclusion, "")
	}
	a.send("POST", agentapi.PathUncordon, "")
}

// loop is one turn of the agent: rows 1 to 17 of what the original does.
func (a *oldAgent) loop() {
	a.f.t.Helper()
	var brs v2.BottlerocketShadow
	err := a.f.client.Get(a.f.t.Context(), client.ObjectKey{Namespace: a.f.ns, Name: v2.ShadowName(a.node.Name)}, &brs)
	switch {
	case client.IgnoreNotFound(err) != nil:
		a.f.t.Fatal(err)
	case err != nil:
		answer := a.send("POST", agentapi.PathResource, fmt.Sprintf(`{"node_selector":{"node_name":%q,"node_uid":%q}}`, a.node.Name, a.node.UID))
		var made struct {
			Metadata struct{ Name string }
			Spec     map[string]any
		}
		if err := json.Unmarshal([]byte(answer), &made); err != nil || made.Metadata.Name != v2.ShadowName(a.node.Name) || made.Spec["state"] != "Idle" {
			a.f.t.Fatalf("created %s: %v", answer, err)
		}
		return
	case brs.Status == nil:
		a.put(agentapi.Idle, 0, nil)
		return
	}
	st := brs.Status
	want, have := agentapi.State(brs.Spec.State), agentapi.State(st.CurrentState)
	switch {
	case want == have:
		if string(st.TargetVersion) != a.offered {
			a.put(have, st.CrashCount, st.StateTransitionFailureTimestamp)
		}
	case want == agentapi.StagedAndPerformedUpdate && a.fails:
		a.fails = false
		now := time.Now().UTC().Add(-time.Hour).Format(time.RFC3339Nano) // so that the pause is over
		a.put(agentapi.ErrorReset, st.CrashCount+1, &now)
	case want == agentapi.StagedAndPerformedUpdate:
		a.put(want, st.CrashCount, st.StateTransitionFailureTimestamp)
	case want == agentapi.RebootedIntoUpdate && a.running != string(*brs.Spec.Version):
		if a.lbWait {
			a.send("POST", agentapi.PathExcludeFromLB, "")
		}
		a.send("POST", agentapi.PathDrain, "") // blocks until the node is empty
		a.running = string(*brs.Spec.Version)  // the reboot
	case want == agentapi.RebootedIntoUpdate:
		a.restore()
		a.put(want, st.CrashCount, st.StateTransitionFailureTimestamp)
		a.put(want, st.CrashCount, st.StateTransitionFailureTimestamp) // its cache is stale
	case want == agentapi.MonitoringUpdate:
		a.restore()
		a.put(want, st.CrashCount, st.StateTransitionFailureTimestamp)
	case want == agentapi.Idle && have == agentapi.MonitoringUpdate:
		a.put(want, 0, nil)
	case want == agentapi.Idle && have == agentapi.ErrorReset:
		a.restore()
		a.put(want, st.CrashCount, st.StateTransitionFailureTimestamp)
	default:
		a.f.t.Fatalf("the original does not know how to get from %s to %s", have, want)
	}
}

// control takes one look with the controller's rules, and writes what they say.
func (f *fixture) control(node string) (moved bool) {
	f.t.Helper()
	return f.controlAt(node, time.Now(), plan.Timeouts{})
}

func (f *fixture) controlAt(node string, now time.Time, limits plan.Timeouts) (moved bool) {
	f.t.Helper()
	var n corev1.Node
	if err := f.client.Get(f.t.Context(), client.ObjectKey{Name: node}, &n); err != nil {
		f.t.Fatal(err)
	}
	s := plan.Snapshot{Nodes: []plan.Node{fleetview.Node(&n)}, MaxConcurrent: 1, CountUnavailable: true, Timeouts: limits}
	var brs v2.BottlerocketShadow
	switch err := f.client.Get(f.t.Context(), client.ObjectKey{Namespace: f.ns, Name: v2.ShadowName(node)}, &brs); {
	case client.IgnoreNotFound(err) != nil:
		f.t.Fatal(err)
	case err == nil:
		s.Shadows = []plan.Shadow{fleetview.Shadow(&brs)}
	}
	d := plan.Next(s, now)
	if len(d.Removals) > 0 {
		f.t.Fatalf("removed: %+v", d.Removals)
	}
	for _, m := range d.Moves {
		moved = true
		body, err := json.Marshal(map[string]any{"spec": map[string]any{"state": m.Spec.State, "state_transition_timestamp": orNull(m.Spec.Since), "version": orNull(m.Spec.Version)}})
		if err != nil {
			f.t.Fatal(err)
		}
		if err := f.client.Patch(f.t.Context(), &brs, client.RawPatch("application/merge-patch+json", body)); err != nil {
			f.t.Fatal(err)
		}
	}
	return moved
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// An agent of the original goes through whole updates with our apiserver and our controller's rules, with and without
// load balancers, and after a failed attempt; its node ends as it was before.
func TestAnAgentOfTheOriginalUpdatesItsNode(t *testing.T) {
	f := newFixture(t)
	r := f.serve()
	once := []string{"", "", "", "", "/cordon-and-drain", "/uncordon", "", "", "/uncordon", "", ""}
	for _, tc := range []struct {
		name   string
		lbWait bool
		fails  bool
		calls  []string
	}{
		{name: "plain", calls: once},
		{name: "lb", lbWait: true, calls: []string{"", "", "", "", "/exclude-from-lb", "/cordon-and-drain",
			"/remove-exclusion-from-lb", "/uncordon", "", "", "/remove-exclusion-from-lb", "/uncordon", "", ""}},
		{name: "failing", fails: true, calls: slices.Concat([]string{"", "", "", "", "/uncordon", ""}, once[3:])},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := *f
			f.t = t
			r := *r
			r.f = &f
			n := f.node(tc.name)
			n.Labels = map[string]string{v2.UpdaterInterfaceLabel: v2.UpdaterInterfaceVersion}
			if err := f.client.Update(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			before := n.DeepCopy()
			pod := f.daemonOf(n.Name)
			f.workload(n.Name)
			a := &oldAgent{f: &f, r: &r, node: n, token: f.token(pod, agentapi.Audience), lbWait: tc.lbWait, fails: tc.fails, running: "1.20.0", offered: "1.20.0"}
			a.loop() // POST
			a.loop() // the first PUT
			a.offered = "1.21.0"
			drained := false
			for range 40 {
				a.loop()
				if !drained && slices.Contains(a.calls, "/cordon-and-drain") {
					drained = true
					f.emptyAndOut(n.Name, tc.lbWait)
				}
				if !f.control(n.Name) && a.running == "1.21.0" {
					if brs := f.shadow(n.Name); brs.Status.CurrentState == v2.Idle && brs.Spec.State == v2.Idle {
						break
					}
				}
			}
			brs := f.shadow(n.Name)
			if brs.Spec.State != v2.Idle || brs.Status.CurrentState != v2.Idle || brs.Status.CurrentVersion != "1.21.0" || brs.Status.CrashCount != 0 || brs.Status.StateTransitionFailureTimestamp != nil {
				t.Errorf("spec %+v\nstatus %+v", brs.Spec, brs.Status)
			}
			if !slices.Equal(a.calls, tc.calls) {
				t.Errorf("calls %q, want %q", a.calls, tc.calls)
			}
			var after corev1.Node
			if err := f.client.Get(t.Context(), client.ObjectKeyFromObject(n), &after); err != nil {
				t.Fatal(err)
			}
			if after.Spec.Unschedulable || fmt.Sprint(after.Labels, after.Annotations) != fmt.Sprint(before.Labels, before.Annotations) {
				t.Errorf("the node was %v %v, and is %v %v, unschedulable %v", before.Labels, before.Annotations, after.Labels, after.Annotations, after.Spec.Unschedulable)
			}
		})
	}
}

// ask changes what the controller wants of a node.
func (f *fixture) ask(node string, state v2.State, version string) {
	f.t.Helper()
	s := f.shadow(node)
	s.Spec.State, s.Spec.Version = state, (*v2.Version)(orNull(version))
	if err := f.client.Update(f.t.Context(), s); err != nil {
		f.t.Fatal(err)
	}
}

// A drain for an agent of the original that takes too long. The agent waits without a limit and tries six times. Each try
// ends at our limit, with what blocks; the controller calls the update off, which ends the try that runs then and all
// later ones at once; the agent reports its failure and puts the node back into service.
func TestADrainOfAnOldAgentHasAnEnd(t *testing.T) {
	const limit = 2 * time.Second
	f := newFixture(t)
	r := f.serve(func(c *Config) { c.DrainDeadline = limit })
	n := f.node("n")
	n.Labels = map[string]string{v2.UpdaterInterfaceLabel: v2.UpdaterInterfaceVersion}
	if err := f.client.Update(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	a := &oldAgent{f: f, r: r, node: n, token: f.token(f.daemonOf(n.Name), agentapi.Audience), running: "1.20.0", offered: "1.20.0"}
	f.pod(f.ns, "stays", n.Name, "default", nil) // no kubelet runs: it never leaves
	a.loop()                                     // POST
	a.loop()                                     // the first PUT
	a.offered = "1.21.0"
	for f.shadow(n.Name).Spec.State != v2.RebootedIntoUpdate {
		a.loop()
		f.control(n.Name)
	}

	begun := time.Now()
	first := a.try("POST", agentapi.PathDrain, "")
	if took := time.Since(begun); first.code != 504 || !strings.Contains(first.body, f.ns+"/stays") || took < limit || took > limit+10*time.Second {
		t.Fatalf("the first try: %d %q after %v, want 504 with what blocks after %v", first.code, first.body, took, limit)
	}
	second := make(chan answer, 1)
	go func() {
		defer close(second)
		second <- a.try("POST", agentapi.PathDrain, "")
	}()
	f.eventually("the second try is at work", func() bool {
		return strings.Contains(r.scrape(t), "drydock_apiserver_drains_running 1\n")
	})
	hour := time.Now().Add(time.Hour)
	if !f.controlAt(n.Name, hour, plan.Timeouts{Rebooted: 30 * time.Minute}) || f.shadow(n.Name).Spec.State != v2.Idle {
		t.Fatal("the controller does not call the update off")
	}
	tries := []answer{<-second}
	begun = time.Now()
	for len(tries) < 5 {
		tries = append(tries, a.try("POST", agentapi.PathDrain, ""))
	}
	if took := time.Since(begun); took > limit {
		t.Errorf("four tries after the end took %v", took)
	}
	for i, got := range tries {
		if got.code != 503 || !strings.Contains(got.body, "called off") {
			t.Errorf("try %d: %d %q, want 503", i+2, got.code, got.body)
		}
	}

	now := time.Now().UTC().Format(time.RFC3339Nano)
	a.put(agentapi.ErrorReset, 1, &now)
	for range 3 {
		a.loop()
		f.control(n.Name)
	}
	brs := f.shadow(n.Name)
	if brs.Spec.State != v2.Idle || brs.Status.CurrentState != v2.Idle || brs.Status.CrashCount != 1 {
		t.Errorf("in the end: spec %+v, status %+v", brs.Spec, brs.Status)
	}
	var after corev1.Node
	if err := f.client.Get(t.Context(), client.ObjectKeyFromObject(n), &after); err != nil {
		t.Fatal(err)
	}
	if after.Spec.Unschedulable || len(after.Annotations) != len(n.Annotations) {
		t.Errorf("the node is unschedulable %v, with %v", after.Spec.Unschedulable, after.Annotations)
	}
}

// A drain that runs when the shadow is deleted ends, and leaves no cordon.
func TestADrainEndsWithItsShadow(t *testing.T) {
	f := newFixture(t)
	r := f.serve()
	n := f.node("n")
	c := r.connect(n.Name, f.token(f.daemonOf(n.Name), agentapi.Audience))
	if err := c.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.eventually("the shadow is in the cache", func() bool { return r.server.cluster.hasShadow(t.Context(), n.Name) })
	f.pod(f.ns, "stays", n.Name, "default", nil)
	drained := make(chan error, 1)
	go func() { drained <- c.CordonAndDrain(t.Context()) }()
	schedulable := func(want bool) func() bool {
		return func() bool {
			var now corev1.Node
			return f.client.Get(t.Context(), client.ObjectKeyFromObject(n), &now) == nil && now.Spec.Unschedulable != want
		}
	}
	f.eventually("the node is cordoned", schedulable(false))
	if err := f.client.Delete(t.Context(), f.shadow(n.Name)); err != nil {
		t.Fatal(err)
	}
	if err := <-drained; code(err) != 503 {
		t.Errorf("the drain ended with %v", err)
	}
	f.eventually("the cordon is lifted", schedulable(true))
}

// daemonOf is the agent's pod as its DaemonSet makes it: no drain evicts it.
func (f *fixture) daemonOf(node string) *corev1.Pod {
	f.t.Helper()
	yes := true
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "agent-" + node, Labels: map[string]string{v2.ComponentLabel: "agent"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "DaemonSet", Name: "brupop-agent", UID: "u", Controller: &yes}}},
		Spec: corev1.PodSpec{NodeName: node, ServiceAccountName: agentapi.AgentServiceAccount, Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
	f.create(p)
	return p
}

// workload is a pod that has to leave, and does at once, because nobody runs it.
func (f *fixture) workload(node string) {
	f.t.Helper()
	f.create(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "work-" + node},
		Spec:       corev1.PodSpec{NodeName: node, TerminationGracePeriodSeconds: new(int64), Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	})
}

// emptyAndOut checks a node whose drain was answered with success.
func (f *fixture) emptyAndOut(node string, excluded bool) {
	f.t.Helper()
	var pods corev1.PodList
	if err := f.client.List(f.t.Context(), &pods, client.InNamespace(f.ns)); err != nil {
		f.t.Fatal(err)
	}
	for _, p := range pods.Items {
		if p.Spec.NodeName == node && len(p.OwnerReferences) == 0 {
			f.t.Errorf("pod %s is still there after the drain", p.Name)
		}
	}
	var n corev1.Node
	if err := f.client.Get(f.t.Context(), client.ObjectKey{Name: node}, &n); err != nil {
		f.t.Fatal(err)
	}
	if !n.Spec.Unschedulable || (n.Labels[v2.ExcludeFromLBLabel] == "True") != excluded {
		f.t.Errorf("after the drain: unschedulable %v, labels %v", n.Spec.Unschedulable, n.Labels)
	}
}

// Agents of other versions: a key that we do not know is no reason to refuse, and one that may be absent is cleared.
func TestAgentsOfOtherVersions(t *testing.T) {
	f := newFixture(t)
	n := f.node("n")
	r := f.serve()
	header := map[string]string{agentapi.HeaderNodeName: n.Name, agentapi.HeaderToken: f.token(f.agent(n.Name), agentapi.Audience), "Content-Type": "application/json; charset=utf-8"}
	if got := r.raw(t, "POST", agentapi.PathResource, nil, header); got.code != 200 {
		t.Fatalf("create: %+v", got)
	}
	base := `"current_version":"1.20.0","target_version":"1.21.0","current_state":"ErrorReset","crash_count":3`
	for _, tc := range []struct {
		name, body string
		want       int
		failedAt   string
	}{
		{"as of the original", `{` + base + `,"state_transition_failure_timestamp":"2026-01-02T03:04:05.123456789Z"}`, 200, "2026-01-02T03:04:05.123456789Z"},
		{"keys of a later version", `{` + base + `,"state_transition_failure_timestamp":"2026-01-02T03:04:05Z","battery":{"level":[1]},"mood":null}`, 200, "2026-01-02T03:04:05Z"},
		{"without the time of a failure", `{` + base + `}`, 200, ""},
		{"without the count", `{"current_version":"1.20.0","target_version":"1.21.0","current_state":"Idle"}`, 400, ""},
		{"null for what must be", `{"current_version":null,"target_version":"1.21.0","current_state":"Idle","crash_count":0}`, 400, ""},
		{"a count below zero", strings.Replace(`{`+base+`}`, ":3", ":-1", 1), 400, ""},
		{"a count that is too large", strings.Replace(`{`+base+`}`, ":3", ":4294967296", 1), 400, ""},
		{"the largest count", strings.Replace(`{`+base+`}`, ":3", ":4294967295", 1), 200, ""},
		{"a known key of another type", `{` + base + `,"message":{}}`, 400, ""},
	} {
		before := f.shadow(n.Name)
		got := r.raw(t, "PUT", agentapi.PathResource, []byte(tc.body), header)
		if got.code != tc.want {
			t.Errorf("%s: %d %s, want %d", tc.name, got.code, got.body, tc.want)
		}
		now := f.shadow(n.Name)
		if tc.want != 200 {
			if now.ResourceVersion != before.ResourceVersion {
				t.Errorf("%s: refused, and written", tc.name)
			}
			continue
		}
		if at := fleetview.Text(now.Status.StateTransitionFailureTimestamp); at != tc.failedAt {
			t.Errorf("%s: failure at %q, want %q", tc.name, at, tc.failedAt)
		}
	}
}
