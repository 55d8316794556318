// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostctr

import (
	"context"
	"time"
)

// settled is how long a container must have run for its next end to count as the first.
const settled = time.Minute

// Keep runs a container until ctx ends, again and again: whenever it has ended, well or not, or could not start. It does
// what a service manager does for a unit, where there is none.
func Keep(ctx context.Context, cfg Config, c Container) error {
	if err := cfg.complete(); err != nil {
		return err
	}
	pause := firstPause
	for {
		start := time.Now()
		err := once(ctx, cfg, c)
		if ctx.Err() != nil {
			return err
		}
		if time.Since(start) > settled {
			pause = firstPause
		}
		wait := cfg.Spread(pause)
		cfg.Log.Warn("the container does not run; starting it again", "container", c.ID(), "in", wait, "error", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, maxPause)
	}
}

// once connects anew, because containerd may be another one than before, or not be there yet.
func once(ctx context.Context, cfg Config, c Container) error {
	r, err := Connect(cfg)
	if err != nil {
		return err
	}
	defer r.Close()
	return r.Run(ctx, c)
}
