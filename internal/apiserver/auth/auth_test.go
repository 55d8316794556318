// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package auth

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/agentapi"
)

// reviews is a Kubernetes API server that knows one good token. What real ones say to real tokens is tested
// in package apiserver; here it is about what is asked again and when.
type reviews struct {
	count  atomic.Int64
	takes  time.Duration
	err    error
	change func(*authenticationv1.TokenReviewStatus)
}

func (r *reviews) Create(ctx context.Context, tr *authenticationv1.TokenReview, _ metav1.CreateOptions) (*authenticationv1.TokenReview, error) {
	r.count.Add(1)
	if err := agentapi.Wait(ctx, r.takes); err != nil {
		return nil, err
	}
	if r.err != nil {
		return nil, r.err
	}
	if tr.Spec.Token == "good" {
		tr.Status = authenticationv1.TokenReviewStatus{
			Authenticated: true, Audiences: tr.Spec.Audiences,
			User: authenticationv1.UserInfo{
				Username: "system:serviceaccount:ns:" + agentapi.AgentServiceAccount,
				Extra: map[string]authenticationv1.ExtraValue{
					extraPodName: {"p"}, extraPodUID: {"u"}, extraNodeName: {"n"}, extraNodeUID: {"nu"},
				},
			},
		}
		if r.change != nil {
			r.change(&tr.Status)
		}
	}
	return tr, nil
}

// kube knows one agent pod; lagging means that the watch has not told about it yet.
type kube struct {
	mu      sync.Mutex
	pod     *corev1.Pod
	lagging bool
	nodeUID string
}

func (k *kube) set(change func(*kube)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(k)
}

func (k *kube) LivePod(_ context.Context, name string) (*corev1.Pod, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pod == nil || k.pod.Name != name {
		return nil, nil
	}
	return k.pod, nil
}

func (k *kube) CachedPod(ctx context.Context, name string) (*corev1.Pod, error) {
	k.mu.Lock()
	lagging := k.lagging
	k.mu.Unlock()
	if lagging {
		return nil, nil
	}
	return k.LivePod(ctx, name)
}

func (k *kube) NodeUID(context.Context, string) (string, error) {
	if k.nodeUID == "" {
		return "", errors.New("no answer")
	}
	return k.nodeUID, nil
}

func agentPod(uid string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", UID: types.UID(uid), Labels: map[string]string{v2.ComponentLabel: AgentComponent}},
		Spec:       corev1.PodSpec{NodeName: "n"},
	}
}

func setup(t *testing.T) (*Authenticator, *reviews, *kube) {
	t.Helper()
	r, k := &reviews{}, &kube{pod: agentPod("u"), nodeUID: "nu"}
	a, err := New(Config{Reviews: r, Kube: k, Namespace: "ns"})
	if err != nil {
		t.Fatal(err)
	}
	return a, r, k
}

func code(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if err != nil {
		return -1
	}
	return 200
}

var good = Request{NodeName: "n", Token: "good"}

func TestD9AGoodTokenIsReviewedOncePerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, r, _ := setup(t)
		for range 5 {
			if _, err := a.Authenticate(t.Context(), good); err != nil {
				t.Fatal(err)
			}
		}
		if r.count.Load() != 1 {
			t.Errorf("%d reviews", r.count.Load())
		}
		time.Sleep(positiveTTL)
		if _, err := a.Authenticate(t.Context(), good); err != nil || r.count.Load() != 2 {
			t.Errorf("%d reviews after the time is over, %v", r.count.Load(), err)
		}
	})
}

func TestRefusalsAreNotRemembered(t *testing.T) {
	a, r, _ := setup(t)
	for range 3 {
		if _, err := a.Authenticate(t.Context(), Request{NodeName: "n", Token: "bad"}); code(err) != 401 {
			t.Errorf("got %v", err)
		}
	}
	r.err = errors.New("connection refused")
	if _, err := a.Authenticate(t.Context(), good); code(err) != 503 {
		t.Errorf("without a review: %v", err)
	}
	r.err = nil
	if _, err := a.Authenticate(t.Context(), good); err != nil || r.count.Load() != 5 {
		t.Errorf("%d reviews, %v", r.count.Load(), err)
	}
}

func TestRequestsAtOnceShareAReview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, r, _ := setup(t)
		r.takes = time.Second
		first, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				ctx := t.Context()
				if i == 0 {
					ctx = first
				}
				if _, err := a.Authenticate(ctx, good); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		cancel() // whoever began the review may leave
		wg.Wait()
		if r.count.Load() != 1 {
			t.Errorf("%d reviews", r.count.Load())
		}
	})
}

func TestThePodEndsACachedToken(t *testing.T) {
	a, _, k := setup(t)
	if _, err := a.Authenticate(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	now := metav1.Now()
	terminating := agentPod("u")
	terminating.DeletionTimestamp = &now
	for name, pod := range map[string]*corev1.Pod{"gone": nil, "successor": agentPod("v"), "being deleted": terminating} {
		k.set(func(k *kube) { k.pod = pod })
		if _, err := a.Authenticate(t.Context(), good); code(err) != 403 {
			t.Errorf("%s: %v", name, err)
		}
		if a.StillThere(t.Context(), Identity{PodName: "p", PodUID: "u"}) {
			t.Errorf("%s: its stream goes on", name)
		}
		k.set(func(k *kube) { k.pod = agentPod("u") })
		if _, err := a.Authenticate(t.Context(), good); err != nil {
			t.Errorf("%s: %v afterwards", name, err)
		}
	}
}

func TestAPodThatJustStartedIsFound(t *testing.T) {
	a, _, k := setup(t)
	k.lagging = true
	id, err := a.Authenticate(t.Context(), good)
	if want := (Identity{"n", "nu", "p", "u"}); err != nil || id != want {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestClaimsMustAgree(t *testing.T) {
	extra := func(key string, values ...string) func(*authenticationv1.TokenReviewStatus) {
		return func(s *authenticationv1.TokenReviewStatus) { s.User.Extra[key] = values }
	}
	for _, tc := range []struct {
		name   string
		change func(*authenticationv1.TokenReviewStatus)
		r      Request
		want   int
	}{
		{"no audience confirmed", func(s *authenticationv1.TokenReviewStatus) { s.Audiences = nil }, good, 403},
		{"not authenticated", func(s *authenticationv1.TokenReviewStatus) { s.Authenticated = false }, good, 401},
		{"another user", func(s *authenticationv1.TokenReviewStatus) { s.User.Username += "x" }, good, 403},
		{"bound to no pod", extra(extraPodName), good, 403},
		{"bound to two pods", extra(extraPodName, "p", "q"), good, 403},
		{"no pod UID", extra(extraPodUID), good, 403},
		{"another node in the token", extra(extraNodeName, "m"), good, 403},
		{"an older Kubernetes without node claims", func(s *authenticationv1.TokenReviewStatus) {
			delete(s.User.Extra, extraNodeName)
			delete(s.User.Extra, extraNodeUID)
		}, good, 200},
		{"the same, UID looked up", extra(extraNodeUID), Request{NodeName: "n", NodeUID: "nu", Token: "good"}, 200},
		{"the same, wrong UID", extra(extraNodeUID), Request{NodeName: "n", NodeUID: "x", Token: "good"}, 403},
		{"wrong UID", nil, Request{NodeName: "n", NodeUID: "x", Token: "good"}, 403},
		{"no node", nil, Request{Token: "good"}, 400},
		{"no token", nil, Request{NodeName: "n"}, 401},
		{"a huge token", nil, Request{NodeName: "n", Token: string(make([]byte, maxToken+1))}, 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, r, _ := setup(t)
			r.change = tc.change
			if _, err := a.Authenticate(t.Context(), tc.r); code(err) != tc.want {
				t.Errorf("got %v, want %d", err, tc.want)
			}
		})
	}
}
