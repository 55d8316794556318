// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// newLock is the Lease that replicas contend for. It has a connection of its own, so that nothing queues before
// a renewal, and the user agent of all other requests, which controller-runtime would replace.
func (c *Controller) newLock() (resourcelock.Interface, error) {
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
	id := resourcelock.ResourceLockConfig{Identity: host + "_" + uuid.NewString()}
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, c.cfg.Namespace, Name, nil, client, id)
	if err != nil {
		return nil, fmt.Errorf("setting up the election: %w", err)
	}
	return lock, nil
}
