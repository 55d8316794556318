// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Bounds of every transfer.
const (
	maxTries        = 4                      // in a row without a single new byte
	firstPause      = 100 * time.Millisecond // before the second try; grows by half each time
	maxPause        = time.Second
	metadataTimeout = 30 * time.Second // one try for one file of metadata
	stallTimeout    = 30 * time.Second // between two reads of a target
	targetTimeout   = 5 * time.Minute  // a whole target, plus its length at minRate
	minRate         = 16 << 10         // bytes per second
)

// NewHTTPClient returns the HTTP client that Client uses by default: bounded connect and header times, no
// transparent decompression (digests are over what is stored), and proxy for the proxy of each request (nil: none).
func NewHTTPClient(proxy func(*http.Request) (*url.URL, error)) *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:                  proxy,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  30 * time.Second,
		IdleConnTimeout:        30 * time.Second,
		MaxIdleConnsPerHost:    2,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
	}}
}

// httpError is an answer that was neither success nor "no such file".
type httpError struct{ code int }

func (e *httpError) Error() string {
	return fmt.Sprintf("the server answered %d %s", e.code, http.StatusText(e.code))
}

// permanent reports whether trying again cannot help.
func permanent(err error) bool {
	if e, ok := errors.AsType[*httpError](err); ok {
		return e.code < 500 && e.code != http.StatusRequestTimeout && e.code != http.StatusTooManyRequests
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	return errors.Is(err, ErrAbsent) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrDigest)
}

// pauseBefore waits before try n (counted from 1; the first comes at once).
func pauseBefore(ctx context.Context, try int) error {
	if try <= 1 {
		return context.Cause(ctx)
	}
	pause := firstPause
	for range try - 2 {
		pause = min(pause*3/2, maxPause)
	}
	var jitter [1]byte
	_, _ = rand.Read(jitter[:])                         // never fails
	pause -= pause / 4 * time.Duration(jitter[0]) / 256 // a fleet that failed together should not come back together
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// fetcher makes requests with what all of them have in common.
type fetcher struct {
	http      *http.Client
	query     url.Values
	userAgent string
}

// get requests the file called name below base. The caller closes the body of a returned answer, whose status is
// 200 or, when header asks for a range, 206.
func (f *fetcher) get(ctx context.Context, base *url.URL, name string, header http.Header) (*http.Response, error) {
	u := base.JoinPath(url.PathEscape(name))
	query := u.Query()
	for key, values := range f.query {
		query[key] = values
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	for key, values := range header {
		req.Header[key] = values
	}
	if f.userAgent != "" {
		req.Header.Set("User-Agent", f.userAgent)
	}
	resp, err := f.http.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		if ue, ok := errors.AsType[*url.Error](err); ok && !ue.Timeout() {
			return nil, fmt.Errorf("%s: %w", base.Host, ue.Err) // the query would only hide what went wrong
		}
		return nil, err
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		return resp, nil
	case resp.StatusCode == http.StatusPartialContent && header.Get("Range") != "":
		return resp, nil
	}
	_ = resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return nil, ErrAbsent // object stores answer 403 for what does not exist
	}
	return nil, &httpError{resp.StatusCode}
}

// file downloads a whole small file of at most limit bytes.
func (f *fetcher) file(ctx context.Context, base *url.URL, name string, limit int64) ([]byte, error) {
	var last error
	for try := 1; try <= maxTries; try++ {
		if err := pauseBefore(ctx, try); err != nil {
			return nil, fmt.Errorf("downloading %s: %w", name, err)
		}
		data, err := f.fileOnce(ctx, base, name, limit)
		if err == nil {
			return data, nil
		}
		if permanent(err) || ctx.Err() != nil {
			return nil, fmt.Errorf("downloading %s: %w", name, err)
		}
		last = err
	}
	return nil, fmt.Errorf("downloading %s: giving up after %d tries: %w", name, maxTries, last)
}

func (f *fetcher) fileOnce(ctx context.Context, base *url.URL, name string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, metadataTimeout, ErrStalled)
	defer cancel()
	resp, err := f.get(ctx, base, name, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.ContentLength > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, resp.ContentLength, limit)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w: at most %d bytes", ErrTooLarge, limit)
	}
	return data, nil
}
