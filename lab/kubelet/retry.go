// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"context"
	"time"
)

// Delays between attempts of a request to the API server, which may be starting, or may not have noticed yet
// that a pod was bound to this node.
const (
	firstRetry = 20 * time.Millisecond
	lastRetry  = 2 * time.Second
)

// Retry calls f until it succeeds or ctx ends; then it returns the error of ctx.
func Retry(ctx context.Context, f func() error) error {
	for delay := firstRetry; ; delay = min(2*delay, lastRetry) {
		if f() == nil {
			return nil
		}
		if err := pause(ctx, delay); err != nil {
			return err
		}
	}
}

// pause waits for d, or for the end of ctx and returns its error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
