// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package imds reads the instance metadata service of AWS, version 2: every request shows a token that was asked for
// first. Answers are bounded in size and time; what is not there is no error.
package imds

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// DefaultBase is where instances find the service.
const DefaultBase = "http://169.254.169.254"

const (
	schema      = "2021-07-15" // version of the paths below
	tokenPath   = "/latest/api/token"
	ttlHeader   = "X-aws-ec2-metadata-token-ttl-seconds"
	tokenHeader = "X-aws-ec2-metadata-token"
	tokenTTL    = "60" // seconds
	maxAnswer   = 1 << 20
	requestTime = 5 * time.Second

	// The service may come up later than the host's network: half a minute in all.
	attempts   = 7
	firstPause = 500 * time.Millisecond
)

// Client asks one service.
type Client struct {
	Base string       // default DefaultBase
	HTTP *http.Client // default: one without proxy
}

// UserData returns what the instance was started with, or nil.
func (c Client) UserData(ctx context.Context) ([]byte, error) { return c.get(ctx, "user-data") }

// Region returns the region of the instance, or "".
func (c Client) Region(ctx context.Context) (string, error) {
	data, err := c.get(ctx, "dynamic/instance-identity/document")
	if err != nil || data == nil {
		return "", err
	}
	var document struct {
		Region string `json:"region"`
	}
	if err := json.Unmarshal(data, &document); err != nil {
		return "", fmt.Errorf("reading instance identity document: %w", err)
	}
	return document.Region, nil
}

// Meta returns one line of metadata, such as instance-type, or "".
func (c Client) Meta(ctx context.Context, name string) (string, error) {
	data, err := c.get(ctx, "meta-data/"+name)
	return strings.TrimSpace(string(data)), err
}

func (c Client) get(ctx context.Context, path string) ([]byte, error) {
	pause := firstPause
	for left := attempts; ; left-- {
		data, again, err := c.try(ctx, path)
		if err == nil || !again || left == 1 {
			return data, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		pause *= 2
	}
}

func (c Client) try(ctx context.Context, path string) (data []byte, again bool, err error) {
	token, again, err := c.do(ctx, http.MethodPut, tokenPath, http.Header{ttlHeader: {tokenTTL}})
	if err != nil || token == nil {
		if err == nil {
			err = fmt.Errorf("asking the instance metadata service for a token: not found")
		}
		return nil, again, err
	}
	h := http.Header{}
	h.Set(tokenHeader, string(token))
	return c.do(ctx, http.MethodGet, "/"+schema+"/"+path, h)
}

// do returns no data for 404, and whether another try may help.
func (c Client) do(ctx context.Context, method, path string, header http.Header) (data []byte, again bool, err error) {
	base, client := c.Base, c.HTTP
	if base == "" {
		base = DefaultBase
	}
	if client == nil {
		client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, base+path, nil)
	if err != nil {
		return nil, false, err
	}
	for k, v := range header {
		req.Header[http.CanonicalHeaderKey(k)] = v
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, true, fmt.Errorf("asking the instance metadata service: %w", err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return nil, false, nil
	case resp.StatusCode != http.StatusOK:
		return nil, resp.StatusCode >= http.StatusInternalServerError, fmt.Errorf("asking the instance metadata service for %s: %s", path, resp.Status)
	}
	data, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(data) > maxAnswer {
		err = fmt.Errorf("larger than %d bytes", maxAnswer)
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading %s of the instance metadata service: %w", path, err)
	}
	return append([]byte{}, data...), false, nil
}
