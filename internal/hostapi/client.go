// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	// requestTimeout bounds every call that the server answers at once. Reboot is the slowest of them: the server
	// asks the init system first.
	requestTimeout = 90 * time.Second

	// waitSlice is how long one waiting request lasts; waiting longer means asking again, so that a server that
	// died with our connection open is noticed.
	waitSlice = time.Minute

	maxErrorBody = 16 << 10
)

// Client talks to one host API socket. It may be used by several goroutines at once and keeps its connection open
// between calls.
type Client struct {
	http *http.Client
}

// New returns a client for the socket at path. It does not connect yet.
func New(socketPath string) *Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return &Client{http: &http.Client{
		// A redirect would be answered by the same socket; the contract has none.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "unix", socketPath)
			},
			MaxIdleConns:           2,
			IdleConnTimeout:        90 * time.Second,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}}
}

// Close closes idle connections. The client stays usable.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// OS returns the identity of the running system.
func (c *Client) OS(ctx context.Context) (OS, error) {
	var os OS
	err := c.call(ctx, http.MethodGet, PathOS, nil, requestTimeout, &os)
	return os, err
}

// UpdateStatus returns the update status now: ErrBusy while a command runs, ErrNotFound before the first command
// since boot.
func (c *Client) UpdateStatus(ctx context.Context) (UpdateStatus, error) {
	var s UpdateStatus
	err := c.call(ctx, http.MethodGet, PathUpdateStatus, nil, requestTimeout, &s)
	return s, err
}

// ProgressStatus is UpdateStatus for watching: while a command runs, a server that knows how answers with the status
// before it and with Progress; others answer ErrBusy.
func (c *Client) ProgressStatus(ctx context.Context) (UpdateStatus, error) {
	var s UpdateStatus
	err := c.call(ctx, http.MethodGet, PathUpdateStatus, url.Values{ProgressParam: {"true"}}, requestTimeout, &s)
	return s, err
}

// WaitUpdateStatus returns the update status as soon as no command runs. Give ctx a deadline: it is the only bound.
// A server that does not know how to wait is asked again, at first after 50 ms, later once per second.
func (c *Client) WaitUpdateStatus(ctx context.Context) (UpdateStatus, error) {
	pause := 50 * time.Millisecond
	for {
		var s UpdateStatus
		asked := time.Now()
		err := c.call(ctx, http.MethodGet, PathUpdateStatus,
			url.Values{WaitParam: {waitSlice.String()}}, waitSlice+requestTimeout, &s)
		if !errors.Is(err, ErrBusy) {
			return s, err
		}
		if time.Since(asked) > waitSlice/2 {
			continue // the server did wait
		}
		select {
		case <-ctx.Done():
			return s, fmt.Errorf("waiting for the update command to finish: %w", ctx.Err())
		case <-time.After(pause):
		}
		pause = min(pause*3/2, time.Second)
	}
}

// Refresh starts looking for updates. Like the other update commands it returns when the command has started; the
// outcome is MostRecentCommand of WaitUpdateStatus.
func (c *Client) Refresh(ctx context.Context) error { return c.post(ctx, PathRefreshUpdates) }

// Prepare starts writing the chosen update to the idle slot.
func (c *Client) Prepare(ctx context.Context) error { return c.post(ctx, PathPrepareUpdate) }

// Activate starts making the prepared slot the next one to boot.
func (c *Client) Activate(ctx context.Context) error { return c.post(ctx, PathActivateUpdate) }

// Deactivate starts taking back Activate.
func (c *Client) Deactivate(ctx context.Context) error { return c.post(ctx, PathDeactivateUpdate) }

// Reboot asks the host to reboot. The connection may end before the answer comes.
func (c *Client) Reboot(ctx context.Context) error { return c.post(ctx, PathReboot) }

// Unblock lets a version be tried again that has fallen back on this host. The error is ErrNotFound when the version
// is not blocked.
func (c *Client) Unblock(ctx context.Context, version string) error {
	return c.call(ctx, http.MethodPost, PathUnblockUpdate, url.Values{VersionParam: {version}}, requestTimeout, nil)
}

func (c *Client) post(ctx context.Context, path string) error {
	return c.call(ctx, http.MethodPost, path, nil, requestTimeout, nil)
}

// call makes one request. A reply is decoded into out unless that is nil; anything but 2xx is a *StatusError.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, timeout time.Duration, out any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	u := url.URL{Scheme: "http", Host: "localhost", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	req.Header.Set("Content-Type", "application/json") // some servers insist on it even without a body
	resp, err := c.http.Do(req)
	if err != nil {
		// http.Client names the made-up URL; the socket's path is in the dial error below it.
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return fmt.Errorf("%s %s: %w", method, path, disconnected(ctx, err))
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // a cut-off explanation is better than none
		return &StatusError{Method: method, Path: path, Code: resp.StatusCode, Body: string(body)}
	}
	if out == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, MaxBody)) // lets the connection be used again
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody+1))
	if err != nil {
		return fmt.Errorf("%s %s: reading the reply: %w", method, path, disconnected(ctx, err))
	}
	if len(body) > MaxBody {
		return fmt.Errorf("%s %s: the reply is larger than %d bytes", method, path, MaxBody)
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s %s: decoding the reply: %w", method, path, err)
	}
	return nil
}

// disconnected adds ErrDisconnected to what a connection answers, unless it was we who gave up.
func disconnected(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDisconnected, err)
}
