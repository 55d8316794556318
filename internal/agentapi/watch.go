// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agentapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// maxLine bounds one event: an object of a few hundred bytes with a message.
const maxLine = 256 << 10

// errSilent ends a stream on which nothing was heard for StreamTimeout.
var errSilent = fmt.Errorf("no line for %v", StreamTimeout)

// oldPauseMin and oldPauseMax bound the pauses while the apiserver knows no stream: somebody has to upgrade it.
const (
	oldPauseMin = time.Second
	oldPauseMax = time.Minute
)

// Watch calls f for each STATE and ABSENT event, one at a time, until ctx ends, and returns ctx's error.
// It reconnects by itself with growing pauses; after a connect the first event tells the whole state, so
// that nothing is missed. What went wrong is logged once per break, not once per try.
func (c *Client) Watch(ctx context.Context, f func(Event)) error {
	var pause Backoff
	var older Backoff
	older.min, older.max = oldPauseMin, oldPauseMax
	broken := false
	for {
		err := c.stream(ctx, func(e Event) {
			pause.Reset()
			older.Reset()
			if broken {
				broken = false
				c.cfg.Log.Info("stream of the desired state is back")
			}
			if e.Type != EventHeartbeat {
				f(e)
			}
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if Code(err) == http.StatusNotFound {
			// An apiserver that does not know the path, as those of the original. Behind the same name there may be one
			// that does, so the next try gets a connection of its own.
			c.creds.close()
			if !broken {
				broken = true
				c.cfg.Log.Warn("the apiserver is older than this agent and has no stream of the desired state: nothing happens on this node until it is upgraded",
					"next", "upgrade the Deployment brupop-apiserver; the agent goes on by itself then", "error", err)
			}
			if err := Wait(ctx, older.Next()); err != nil {
				return err
			}
			continue
		}
		d := max(pause.Next(), RetryAfter(err))
		switch code := Code(err); {
		case code == http.StatusUnauthorized || code == http.StatusForbidden:
			c.creds.reload()
		case code != 0 && !Temporary(err):
			d = max(d, backoffMax)
		}
		if err != nil && !broken && d >= 200*time.Millisecond {
			// The first quick retries are routine: a replica was restarted.
			broken = true
			c.cfg.Log.Warn("stream of the desired state is broken", "error", err)
		}
		if err := Wait(ctx, d); err != nil {
			return err
		}
	}
}

// stream reads one connection until it ends. A server that closes it in an orderly way is no error.
func (c *Client) stream(ctx context.Context, f func(Event)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(StreamTimeout, func() { cancel(errSilent) })
	defer silence.Stop()
	resp, err := c.send(ctx, http.MethodGet, PathWatch, nil)
	if err != nil {
		return silenceOr(ctx, err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 4<<10), maxLine)
	for lines.Scan() {
		silence.Reset(StreamTimeout)
		if len(lines.Bytes()) == 0 {
			continue
		}
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("decoding event: %w", err)
		}
		if e.Type == EventState && e.Spec == nil {
			return errors.New("decoding event: STATE without spec")
		}
		switch e.Type {
		case EventState, EventAbsent, EventHeartbeat:
			f(e)
		default: // an addition of a newer server
		}
	}
	if err := lines.Err(); err != nil {
		return silenceOr(ctx, wrapTransport(http.MethodGet, PathWatch, c.base.Host, err))
	}
	return nil
}

// silenceOr returns errSilent when silence is what ended ctx, else err.
func silenceOr(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		return fmt.Errorf("GET %s: %w", PathWatch, errSilent)
	}
	return err
}
