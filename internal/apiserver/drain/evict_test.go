// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package drain

import (
	"errors"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestD17WhichPodsMustLeave(t *testing.T) {
	owned := func(apiVersion, kind string, controller bool) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{
			{APIVersion: apiVersion, Kind: kind, Name: "o", Controller: &controller},
		}}}
	}
	for _, tc := range []struct {
		name string
		pod  *corev1.Pod
		want bool
	}{
		{"a bare pod", &corev1.Pod{}, true},
		{"a pod of a ReplicaSet", owned("apps/v1", "ReplicaSet", true), true},
		{"a pod of a DaemonSet", owned("apps/v1", "DaemonSet", true), false},
		{"a DaemonSet that does not control it", owned("apps/v1", "DaemonSet", false), true},
		{"somebody's own kind of DaemonSet", owned("example.com/v1", "DaemonSet", true), true},
		{"a mirror pod", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{corev1.MirrorPodAnnotationKey: "x"}}}, false},
		{"a finished pod", &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodSucceeded}}, false},
		{"a failed pod", &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodFailed}}, false},
		{"a pending pod", &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodPending}}, true},
	} {
		if got := mustLeave(tc.pod); got != tc.want {
			t.Errorf("%s: must leave %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestAnswersToEvictions(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	budget := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 0)
	budget.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: policyv1.DisruptionBudgetCause, Message: "The disruption budget web needs 2 healthy pods and has 2 currently"}}
	terminating := apierrors.NewForbidden(pods, "p", errors.New("namespace is being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	for _, tc := range []struct {
		name string
		err  error
		want verdict
	}{
		{"accepted", nil, verdict{outcome: leaving}},
		{"no such pod", apierrors.NewNotFound(pods, "p"), verdict{outcome: gone}},
		{"another pod of that name", apierrors.NewConflict(pods, "p", errors.New("the UID differs")), verdict{outcome: gone}},
		{"its namespace goes", terminating, verdict{outcome: leaving, reason: "its namespace is being deleted"}},
		{"a budget", budget, verdict{outcome: blocked, reason: "The disruption budget web needs 2 healthy pods and has 2 currently", budget: "web"}},
		{"overload", apierrors.NewTooManyRequests("slow down", 3), verdict{outcome: blocked, reason: "slow down (429)", after: 3 * time.Second}},
		{"overload for long", apierrors.NewTooManyRequests("slow down", 300), verdict{outcome: blocked, reason: "slow down (429)", after: retryAfterMax}},
		{"server error", apierrors.NewInternalError(errors.New("two budgets")), verdict{outcome: blocked, reason: "Internal error occurred: two budgets (500)"}},
		{"no connection", errors.New("connection refused"), verdict{outcome: blocked, reason: "connection refused"}},
		{"no right to evict", apierrors.NewForbidden(pods, "p", errors.New("no")), verdict{outcome: refused, reason: `pods "p" is forbidden: no (403)`}},
		{"nonsense", apierrors.NewBadRequest("what"), verdict{outcome: refused, reason: "what (400)"}},
		{"webhook", &apierrors.StatusError{ErrStatus: metav1.Status{Code: http.StatusTeapot, Message: "m"}}, verdict{outcome: refused, reason: "m (418)"}},
	} {
		if got := judge(tc.err); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

func TestPausesGrow(t *testing.T) {
	c := &Config{PauseMin: pauseMin, PauseMax: pauseMax}
	middle := func() float64 { return 0.5 }
	for refusals, want := range map[int]time.Duration{1: 250 * time.Millisecond, 2: 500 * time.Millisecond, 5: 4 * time.Second, 6: 5 * time.Second, 1000: 5 * time.Second} {
		if got := c.pause(verdict{}, refusals, middle); got != want {
			t.Errorf("after %d refusals: %v, want %v", refusals, got, want)
		}
	}
	if got := c.pause(verdict{after: 7 * time.Second}, 1, middle); got != 7*time.Second {
		t.Errorf("the server's wish was ignored: %v", got)
	}
}
