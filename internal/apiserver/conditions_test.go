// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/agentapi"
)

func TestConditionsFollowTheReports(t *testing.T) {
	var now []metav1.Condition
	for _, tc := range []struct {
		name   string
		status agentapi.Status
		kind   string
		want   metav1.ConditionStatus
		reason string
		says   string
	}{
		{"up to date", agentapi.Status{CurrentState: agentapi.Idle, CurrentVersion: "1.0.0", TargetVersion: "1.0.0", Message: "1.1.0 is there, but held back"}, v2.ConditionUpdated, "True", "UpToDate", "held back"},
		{"its wave", agentapi.Status{CurrentState: agentapi.Idle, HeldUpdate: agentapi.Held{Version: "1.1.0", Reason: "wave"}, Message: "waits for its wave"}, v2.ConditionUpdated, "True", "WaveNotReached", "waits for its wave"},
		{"its lock", agentapi.Status{CurrentState: agentapi.Idle, HeldUpdate: agentapi.Held{Version: "1.1.0", Reason: "lock"}}, v2.ConditionUpdated, "True", "VersionLocked", ""},
		{"it fell back", agentapi.Status{CurrentState: agentapi.Idle, HeldUpdate: agentapi.Held{Version: "1.1.0", Reason: "blocked"}}, v2.ConditionUpdated, "True", "VersionBlocked", ""},
		{"the last check is told", agentapi.Status{CurrentState: agentapi.Idle, UpdateCheck: agentapi.Check{LastSuccess: "2026-01-01T00:00:00Z"}}, v2.ConditionUpdateCheck, "True", "CheckSucceeded", "2026-01-01T00:00:00Z or later"},
		{"the check works", agentapi.Status{CurrentState: agentapi.Idle}, v2.ConditionUpdateCheck, "True", "CheckSucceeded", ""},
		{"D36: the check fails", agentapi.Status{CurrentState: agentapi.Idle, UpdateCheck: agentapi.Check{Error: "no route to host", LastSuccess: "2026-01-01T00:00:00Z"}}, v2.ConditionUpdateCheck, "False", "CheckFailed", "no route to host; last success at 2026-01-01T00:00:00Z"},
		{"so nobody knows", agentapi.Status{CurrentState: agentapi.Idle, UpdateCheck: agentapi.Check{Error: "no route to host"}}, v2.ConditionUpdated, "Unknown", "CheckFailed", ""},
		{"offered", agentapi.Status{CurrentState: agentapi.Idle, CurrentVersion: "1.0.0", TargetVersion: "1.1.0"}, v2.ConditionUpdated, "False", "UpdateAvailable", "1.1.0 is available"},
		{"on the way", agentapi.Status{CurrentState: agentapi.StagedAndPerformedUpdate}, v2.ConditionUpdated, "False", "Updating", ""},
		{"failed", agentapi.Status{CurrentState: agentapi.ErrorReset, LastError: "e"}, v2.ConditionUpdated, "False", "AttemptFailed", "e"},
	} {
		now = conditionsOf(now, tc.status)
		c := meta.FindStatusCondition(now, tc.kind)
		if c == nil || c.Status != tc.want || c.Reason != tc.reason || !strings.Contains(c.Message, tc.says) {
			t.Errorf("%s: %+v", tc.name, c)
		}
	}
}

// D16, D18: who waits for a drain sees which pod and which budget hold it up.
func TestD18ALongDrainShowsInTheStatus(t *testing.T) {
	f := newFixture(t)
	n := f.node("n")
	r := f.serve(func(c *Config) {
		c.drainPauseMin, c.drainPauseMax, c.drainReport = 10*time.Millisecond, 50*time.Millisecond, 100*time.Millisecond
	})
	pod := f.agent(n.Name)
	daemon := true
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "DaemonSet", Name: "d", UID: "d", Controller: &daemon}}
	if err := f.client.Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	web := f.pod(f.ns, "web", n.Name, "", map[string]string{"app": "web"})
	web.Status.Phase = corev1.PodRunning
	web.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	if err := f.client.Status().Update(t.Context(), web); err != nil {
		t.Fatal(err)
	}
	pdb := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: f.ns},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: new(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
		},
	}
	f.create(pdb)
	pdb.Status = policyv1.PodDisruptionBudgetStatus{ObservedGeneration: pdb.Generation, CurrentHealthy: 1, DesiredHealthy: 1, ExpectedPods: 1}
	if err := f.client.Status().Update(t.Context(), pdb); err != nil {
		t.Fatal(err)
	}
	c := r.connect(n.Name, f.token(pod, agentapi.Audience))
	if err := c.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	put := func(state agentapi.State) {
		t.Helper()
		if _, err := c.PutStatus(t.Context(), agentapi.Status{CurrentVersion: "1.0.0", TargetVersion: "1.1.0", CurrentState: state}); err != nil {
			t.Fatal(err)
		}
	}
	put(agentapi.StagedAndPerformedUpdate)
	f.ask(n.Name, v2.RebootedIntoUpdate, "1.1.0")
	done := make(chan error, 1)
	go func() { done <- c.CordonAndDrain(t.Context()) }()
	f.eventually("the status names pod and budget", func() bool {
		s := f.shadow(n.Name).Status
		return s.Drain != nil && s.Drain.PodsLeft == 1 && s.Drain.BlockingPod == f.ns+"/web" && s.Drain.BlockingPDB == "web" &&
			meta.IsStatusConditionTrue(s.Conditions, v2.ConditionDraining)
	})
	if got := r.scrape(t); !strings.Contains(got, "drydock_apiserver_drains_blocked 1\n") {
		t.Errorf("no blocked drain in the metrics:\n%s", got)
	}
	put(agentapi.StagedAndPerformedUpdate) // a message of the agent in between changes nothing
	if s := f.shadow(n.Name).Status; s.Drain == nil || !meta.IsStatusConditionTrue(s.Conditions, v2.ConditionDraining) {
		t.Errorf("the agent's report removed the progress: %+v", s)
	}
	f.kill(web)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := r.scrape(t); !strings.Contains(got, "drydock_apiserver_drains_blocked 0\n") {
		t.Errorf("a drain that is over still counts as blocked:\n%s", got)
	}
	put(agentapi.RebootedIntoUpdate)
	if s := f.shadow(n.Name).Status; s.Drain != nil || meta.IsStatusConditionTrue(s.Conditions, v2.ConditionDraining) {
		t.Errorf("still draining: %+v", s)
	}
}
