// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// lease is the Lease that replicas contend for. Clocks of different machines are never compared: who waits counts the
// duration from when it has seen a renewal, which is after it was made, and who holds counts from before it asked for it.
// So the holder knows for how long it surely holds it, and lets no write last longer than that.
type lease struct {
	resourcelock.Interface
	duration time.Duration
	now      func() time.Time
	asked    atomic.Pointer[time.Time] // when the last renewal that succeeded was begun
}

// newLease has a connection of its own, so that nothing queues before a renewal, and the user agent of all other
// requests, which controller-runtime would replace.
//
// The Lease also carries the ledger, and read is called with that of whoever holds it.
func (c *Controller) newLease(ledger *ledger, read func(account)) (*lease, error) {
	cfg := rest.CopyConfig(c.cfg.REST)
	// No request may hang for so long that there is no time for another before the deadline.
	cfg.Timeout = max(time.Second, c.cfg.LeaderElection.RenewDeadline/2)
	client, err := coordinationv1.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("setting up the election: %w", err)
	}
	// The identity begins with the name of the pod, which is its host name: people look for the leader by it.
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("naming this replica: %w", err)
	}
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: c.cfg.Namespace, Name: Name},
		Client:     ledgerLeases{client, ledger, read},
		LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + uuid.NewString()},
	}
	return &lease{Interface: lock, duration: c.cfg.LeaderElection.LeaseDuration, now: c.cfg.Now}, nil
}

// Create and Update take down when a renewal was asked for that succeeded.
func (l *lease) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	asked := l.now()
	err := l.Interface.Create(ctx, record)
	l.note(record, asked, err)
	return err
}

func (l *lease) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	asked := l.now()
	err := l.Interface.Update(ctx, record)
	l.note(record, asked, err)
	return err
}

func (l *lease) note(record resourcelock.LeaderElectionRecord, asked time.Time, err error) {
	switch {
	case err != nil:
	case record.HolderIdentity == l.Identity():
		l.asked.Store(&asked)
	default: // given back
		l.asked.Store(nil)
	}
}

// heldUntil is when writes must be over. The last tenth of the duration is left for what is on its way then.
func (l *lease) heldUntil() time.Time {
	asked := l.asked.Load()
	if asked == nil {
		return time.Time{}
	}
	return asked.Add(l.duration - l.duration/10)
}
