// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agentapi

import (
	"cmp"
	"context"
	"math/rand/v2"
	"time"
)

const (
	backoffMin = 50 * time.Millisecond
	backoffMax = 5 * time.Second
)

// Backoff grows pauses exponentially from 50 ms to 5 s, each drawn from the upper half of its range so
// that many agents do not return at the same moment. The zero value is ready to use.
type Backoff struct {
	next     time.Duration
	min, max time.Duration // other limits; zero means those above
	// Random returns a number in [0,1); nil means math/rand.
	Random func() float64
}

// Next returns the pause before the next try.
func (b *Backoff) Next() time.Duration {
	random := b.Random
	if random == nil {
		random = rand.Float64
	}
	b.next = min(max(2*b.next, cmp.Or(b.min, backoffMin)), cmp.Or(b.max, backoffMax))
	return b.next/2 + time.Duration(random()*float64(b.next/2))
}

// Reset makes the next pause short again.
func (b *Backoff) Reset() { b.next = 0 }

// Wait sleeps for d or until ctx ends, and returns ctx's error in the second case.
func Wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
