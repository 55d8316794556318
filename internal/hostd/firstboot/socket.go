// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package firstboot

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/drydock-os/drydock/internal/hostapi"
)

// requestTime is more than the daemon takes for a commit on a slow disk.
const requestTime = time.Minute

// Socket is the API on its socket.
type Socket struct {
	Path  string
	Limit time.Duration // of one request; default a minute
}

// Request sends one request with a JSON body.
func (s Socket) Request(ctx context.Context, method, uri string, body []byte) (status int, reply []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.Limit, requestTime))
	defer cancel()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", s.Path)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+uri, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("asking the host daemon: %w", err)
	}
	defer resp.Body.Close()
	reply, err = io.ReadAll(io.LimitReader(resp.Body, hostapi.MaxBody))
	if err != nil {
		return 0, nil, fmt.Errorf("asking the host daemon: %w", err)
	}
	return resp.StatusCode, reply, nil
}
