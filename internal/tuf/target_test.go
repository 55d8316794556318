// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// script answers requests in turn; the last answer is repeated. It works inside synctest, where sockets do not.
type script struct {
	answers []func(r *http.Request) (*http.Response, error)
	ranges  []string
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	s.ranges = append(s.ranges, r.Header.Get("Range"))
	n := min(len(s.ranges), len(s.answers)) - 1
	return s.answers[n](r)
}

type answer = func(r *http.Request) (*http.Response, error)

func respond(status int, header map[string]string, body io.Reader, length int64) answer {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{}
		for k, v := range header {
			h.Set(k, v)
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(body), ContentLength: length, Request: r}, nil
	}
}

var errCut = errors.New("connection reset")

// cut breaks after n bytes.
func cut(data []byte, n int) io.Reader {
	return io.MultiReader(bytes.NewReader(data[:n]), readerFunc(func([]byte) (int, error) { return 0, errCut }))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestTargetReader(t *testing.T) {
	data := []byte(strings.Repeat("0123456789", 1000))
	flipped := bytes.Clone(data)
	flipped[4096] ^= 1
	whole := respond(200, map[string]string{"ETag": `"x"`}, bytes.NewReader(data), int64(len(data)))
	from := func(n int, r io.Reader) answer {
		return respond(206, map[string]string{"Content-Range": "bytes " + strconv.Itoa(n) + "-9999/10000"}, r, -1)
	}
	unknown := func(r io.Reader) answer { return respond(200, map[string]string{"ETag": `"x"`}, r, -1) }
	stuck := func(ctx context.Context) io.Reader {
		return readerFunc(func([]byte) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
	}
	hang := func(r *http.Request) (*http.Response, error) {
		return unknown(io.MultiReader(bytes.NewReader(data[:100]), stuck(r.Context())))(r)
	}
	for _, tc := range []struct {
		name    string
		answers []answer
		want    error // nil: everything arrives
		text    string
		ranges  string // requests made, by their Range header
	}{
		{"whole", []answer{whole}, nil, "", "[]"},
		{"length not told", []answer{unknown(bytes.NewReader(data))}, nil, "", "[]"},
		{"cut twice, resumed", []answer{unknown(cut(data, 10)), from(10, cut(data[10:], 90)), from(100, bytes.NewReader(data[100:]))}, nil, "", "[ bytes=10- bytes=100-]"},
		{"ended early, resumed", []answer{unknown(bytes.NewReader(data[:5000])), from(5000, bytes.NewReader(data[5000:]))}, nil, "", "[ bytes=5000-]"},
		{"server cannot resume", []answer{unknown(cut(data, 10)), unknown(bytes.NewReader(data))}, nil, "", "[ bytes=10-]"},
		{"broken at the very end", []answer{unknown(cut(data, len(data)))}, nil, "", "[]"},
		{"busy, then fine", []answer{respond(503, nil, http.NoBody, 0), unknown(bytes.NewReader(data))}, nil, "", "[ ]"},
		{"stalls once", []answer{hang, from(100, bytes.NewReader(data[100:]))}, nil, "", "[ bytes=100-]"},
		{"stalls for ever", []answer{hang, from(100, readerFunc(nil))}, ErrStalled, "giving up", "*"},
		{"flipped byte", []answer{unknown(bytes.NewReader(flipped))}, ErrDigest, "image.lz4: target does not match its signed digest: want sha256 ", "[]"},
		{"other bytes after resuming", []answer{unknown(cut(data, 4000)), from(4000, bytes.NewReader(flipped[4000:]))}, ErrDigest, "sha256", "[ bytes=4000-]"},
		{"one byte too many", []answer{unknown(bytes.NewReader(append(bytes.Clone(data), 'x')))}, ErrDigest, "want 10000 bytes, got more bytes", "[]"},
		{"told to be longer", []answer{respond(200, nil, bytes.NewReader(data), 10001)}, ErrDigest, "got 10001 bytes", "[]"},
		{"shorter on the server", []answer{respond(200, nil, bytes.NewReader(data[:9000]), 9000)}, ErrDigest, "got 9000 bytes", "[]"},
		{"always ends early", []answer{unknown(bytes.NewReader(data[:50])), from(50, strings.NewReader(""))}, ErrDigest, "want 10000 bytes, got 50 bytes", "*"},
		{"absent", []answer{respond(403, nil, http.NoBody, 0)}, ErrAbsent, "", "[]"},
		{"gone after a cut", []answer{unknown(cut(data, 10)), respond(404, nil, http.NoBody, 0)}, ErrAbsent, "", "[ bytes=10-]"},
		{"wrong range", []answer{unknown(cut(data, 10)), from(20, bytes.NewReader(data[20:]))}, errAny, "the server sends", "[ bytes=10-]"},
		{"refused", []answer{respond(401, nil, http.NoBody, 0)}, errAny, "401", "[]"},
		{"always busy", []answer{respond(500, nil, http.NoBody, 0)}, errAny, "giving up after 4 tries: the server answered 500", "[   ]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if tc.name == "stalls for ever" {
					tc.answers[1] = func(r *http.Request) (*http.Response, error) { return from(100, stuck(r.Context()))(r) }
				}
				s := &script{answers: tc.answers}
				f := &fetcher{http: &http.Client{Transport: s}}
				target := Target{Name: "image.lz4", Length: int64(len(data)), SHA256: sha256.Sum256(data)}
				began := time.Now()
				var got []byte
				r, err := openTarget(t.Context(), f, &url.URL{Scheme: "http", Host: "h"}, target.file(), target)
				if err == nil {
					got, err = io.ReadAll(r)
					_ = r.Close()
				}
				anyError := errors.Is(tc.want, errAny)
				switch {
				case tc.want == nil && (err != nil || !bytes.Equal(got, data)):
					t.Errorf("read %d bytes, error %v", len(got), err)
				case tc.want != nil && err == nil, tc.want != nil && !anyError && !errors.Is(err, tc.want):
					t.Errorf("got error %v, want %v", err, tc.want)
				case err != nil && (!strings.Contains(err.Error(), tc.text) || !strings.HasPrefix(err.Error(), "image.lz4: ")):
					t.Errorf("error %q does not name the target and %q", err, tc.text)
				}
				if got := fmt.Sprint(s.ranges); tc.ranges != "*" && got != tc.ranges {
					t.Errorf("requests %q, want %q", got, tc.ranges)
				}
				if took := time.Since(began); took > 5*time.Minute {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

var errAny = errors.New("any error")

// A server that trickles is given up in time that depends on the length of the target alone.
func TestSlowServerIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trickle := readerFunc(func(p []byte) (int, error) {
			time.Sleep(20 * time.Second)
			return copy(p, "x"), nil
		})
		s := &script{answers: []answer{respond(200, nil, trickle, -1)}}
		target := Target{Name: "image.lz4", Length: 1 << 20}
		began := time.Now()
		r, err := openTarget(t.Context(), &fetcher{http: &http.Client{Transport: s}}, &url.URL{Scheme: "http", Host: "h"}, "x", target)
		if err == nil {
			_, err = io.ReadAll(r)
		}
		if !errors.Is(err, ErrStalled) {
			t.Errorf("got error %v", err)
		}
		if took := time.Since(began); took > 10*time.Minute {
			t.Errorf("took %v", took)
		}
	})
}

func TestCancelEndsTheTransferAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &script{answers: []answer{func(r *http.Request) (*http.Response, error) {
			return respond(200, nil, readerFunc(func([]byte) (int, error) { <-r.Context().Done(); return 0, r.Context().Err() }), -1)(r)
		}}}
		r, err := openTarget(ctx, &fetcher{http: &http.Client{Transport: s}}, &url.URL{Scheme: "http", Host: "h"}, "x", Target{Name: "x", Length: 10})
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v", err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v", took)
		}
	})
}
