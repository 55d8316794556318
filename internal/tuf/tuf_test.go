// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

const part = "metal/x86_64"

var start = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

// world is a publisher, a server that may be hostile, and a client whose memory lasts.
type world struct {
	t         *testing.T
	dir, keys string
	root      []byte
	server    *httptest.Server
	now       time.Time // of the client
	store     string

	mu       sync.Mutex
	tamper   func(w http.ResponseWriter, r *http.Request) bool // true: answered
	requests []*http.Request
}

func newWorld(t *testing.T, o InitOptions) *world {
	w := &world{t: t, dir: t.TempDir(), keys: filepath.Join(t.TempDir(), "keys"), store: t.TempDir(), now: start.Add(time.Minute)}
	o.Now = start
	path, err := Init(t.Context(), w.dir, w.keys, o)
	if err != nil {
		t.Fatal(err)
	}
	if w.root, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	files := http.FileServer(http.Dir(w.dir))
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		tamper := w.tamper
		w.requests = append(w.requests, r.Clone(context.Background()))
		w.mu.Unlock()
		if tamper == nil || !tamper(rw, r) {
			files.ServeHTTP(rw, r)
		}
	}))
	t.Cleanup(w.server.Close)
	return w
}

func (w *world) publish(at time.Time, targets map[string]string) *Published {
	w.t.Helper()
	r, err := OpenRepository(RepositoryConfig{Dir: w.dir, KeysDir: w.keys, Now: at})
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Close()
	var sources []Source
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		path := filepath.Join(w.t.TempDir(), name)
		if err := os.WriteFile(path, []byte(targets[name]), 0o644); err != nil {
			w.t.Fatal(err)
		}
		sources = append(sources, Source{Name: name, Path: path})
	}
	p, err := r.Publish(w.t.Context(), part, sources)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) client() *Client {
	w.t.Helper()
	c, err := NewClient(Config{
		TrustedRoot: w.root, Dir: w.store,
		MetadataURL: w.server.URL + "/" + part, TargetsURL: w.server.URL + "/targets/",
		Query: url.Values{"version": {"1.0.0"}}, Now: func() time.Time { return w.now },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) mustRefresh() *Client {
	w.t.Helper()
	c := w.client()
	if err := c.Refresh(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) setTamper(f func(http.ResponseWriter, *http.Request) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tamper = f
}

// on answers requests for files whose name ends in suffix.
func on(suffix string, answer http.HandlerFunc) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, suffix) {
			answer(w, r)
			return true
		}
		return false
	}
}

func TestPublishAndRead(t *testing.T) {
	for _, o := range []InitOptions{{}, {KeyCount: 3, Threshold: 2}} {
		w := newWorld(t, o)
		first := w.publish(start, map[string]string{"manifest.json": "one", "a.lz4": "old"})
		second := w.publish(start, map[string]string{"manifest.json": "two", "b.lz4": strings.Repeat("x", 100_000)})
		if second.Version != first.Version+1 {
			t.Errorf("versions %d, %d: the second publication in one second must be one higher", first.Version, second.Version)
		}
		c := w.mustRefresh()
		c.SetQuery("target", "1.1.0")
		for name, want := range map[string]string{"manifest.json": "two", "a.lz4": "old", "b.lz4": strings.Repeat("x", 100_000)} {
			got, err := c.Read(t.Context(), name, 1<<20)
			if err != nil || string(got) != want {
				t.Errorf("%s: read %d bytes, error %v", name, len(got), err)
			}
		}
		if _, err := c.Lookup("c.lz4"); !errors.Is(err, ErrAbsent) {
			t.Errorf("unknown target: %v", err)
		}
		if _, err := c.Read(t.Context(), "b.lz4", 1000); !errors.Is(err, ErrTooLarge) {
			t.Errorf("target beyond the limit: %v", err)
		}
		last := w.requests[len(w.requests)-1]
		if got := last.URL.RawQuery; got != "target=1.1.0&version=1.0.0" {
			t.Errorf("query of the last request: %q", got)
		}
	}
}

func TestMetadataAttacks(t *testing.T) {
	version := func(p *Published, name string) string { return strconv.FormatInt(p.Version, 10) + "." + name }
	for _, tc := range []struct {
		name string
		// play attacks after two publications of which the client has seen only the first; it returns the error wanted.
		play func(w *world, first, second *Published) error
	}{
		{"nothing", func(*world, *Published, *Published) error { return nil }},
		{"rolled back to the first publication", func(w *world, first, second *Published) error {
			w.mustRefresh()
			restore(w, first)
			return ErrRollback
		}},
		{"only the timestamp is rolled back, in a new process", func(w *world, first, second *Published) error {
			w.mustRefresh()
			restore(w, first)
			w.store = copyDir(w.t, w.store)
			return ErrRollback
		}},
		{"frozen until the timestamp expires", func(w *world, _, _ *Published) error {
			w.now = start.Add(8 * 24 * time.Hour)
			return ErrExpired
		}},
		{"frozen, and the same timestamp is known", func(w *world, _, _ *Published) error {
			w.mustRefresh()
			w.now = start.Add(8 * 24 * time.Hour)
			return ErrExpired
		}},
		{"root expired", func(w *world, _, _ *Published) error {
			w.now = start.Add(53 * 7 * 24 * time.Hour)
			return ErrExpired
		}},
		{"clock in 1970", func(w *world, _, _ *Published) error {
			w.now = time.Unix(1000, 0)
			return ErrClock
		}},
		{"clock set back to hide the expiry", func(w *world, _, _ *Published) error {
			w.now = start.Add(6 * 24 * time.Hour)
			w.publish(w.now, nil)
			w.mustRefresh()
			w.publish(start.Add(-5*24*time.Hour), nil) // signed with old dates, expires before the last success
			w.now = start
			return ErrExpired
		}},
		{"signed by other keys", func(w *world, _, _ *Published) error {
			other := newWorld(w.t, InitOptions{})
			other.publish(start.Add(time.Hour), nil)
			data, _ := os.ReadFile(filepath.Join(other.dir, part, "timestamp.json"))
			w.setTamper(on("/timestamp.json", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(data) }))
			return ErrSignature
		}},
		{"snapshot of the first with timestamp of the second", func(w *world, first, second *Published) error {
			return swap(w, version(second, snapshotFile), version(first, snapshotFile), ErrDigest)
		}},
		{"targets of the first with snapshot of the second", func(w *world, first, second *Published) error {
			return swap(w, version(second, targetsFile), version(first, targetsFile), ErrDigest)
		}},
		{"flipped byte in timestamp", func(w *world, _, _ *Published) error {
			return flip(w, "/timestamp.json", ErrSignature)
		}},
		{"flipped byte in targets", func(w *world, _, second *Published) error {
			return flip(w, "/"+version(second, targetsFile), ErrDigest)
		}},
		{"truncated snapshot", func(w *world, _, second *Published) error {
			return edit(w, "/"+version(second, snapshotFile), func(b []byte) []byte { return b[:len(b)/2] }, ErrDigest)
		}},
		{"truncated timestamp", func(w *world, _, _ *Published) error {
			return edit(w, "/timestamp.json", func(b []byte) []byte { return b[:len(b)/2] }, ErrMalformed)
		}},
		{"overlong snapshot", func(w *world, _, second *Published) error {
			return edit(w, "/"+version(second, snapshotFile), func(b []byte) []byte { return append(b, ' ') }, ErrTooLarge)
		}},
		{"endless timestamp", func(w *world, _, _ *Published) error {
			w.setTamper(on("/timestamp.json", func(rw http.ResponseWriter, r *http.Request) {
				chunk := bytes.Repeat([]byte("{"), 64<<10)
				for r.Context().Err() == nil {
					if _, err := rw.Write(chunk); err != nil {
						return
					}
				}
			}))
			return ErrTooLarge
		}},
		{"timestamp without snapshot", func(w *world, _, _ *Published) error {
			return edit(w, "/timestamp.json", func(b []byte) []byte { return bytes.Replace(b, []byte("snapshot.json"), []byte("other.json"), 1) }, ErrMalformed)
		}},
		{"no timestamp", func(w *world, _, _ *Published) error {
			w.setTamper(on("/timestamp.json", http.NotFound))
			return ErrAbsent
		}},
		{"targets missing", func(w *world, _, second *Published) error {
			w.setTamper(on("/"+version(second, targetsFile), func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusForbidden) }))
			return ErrAbsent
		}},
		{"a root that the trusted one has not signed", func(w *world, _, _ *Published) error {
			other := newWorld(w.t, InitOptions{})
			w.setTamper(on("/2.root.json", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(other.root) }))
			return ErrSignature
		}},
		{"a root that is not one", func(w *world, _, _ *Published) error {
			w.setTamper(on("/2.root.json", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte(`{"signed":{"_type":"root"}}`)) }))
			return ErrMalformed
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, InitOptions{})
			first := w.publish(start, map[string]string{"manifest.json": "one"})
			w.mustRefresh()
			second := w.publish(start.Add(time.Second), map[string]string{"manifest.json": "two"})
			want := tc.play(w, first, second)
			err := w.client().Refresh(t.Context())
			if !errors.Is(err, want) {
				t.Fatalf("got error %v, want %v", err, want)
			}
			if want == nil {
				return
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
			c := w.client()
			if _, err := c.Lookup("manifest.json"); err == nil {
				t.Error("a target is offered although the refresh failed")
			}
		})
	}
}

// restore makes the server show an earlier publication again.
func restore(w *world, p *Published) {
	old := filepath.Join(w.t.TempDir(), "timestamp.json")
	r, err := OpenRepository(RepositoryConfig{Dir: w.dir, KeysDir: w.keys, Now: start})
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Close()
	ts := metadata.Timestamp(start.Add(24 * time.Hour))
	ts.Signed.Version = p.Version
	ts.Signed.Meta[snapshotFile] = metadata.MetaFile(p.Version)
	if _, err := write(w.t.Context(), r, ts, metadata.TIMESTAMP, filepath.Dir(old), "timestamp.json", p.Version); err != nil {
		w.t.Fatal(err)
	}
	data, _ := os.ReadFile(old)
	w.setTamper(on("/timestamp.json", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(data) }))
}

func swap(w *world, name, by string, want error) error {
	data, err := os.ReadFile(filepath.Join(w.dir, part, by))
	if err != nil {
		w.t.Fatal(err)
	}
	w.setTamper(on("/"+name, func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(data) }))
	return want
}

func edit(w *world, suffix string, change func([]byte) []byte, want error) error {
	data, err := os.ReadFile(filepath.Join(w.dir, part, suffix))
	if err != nil {
		w.t.Fatal(err)
	}
	data = change(data)
	w.setTamper(on(suffix, func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(data) }))
	return want
}

// flip changes the year of the expiry: still well-formed, no longer signed.
func flip(w *world, suffix string, want error) error {
	return edit(w, suffix, func(b []byte) []byte { return bytes.Replace(b, []byte(`"2026-`), []byte(`"2036-`), 1) }, want)
}

func copyDir(t *testing.T, dir string) string {
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestDamagedMemoryIsForgotten(t *testing.T) {
	w := newWorld(t, InitOptions{})
	w.publish(start, map[string]string{"manifest.json": "one"})
	w.mustRefresh()
	files, err := os.ReadDir(w.store)
	if err != nil || len(files) < 4 {
		t.Fatalf("store holds %v, %v", files, err)
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(w.store, f.Name()), []byte(`{"signed":{"_type":"timestamp","meta":{"snapshot.json":null}}}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.mustRefresh()
}

func TestBadConfig(t *testing.T) {
	good := Config{TrustedRoot: []byte("x"), Dir: "x", MetadataURL: "http://h/m", TargetsURL: "http://h/t"}
	for name, change := range map[string]func(*Config){
		"no root":       func(c *Config) { c.TrustedRoot = nil },
		"no dir":        func(c *Config) { c.Dir = "" },
		"no metadata":   func(c *Config) { c.MetadataURL = "" },
		"file URL":      func(c *Config) { c.TargetsURL = "file:///x" },
		"broken URL":    func(c *Config) { c.TargetsURL = "http://[" },
		"URL, no host ": func(c *Config) { c.MetadataURL = "https:///x" },
	} {
		c := good
		change(&c)
		if _, err := NewClient(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	c, err := NewClient(good)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Lookup("x"); err == nil {
		t.Error("looked up before refresh")
	}
}

var _ io.ReadCloser = (*targetReader)(nil)
