// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
)

// line knows whether the cluster answers. Watches that lose their connection try again by themselves and tell
// nobody, while what they have filled goes stale.
type line struct {
	// changed is called when trouble begins and when it ends.
	changed func()

	mu  sync.Mutex
	err error
}

// trouble returns why the last request had no good answer; nil if it had one.
func (l *line) trouble() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// wrap has the outcome of each request noted.
func (l *line) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		switch {
		case errors.Is(err, context.Canceled) || req.Context().Err() != nil: // nobody waits for it any more
		case err != nil:
			l.note(err)
		case resp.StatusCode == http.StatusGone: // a watch that was away for long begins anew
		case resp.StatusCode >= http.StatusBadRequest:
			l.note(fmt.Errorf("%s %s: %s", req.Method, req.URL.Path, resp.Status))
		default:
			l.note(nil)
		}
		return resp, err
	})
}

func (l *line) note(err error) {
	l.mu.Lock()
	news := (err == nil) != (l.err == nil)
	l.err = err
	l.mu.Unlock()
	if news {
		l.changed()
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
