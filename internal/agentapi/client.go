// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agentapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Config holds everything a Client needs. Fields are required unless they name a default.
type Config struct {
	// URL is the apiserver's base URL, https://host:port.
	URL string
	// NodeName is the node this agent runs on.
	NodeName string
	// TokenFile and CAFile are re-read when they change. Defaults: the constants of the same names.
	TokenFile, CAFile string
	// UserAgent defaults to "drydock-agent".
	UserAgent string
	// RequestTimeout bounds one try of a short request. Default 15 s.
	RequestTimeout time.Duration
	// RetryFor bounds all tries of a short request together. Default 1 min.
	RetryFor time.Duration
	// Dial connects to the apiserver. Default: a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Log defaults to discarding.
	Log *slog.Logger
}

// Client talks to the apiserver on behalf of one node. Its methods may be called concurrently.
type Client struct {
	cfg   Config
	base  *url.URL
	creds *credentials
}

// NewClient checks cfg. It opens no file and no connection.
func NewClient(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("parsing apiserver URL: %w", err)
	}
	if base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("apiserver URL %q is not of the form https://host:port", cfg.URL)
	}
	if cfg.NodeName == "" {
		return nil, errors.New("node name is empty")
	}
	if cfg.TokenFile == "" {
		cfg.TokenFile = TokenFile
	}
	if cfg.CAFile == "" {
		cfg.CAFile = CAFile
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "drydock-agent"
	}
	if cfg.RequestTimeout == 0 {
		cfg.RequestTimeout = 15 * time.Second
	}
	if cfg.RetryFor == 0 {
		cfg.RetryFor = time.Minute
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Client{cfg: cfg, base: base, creds: &credentials{
		tokenFile: watchedFile{path: cfg.TokenFile},
		caFile:    watchedFile{path: cfg.CAFile},
		dial:      cfg.Dial,
	}}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.creds.close() }

// Create makes the node's object; an object that is already there is success.
func (c *Client) Create(ctx context.Context) error {
	body, err := json.Marshal(map[string]any{"node_selector": map[string]string{"node_name": c.cfg.NodeName}})
	if err != nil {
		return fmt.Errorf("encoding node selector: %w", err)
	}
	_, err = c.retry(ctx, http.MethodPost, PathResource, body)
	return err
}

// PutStatus writes the node's status and returns the object's revision after the write, 0 when the
// server did not tell. 404 means that the object is gone.
func (c *Client) PutStatus(ctx context.Context, s Status) (uint64, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return 0, fmt.Errorf("encoding status: %w", err)
	}
	header, err := c.retry(ctx, http.MethodPut, PathResource, body)
	if err != nil {
		return 0, err
	}
	revision, _ := strconv.ParseUint(header.Get(HeaderRevision), 10, 64) // absent is 0: unknown
	return revision, nil
}

// CordonAndDrain returns when the node is cordoned and empty. It makes one try that lasts as long as ctx
// allows: the caller decides which failures are worth another drain (see Temporary).
func (c *Client) CordonAndDrain(ctx context.Context) error {
	_, err := c.once(ctx, http.MethodPost, PathDrain, nil)
	return err
}

// Uncordon lifts the cordon, if it is the operator's own.
func (c *Client) Uncordon(ctx context.Context) error {
	_, err := c.retry(ctx, http.MethodPost, PathUncordon, nil)
	return err
}

// ExcludeFromLB takes the node out of external load balancers.
func (c *Client) ExcludeFromLB(ctx context.Context) error {
	_, err := c.retry(ctx, http.MethodPost, PathExcludeFromLB, nil)
	return err
}

// RemoveExclusionFromLB puts the node back into external load balancers, if the operator took it out.
func (c *Client) RemoveExclusionFromLB(ctx context.Context) error {
	_, err := c.retry(ctx, http.MethodPost, PathRemoveExclusion, nil)
	return err
}

// retry repeats a short request while its failures are temporary. No try begins later than RetryFor after the
// first.
func (c *Client) retry(ctx context.Context, method, path string, body []byte) (http.Header, error) {
	end := time.Now().Add(c.cfg.RetryFor)
	var pause Backoff
	for {
		try, done := context.WithTimeout(ctx, c.cfg.RequestTimeout)
		header, err := c.once(try, method, path, body)
		done()
		if err == nil || !Temporary(err) {
			return header, err
		}
		d := max(pause.Next(), RetryAfter(err))
		if time.Now().Add(d).After(end) {
			return nil, err
		}
		c.cfg.Log.Debug("request will be repeated", "method", method, "path", path, "pause", d, "error", err)
		if Wait(ctx, d) != nil {
			return nil, err // the cause says more than the context does
		}
	}
}

// once sends one request and reads the answer.
func (c *Client) once(ctx context.Context, method, path string, body []byte) (http.Header, error) {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	// The bodies of successful answers repeat what we sent. Read them, so that the connection is reused.
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, MaxBody)); err != nil {
		return nil, wrapTransport(method, path, c.base.Host, err)
	}
	return resp.Header, nil
}

// send returns the answer of a successful request; its body is still to be read and closed.
func (c *Client) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	token, nodeUID, transport, err := c.creds.current()
	if err != nil {
		return nil, err
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(path).String(), reader)
	if err != nil {
		return nil, fmt.Errorf("making request: %w", err)
	}
	req.Header.Set(HeaderNodeName, c.cfg.NodeName)
	req.Header.Set(HeaderToken, token)
	if nodeUID != "" {
		req.Header.Set(HeaderNodeUID, nodeUID)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	client := http.Client{Transport: transport, CheckRedirect: noRedirect}
	resp, err := client.Do(req)
	if err != nil {
		return nil, wrapTransport(method, path, c.base.Host, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
		c.creds.reload() // whoever tries again, also a drain or a stream, does it with what is on disk then
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // what arrived of the reason is better than none
	return nil, &StatusError{
		Method: method, Path: path, Code: resp.StatusCode,
		Body:       strings.TrimSpace(string(text)),
		RetryAfter: retryAfter(resp.Header),
	}
}

// noRedirect: the token must not follow a redirect to somebody else.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseUint(h.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
