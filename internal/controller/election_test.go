// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// slowLock is a Lease whose writes take a second, and may fail.
type slowLock struct {
	resourcelock.Interface
	clock *time.Time
	err   error
}

func (l *slowLock) Identity() string { return "me" }

func (l *slowLock) Create(context.Context, resourcelock.LeaderElectionRecord) error {
	*l.clock = l.clock.Add(time.Second)
	return l.err
}

func (l *slowLock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.Create(ctx, r)
}

// TestAHolderCountsFromBeforeItAsked: the others count from when they see the answer, which is later.
func TestAHolderCountsFromBeforeItAsked(t *testing.T) {
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock := began
	inner := &slowLock{clock: &clock}
	l := &lease{Interface: inner, duration: 10 * time.Second, now: func() time.Time { return clock }}
	mine := resourcelock.LeaderElectionRecord{HolderIdentity: "me"}
	expect := func(when string, want time.Time) {
		t.Helper()
		if got := l.heldUntil(); !got.Equal(want) {
			t.Errorf("%s: held until %v, want %v", when, got, want)
		}
	}
	expect("before the election", time.Time{})
	if err := l.Create(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	expect("after the election", began.Add(9*time.Second))
	if err := l.Update(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	expect("after a renewal", began.Add(10*time.Second))
	inner.err = errors.New("no answer")
	_ = l.Update(t.Context(), mine)
	expect("after a renewal without an answer", began.Add(10*time.Second))
	inner.err = nil
	if err := l.Update(t.Context(), resourcelock.LeaderElectionRecord{}); err != nil {
		t.Fatal(err)
	}
	expect("after it was given back", time.Time{})
}
