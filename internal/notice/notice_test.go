// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package notice

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

var subject = Subject{Node: "n1", NodeUID: "node-uid", Namespace: "ns", ShadowUID: "shadow-uid"}

// server is an events API that refuses what it has, and fails when asked to.
type server struct {
	mu      sync.Mutex
	stored  map[string]*eventsv1.Event
	fail    func(verb string) error // before the request is carried out
	lost    func(verb string) error // after it was
	creates int
}

func (s *server) Create(_ context.Context, e *eventsv1.Event, _ metav1.CreateOptions) (*eventsv1.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.creates++
	if s.fail != nil {
		if err := s.fail("create"); err != nil {
			return nil, err
		}
	}
	if s.stored[e.Name] != nil {
		return nil, apierrors.NewAlreadyExists(schema.GroupResource{Resource: "events"}, e.Name)
	}
	s.stored[e.Name] = e.DeepCopy()
	if s.lost != nil {
		if err := s.lost("create"); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (s *server) Patch(context.Context, string, types.PatchType, []byte, metav1.PatchOptions, ...string) (*eventsv1.Event, error) {
	return nil, errors.New("not expected here: the tests against a real server count")
}

func newServer() *server { return &server{stored: map[string]*eventsv1.Event{}} }

func (s *server) writer(t *testing.T) *Writer {
	t.Helper()
	w, err := NewWriter(Config{Events: func(string) Sink { return s }, Reporter: "tester", Instance: "tester-1"})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestANoticeIsToldAtBothObjectsAndNamesTheOther(t *testing.T) {
	n := Notice{Subject: subject, Warning: true, Reason: "R", Action: "A", Note: "text"}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	events := n.events("tester", "tester-1", at)
	if len(events) != 2 {
		t.Fatalf("%d events", len(events))
	}
	for i, want := range []struct{ namespace, kind, name, uid, related string }{
		{"default", "Node", "n1", "node-uid", "brs-n1"},
		{"ns", "BottlerocketShadow", "brs-n1", "shadow-uid", "n1"},
	} {
		e := events[i]
		if e.Namespace != want.namespace || e.Regarding.Kind != want.kind || e.Regarding.Name != want.name ||
			string(e.Regarding.UID) != want.uid || e.Related.Name != want.related || e.Type != corev1.EventTypeWarning || e.Note != "text" {
			t.Errorf("event %d is %+v, want %+v", i, e, want)
		}
	}
	n.ShadowUID = ""
	if events := n.events("tester", "tester-1", at); len(events) != 1 || events[0].Regarding.Kind != "Node" || events[0].Related != nil {
		t.Errorf("without a shadow: %+v", events)
	}
}

func TestWhatMakesTwoEventsTheSame(t *testing.T) {
	base := Notice{Subject: subject, Reason: "R", Action: "A", Note: "text", Same: "1"}
	nameOf := func(n Notice, instance string, at time.Time) string {
		return n.events("tester", instance, at)[0].Name
	}
	first := nameOf(base, "one", time.Unix(1, 0))
	other := base
	other.Note = "in other words"
	if nameOf(other, "two", time.Unix(2, 0)) != first {
		t.Error("another replica, at another time and in other words, makes it another event")
	}
	for what, change := range map[string]func(*Notice){
		"node": func(n *Notice) { n.NodeUID = "later" }, "reason": func(n *Notice) { n.Reason = "S" },
		"type": func(n *Notice) { n.Warning = true }, "what it is about": func(n *Notice) { n.Same = "2" },
	} {
		n := base
		change(&n)
		if nameOf(n, "one", time.Unix(1, 0)) == first {
			t.Errorf("another %s is the same event", what)
		}
	}
	if events := base.events("tester", "one", time.Unix(1, 0)); events[0].Name == events[1].Name {
		t.Error("the events at node and shadow have one name")
	}
}

func TestLongTextsAreCutAtACharacter(t *testing.T) {
	for _, text := range []string{strings.Repeat("ü", 5000), "x" + strings.Repeat("ü", 5000), strings.Repeat("日本", 400), "\xff" + strings.Repeat("a", 2000)} {
		got := clip(text)
		if len(got) > maxNote || len(got) < maxNote-8 || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
			t.Errorf("%d bytes, valid %t: …%q", len(got), utf8.ValidString(got), got[len(got)-8:])
		}
	}
	for _, text := range []string{"", "short", strings.Repeat("ü", maxNote/2)} {
		if got := clip(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestLongNamesFit(t *testing.T) {
	long := strings.Repeat("a.", 126) + "a"
	for cut := range 15 {
		got := name(long[:len(long)-2*cut], "x")
		if len(got) > maxName || strings.Contains(got, "..") {
			t.Errorf("%d bytes: %s", len(got), got)
		}
	}
	if name(long, "x") == name(long, "y") {
		t.Error("two events have one name")
	}
}

func TestAServerThatIsAwayForAMomentLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		began := time.Now()
		s.fail = func(string) error {
			if time.Since(began) < 10*time.Second {
				return errors.New("connection refused")
			}
			return nil
		}
		w := s.writer(t)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx) }()
		w.Tell(Notice{Subject: subject, Reason: "R", Action: "A", Note: "text"})
		time.Sleep(time.Minute)
		stop()
		<-ended
		if len(s.stored) != 2 {
			t.Errorf("%d events, want 2", len(s.stored))
		}
		for _, e := range s.stored {
			if !e.EventTime.Time.Equal(began) {
				t.Errorf("written with the time %v, it happened at %v", e.EventTime, began)
			}
		}
	})
}

// An answer that is lost leaves open whether the event was made: it is not to be counted twice.
func TestALostAnswerIsNotASecondEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		left := 2
		s.lost = func(string) error {
			if left--; left >= 0 {
				return errors.New("connection reset")
			}
			return nil
		}
		w := s.writer(t)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx) }()
		w.Tell(Notice{Subject: subject, Reason: "R", Action: "A", Note: "text"})
		time.Sleep(time.Minute)
		stop()
		<-ended
		if len(s.stored) != 2 || s.creates != 4 {
			t.Errorf("%d events after %d tries, want 2 after 4", len(s.stored), s.creates)
		}
	})
}

func TestTheEndOfAProcess(t *testing.T) {
	for _, tc := range []struct {
		name string
		fail error
		took time.Duration
		want int
	}{
		{"what waits is written", nil, 0, 600},
		{"but not for long", errors.New("connection refused"), flushTimeout, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer()
				s.fail = func(string) error { return tc.fail }
				w := s.writer(t)
				for i := range 300 {
					n := Notice{Subject: subject, Reason: "R", Action: "A", Note: fmt.Sprint(i)}
					w.Tell(n)
				}
				ctx, stop := context.WithCancel(t.Context())
				stop()
				began := time.Now()
				w.Run(ctx)
				if took := time.Since(began); took != tc.took || len(s.stored) != tc.want {
					t.Errorf("%d events within %v, want %d within %v", len(s.stored), took, tc.want, tc.took)
				}
			})
		})
	}
}

func TestWhatIsRefusedIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.fail = func(string) error {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "", errors.New("no"))
		}
		w := s.writer(t)
		w.Tell(Notice{Subject: subject, Reason: "R", Action: "A", Note: "text"})
		ctx, stop := context.WithCancel(t.Context())
		stop()
		w.Run(ctx)
		if s.creates != 2 {
			t.Errorf("%d requests, want one for each event", s.creates)
		}
	})
}

func TestMoreThanWaitsIsLostAndNeverBlocks(t *testing.T) {
	w := newServer().writer(t)
	for range queued + 10 {
		w.Tell(Notice{Subject: subject, Reason: "R"})
	}
	if len(w.queue) != queued {
		t.Errorf("%d wait, want %d", len(w.queue), queued)
	}
}

func TestAWriterNeedsItsConfig(t *testing.T) {
	for _, cfg := range []Config{{}, {Reporter: "r"}, {Events: func(string) Sink { return nil }}} {
		if _, err := NewWriter(cfg); err == nil {
			t.Errorf("%+v passes", cfg)
		}
	}
	w, err := NewWriter(Config{Events: func(string) Sink { return nil }, Reporter: "r", Instance: strings.Repeat("i", 500)})
	if err != nil || len(w.cfg.Instance) != maxInstance {
		t.Errorf("instance of %d bytes, %v", len(w.cfg.Instance), err)
	}
}

// sorted are the counts of events, by their reasons.
func sorted(events []eventsv1.Event) (texts []string) {
	for _, e := range events {
		count := int32(1)
		if e.Series != nil {
			count = e.Series.Count
		}
		texts = append(texts, fmt.Sprintf("%s %s x%d", e.Regarding.Kind, e.Reason, count))
	}
	slices.Sort(texts)
	return texts
}
