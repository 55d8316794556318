// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"sync"

	"golang.org/x/time/rate"
)

const (
	// nodeRate is how many requests per second one node may send for long: an agent sends a few per update.
	nodeRate = 5
	// nodeBurst is how many it may send at once.
	nodeBurst = 50
)

// limits keeps an agent that runs wild from taking the others' share, of this server and of the Kubernetes API
// server behind it. It counts nodes that have proven who they are, so nobody can use up another's share.
type limits struct {
	mu    sync.Mutex
	nodes map[string]*rate.Limiter
}

func newLimits() *limits { return &limits{nodes: map[string]*rate.Limiter{}} }

func (l *limits) allow(node string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket := l.nodes[node]
	if bucket == nil {
		bucket = rate.NewLimiter(nodeRate, nodeBurst)
		l.nodes[node] = bucket
	}
	return bucket.Allow()
}

// forget is called when a node's shadow goes: the buckets are as many as the nodes.
func (l *limits) forget(node string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.nodes, node)
}
