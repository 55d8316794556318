// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package drain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// darkServer is an API server whose watch of pods begins with those that there are, and shows nothing after that.
type darkServer struct {
	t *testing.T

	mu    sync.Mutex
	pods  []corev1.Pod
	lists int
	// evict is called for each eviction of a pod, and returns whether it goes at once.
	evict func(name string) bool
	// deleted are pods that the watch shows going all the same; nil for none.
	deleted chan corev1.Pod
	// answers is called for each eviction, after the pod has gone, and decides on the answer in place of evict.
	answers func(ctx context.Context, name string) error
}

func (s *darkServer) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.answers != nil && strings.HasSuffix(r.URL.Path, "/eviction") {
		name := strings.Split(r.URL.Path, "/")[6]
		s.mu.Lock()
		s.gone(name)
		s.mu.Unlock()
		if err := s.answers(r.Context(), name); err != nil {
			return nil, err
		}
		return s.answer(http.StatusCreated, metav1.Status{Status: metav1.StatusSuccess}), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case strings.HasSuffix(r.URL.Path, "/eviction"):
		parts := strings.Split(r.URL.Path, "/")
		if name := parts[len(parts)-2]; s.evict(name) {
			s.gone(name)
		}
		return s.answer(http.StatusCreated, metav1.Status{Status: metav1.StatusSuccess}), nil
	case r.URL.Query().Has("watch"):
		body, watch := io.Pipe()
		if s.deleted == nil {
			s.deleted = make(chan corev1.Pod)
			close(s.deleted)
		}
		go s.show(watch, s.pods)
		return &http.Response{StatusCode: http.StatusOK, Header: jsonHeader(), Body: body, Request: r}, nil
	case strings.HasSuffix(r.URL.Path, "/pods"):
		s.lists++
		return s.answer(http.StatusOK, corev1.PodList{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, ListMeta: metav1.ListMeta{ResourceVersion: "9"}, Items: s.pods,
		}), nil
	}
	s.t.Errorf("unexpected request %s %s", r.Method, r.URL)
	return s.answer(http.StatusNotFound, metav1.Status{}), nil
}

// show writes the pods and the end of the beginning.
func (s *darkServer) show(w io.Writer, pods []corev1.Pod) {
	e := json.NewEncoder(w)
	line := func(kind string, o corev1.Pod) error { return e.Encode(map[string]any{"type": kind, "object": o}) }
	for _, p := range pods {
		if line("ADDED", p) != nil {
			return // the reader is gone
		}
	}
	_ = line("BOOKMARK", corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{ResourceVersion: "5", Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"}},
	})
	for p := range s.deleted {
		p.ResourceVersion = "6"
		_ = line("DELETED", p)
	}
}

func (s *darkServer) gone(name string) {
	var left []corev1.Pod
	for _, p := range s.pods {
		if p.Name != name {
			left = append(left, p)
		}
	}
	s.pods = left
}

func (s *darkServer) answer(code int, o any) *http.Response {
	body, err := json.Marshal(o)
	if err != nil {
		s.t.Error(err)
	}
	return &http.Response{StatusCode: code, Header: jsonHeader(), Body: io.NopCloser(bytes.NewReader(body))}
}

func jsonHeader() http.Header { return http.Header{"Content-Type": []string{"application/json"}} }

func (s *darkServer) drainer() *Drainer {
	s.t.Helper()
	kube, err := kubernetes.NewForConfig(&rest.Config{Host: "http://server", Transport: s, QPS: -1})
	if err != nil {
		s.t.Fatal(err)
	}
	d, err := New(Config{Client: kube})
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func podOn(node, name string) corev1.Pod {
	return corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("uid-of-" + name), ResourceVersion: "4"},
		Spec:       corev1.PodSpec{NodeName: node},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
}

// TestADarkWatchHoldsUpNoDrain: pods go, and the watch does not say so. Nor is the list asked all the time.
func TestADarkWatchHoldsUpNoDrain(t *testing.T) {
	for name, tc := range map[string]struct {
		goes    func(s *darkServer) func(string) bool
		within  time.Duration
		atLeast time.Duration
		lists   int
	}{
		"at once": {
			goes:   func(*darkServer) func(string) bool { return func(string) bool { return true } },
			within: silence + time.Second, lists: 2,
		},
		"one after two minutes": {
			goes: func(s *darkServer) func(string) bool {
				return func(name string) bool {
					if name == "a" {
						time.AfterFunc(2*time.Minute, func() { s.mu.Lock(); defer s.mu.Unlock(); s.gone("a") })
						return false
					}
					return true
				}
			},
			within: 2*time.Minute + silence + time.Second, atLeast: 2 * time.Minute, lists: 6,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &darkServer{t: t, pods: []corev1.Pod{podOn("n", "a"), podOn("n", "b")}}
				s.evict = tc.goes(s)
				began := time.Now()
				err := s.drainer().Drain(t.Context(), "n", Observer{})
				took := time.Since(began)
				if err != nil || took > tc.within || took < tc.atLeast {
					t.Errorf("drained after %v: %v, want between %v and %v", took, err, tc.atLeast, tc.within)
				}
				if s.lists > tc.lists {
					t.Errorf("%d lists, want %d at most", s.lists, tc.lists)
				}
			})
		})
	}
}

// TestAnAnswerThatNeverComesHoldsUpNothing: the server that evicted a pod died before it said so. The pod is gone.
func TestAnAnswerThatNeverComesHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &darkServer{t: t, pods: []corev1.Pod{podOn("n", "a")}, deleted: make(chan corev1.Pod)}
		defer close(s.deleted)
		s.answers = func(ctx context.Context, name string) error {
			s.deleted <- podOn("n", name)
			<-ctx.Done()
			return ctx.Err()
		}
		began := time.Now()
		var last Progress
		err := s.drainer().Drain(t.Context(), "n", Observer{Progress: func(p Progress) { last = p }})
		if took := time.Since(began); err != nil || took > time.Second || last.Evicted != 1 {
			t.Errorf("drained after %v: %v, %+v, want at once", took, err, last)
		}
	})
}

// TestAnEvictionThatHasBegunIsFinished: a replica that stops would else leave budgets used up for nothing. Nobody has to
// take the answer.
func TestAnEvictionThatHasBegunIsFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &darkServer{t: t, pods: []corev1.Pod{podOn("n", "a")}}
		ctx, stop := context.WithCancel(t.Context())
		asked := 0
		s.answers = func(ctx context.Context, _ string) error {
			asked++
			stop()
			time.Sleep(evictTimeout / 2)
			if err := ctx.Err(); err != nil {
				t.Errorf("the request was cut with the drain: %v", err)
			}
			return nil
		}
		if err := s.drainer().Drain(ctx, "n", Observer{}); !errors.Is(err, context.Canceled) || asked != 1 {
			t.Errorf("%d evictions, %v", asked, err)
		}
	})
}

// TestAPodThatADarkWatchDoesNotShowIsNotForgotten: it came after the watch had gone dark. The drain is not done, and does
// not ask four times a second.
func TestAPodThatADarkWatchDoesNotShowIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &darkServer{t: t, pods: []corev1.Pod{podOn("n", "a")}}
		s.evict = func(string) bool {
			s.pods = append(s.pods, podOn("n", "late"))
			return true
		}
		err := s.drainer().Drain(t.Context(), "n", Observer{})
		if err == nil || len(s.pods) != 1 {
			t.Fatalf("drained with %d pods left: %v", len(s.pods), err)
		}
		if most := int(DefaultDeadline/maxRecheck) + 10; s.lists > most {
			t.Errorf("%d lists within %v, want %d at most", s.lists, DefaultDeadline, most)
		}
	})
}
