// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Target describes a target as it was signed.
type Target struct {
	Name   string
	Length int64
	SHA256 [sha256.Size]byte
}

// file is the name under which a repository with consistent snapshots keeps the target.
func (t Target) file() string { return hex.EncodeToString(t.SHA256[:]) + "." + t.Name }

// targetReader streams a target. It takes up a broken connection where it was cut, and says io.EOF only when
// everything that was read is what was signed.
type targetReader struct {
	ctx    context.Context // ends with the reader or when the whole transfer takes too long
	cancel context.CancelFunc
	fetch  *fetcher
	base   *url.URL
	file   string
	target Target

	body      io.ReadCloser // nil when the connection must be made again
	validator string        // for If-Range; "" when the server gave none
	read      int64
	digest    hash.Hash
	tries     int // in a row that brought nothing
	last      error
	done      error // what every further Read returns
}

func openTarget(ctx context.Context, f *fetcher, base *url.URL, file string, t Target) (*targetReader, error) {
	total := targetTimeout + time.Duration(t.Length/minRate)*time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, total, fmt.Errorf("%w: not complete after %v", ErrStalled, total))
	r := &targetReader{ctx: ctx, cancel: cancel, fetch: f, base: base, file: file, target: t, digest: sha256.New()}
	// The first connection is made now, so that an absent target is known before anything depends on it.
	if err := r.connect(); err != nil {
		cancel()
		return nil, err
	}
	return r, nil
}

// connect makes sure there is a connection that goes on at r.read, trying several times.
func (r *targetReader) connect() error {
	for r.body == nil {
		if r.tries >= maxTries && errors.Is(r.last, ErrDigest) {
			return r.last // ends early again and again: that is all there is
		}
		if r.tries >= maxTries {
			return fmt.Errorf("%s: giving up after %d tries: %w", r.target.Name, maxTries, r.last)
		}
		r.tries++
		if err := pauseBefore(r.ctx, r.tries); err != nil {
			return fmt.Errorf("%s: %w", r.target.Name, err)
		}
		if err := r.dial(); err != nil {
			if errors.Is(err, ErrDigest) {
				return err // names the target already
			}
			if permanent(err) || r.ctx.Err() != nil {
				return fmt.Errorf("%s: %w", r.target.Name, err)
			}
			r.last = err
		}
	}
	return nil
}

// dial makes one connection and brings it to r.read.
func (r *targetReader) dial() error {
	ctx, cancel := context.WithCancelCause(r.ctx)
	stall := time.AfterFunc(stallTimeout, func() { cancel(ErrStalled) })
	header := http.Header{}
	if r.read > 0 {
		header.Set("Range", "bytes="+strconv.FormatInt(r.read, 10)+"-")
		if r.validator != "" {
			header.Set("If-Range", r.validator)
		}
	}
	resp, err := r.fetch.get(ctx, r.base, r.file, header) //nolint:bodyclose // it lives on as r.body, which drop closes
	if err != nil {
		stall.Stop()
		cancel(nil)
		return err
	}
	stall.Stop() // runs again during each read
	r.body = &attempt{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, stall: stall}
	if resp.StatusCode == http.StatusPartialContent {
		if got := resp.Header.Get("Content-Range"); !strings.HasPrefix(got, "bytes "+strconv.FormatInt(r.read, 10)+"-") {
			r.drop()
			return fmt.Errorf("asked to go on at byte %d, the server sends %q: %w", r.read, got, &httpError{http.StatusRequestedRangeNotSatisfiable})
		}
		return nil
	}
	if n := resp.ContentLength; n >= 0 && n != r.target.Length {
		r.drop()
		return r.wrongLength(strconv.FormatInt(n, 10))
	}
	r.validator = validator(resp.Header)
	// A server that cannot go on in the middle starts over: skip what we have. Should it send other bytes now,
	// the digest will show it.
	if _, err := io.CopyN(io.Discard, r.body, r.read); err != nil {
		r.drop()
		return err
	}
	return nil
}

// validator picks what If-Range may carry: a strong entity tag, else the modification time.
func validator(h http.Header) string {
	if tag := h.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		return tag
	}
	return h.Get("Last-Modified")
}

// Read reads the next bytes of the target. They are not to be trusted before Read has returned io.EOF.
func (r *targetReader) Read(p []byte) (int, error) {
	for r.done == nil && len(p) > 0 {
		if err := r.connect(); err != nil {
			r.done = err
			break
		}
		// One byte more than there should be shows an overlong target.
		n, err := r.body.Read(p[:min(int64(len(p)), r.target.Length-r.read+1)])
		if r.read+int64(n) > r.target.Length {
			r.done = r.wrongLength("more")
			break
		}
		if n > 0 {
			r.digest.Write(p[:n])
			r.read += int64(n)
			r.tries = 1   // the connection was good, but a new one should not follow at once
			return n, nil // an error, if any, comes again with the next read
		}
		switch {
		case err == nil:
		case r.read == r.target.Length:
			// However the connection ended: everything has arrived.
			r.done = r.verify()
		default:
			if errors.Is(err, io.EOF) {
				err = r.wrongLength(strconv.FormatInt(r.read, 10))
			}
			r.last = err
			r.drop()
		}
	}
	if len(p) == 0 && r.done == nil {
		return 0, nil
	}
	r.drop()
	return 0, r.done
}

func (r *targetReader) verify() error {
	got := r.digest.Sum(nil)
	if subtle.ConstantTimeCompare(got, r.target.SHA256[:]) != 1 {
		return &DigestError{
			Name: r.target.Name,
			Want: "sha256 " + hex.EncodeToString(r.target.SHA256[:]),
			Got:  "sha256 " + hex.EncodeToString(got),
		}
	}
	return io.EOF
}

func (r *targetReader) wrongLength(got string) error {
	return &DigestError{Name: r.target.Name, Want: strconv.FormatInt(r.target.Length, 10) + " bytes", Got: got + " bytes"}
}

// drop ends the present connection.
func (r *targetReader) drop() {
	if r.body != nil {
		_ = r.body.Close() // only read from
		r.body = nil
	}
}

// Close ends the transfer. It may be called at any time and more than once.
func (r *targetReader) Close() error {
	r.drop()
	r.cancel()
	if r.done == nil {
		r.done = errors.New("reading a closed target")
	}
	return nil
}

// attempt is the body of one answer. Only the time spent waiting for the server counts as stalling, not the time its
// reader takes between two reads.
type attempt struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	stall  *time.Timer
}

func (a *attempt) Read(p []byte) (int, error) {
	if cause := context.Cause(a.ctx); cause != nil {
		return 0, cause
	}
	a.stall.Reset(stallTimeout)
	n, err := a.ReadCloser.Read(p)
	a.stall.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(a.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

func (a *attempt) Close() error {
	a.stall.Stop()
	err := a.ReadCloser.Close()
	a.cancel(nil)
	return err
}
