// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostd/engine"
	"github.com/drydock-os/drydock/internal/hostd/execute"
	"github.com/drydock-os/drydock/internal/hostd/settings"
	"github.com/drydock-os/drydock/internal/hostd/store"
	"github.com/drydock-os/drydock/internal/hostd/storewolf"
)

// host is the API of one host, on a real socket.
type host struct {
	t      testing.TB
	client *http.Client
	store  *store.Store
	doc    *openapi3.T
	log    *lockedBuffer
	root   string
	socket string
}

// lockedBuffer is a log that is written and read at once.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// noUpdates refuses every update command.
type noUpdates struct{}

func (noUpdates) Start(hostapi.Command) error            { return engine.ErrBusy }
func (noUpdates) Status() (*hostapi.UpdateStatus, error) { return nil, engine.ErrNoStatus }
func (noUpdates) ProgressStatus() (*hostapi.UpdateStatus, error) {
	return nil, engine.ErrNoStatus
}
func (noUpdates) Unblock(string) error { return engine.ErrNotBlocked }
func (noUpdates) WaitStatus(context.Context) (*hostapi.UpdateStatus, error) {
	return nil, engine.ErrNoStatus
}

// applyFunc is an Applier.
type applyFunc func(ctx context.Context, keys []string) error

func (f applyFunc) Apply(ctx context.Context, keys []string) error { return f(ctx, keys) }

// newHost serves the API for a fresh aws-k8s host, with its defaults committed when launched.
func newHost(t testing.TB, applier Applier, launched bool) *host {
	t.Helper()
	h := hostAt(t, t.TempDir(), applier)
	if launched {
		if _, err := h.store.Commit(storewolf.LaunchTransaction); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// hostAt serves the API for the host whose files are below root.
func hostAt(t testing.TB, root string, applier Applier) *host {
	t.Helper()
	h := &host{t: t, log: &lockedBuffer{}, root: root}
	log := slog.New(slog.NewTextHandler(h.log, nil))
	var err error
	h.store, err = storewolf.Prepare(storewolf.Config{Root: h.root, Version: "1.2.3", Variant: "aws-k8s-1.33", BootID: "b", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.store.Close() })
	applies := NewApplies(AppliesConfig{Applier: applier, Log: log})
	var parts sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	parts.Go(func() { applies.Run(ctx) })
	h.socket = filepath.Join(t.TempDir(), "api.sock")
	listener, err := net.Listen("unix", h.socket)
	if err != nil {
		t.Fatal(err)
	}
	api := &http.Server{Handler: New(Config{
		OS: func() hostapi.OS {
			return hostapi.OS{Arch: "x86_64", BuildID: "abc", PrettyName: "Test", VariantID: "aws-k8s-1.33", VersionID: "1.2.3"}
		},
		Updates: noUpdates{}, Reboot: func(context.Context) error { return errors.New("it said no") },
		Exec:  execute.New(execute.Config{Argv: func(string, []string, bool) ([]string, error) { return nil, errors.New("no programs here") }, Log: log}),
		Store: h.store, Model: settings.For(settings.ParseVariant("aws-k8s-1.33")), Applies: applies, Log: log,
	})}
	parts.Go(func() { _ = api.Serve(listener) })
	t.Cleanup(func() { stop(); api.Close(); parts.Wait() })
	h.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", h.socket)
	}}}
	t.Cleanup(h.client.CloseIdleConnections)
	return h
}

// do sends one request; a body goes as JSON. It holds every answer to the OpenAPI document.
func (h *host) do(method, target, body string) (int, string) {
	h.t.Helper()
	req, err := http.NewRequest(method, "http://localhost"+target, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json") // on every request, as clients of the original do
	reply, err := h.client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer reply.Body.Close()
	data, err := io.ReadAll(reply.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	if h.doc != nil {
		h.check(req, reply, data)
	}
	return reply.StatusCode, string(data)
}

// check compares an answer with what the document says about it.
func (h *host) check(req *http.Request, reply *http.Response, data []byte) {
	h.t.Helper()
	item := h.doc.Paths.Value(req.URL.Path)
	if item == nil || item.GetOperation(req.Method) == nil {
		if reply.StatusCode != http.StatusNotFound || len(data) > 0 {
			h.t.Errorf("%s %s is not documented, and answered with %d %s", req.Method, req.URL.Path, reply.StatusCode, data)
		}
		return
	}
	want := item.GetOperation(req.Method).Responses.Status(reply.StatusCode)
	if want == nil {
		h.t.Errorf("%s %s: status %d is not documented", req.Method, req.URL.Path, reply.StatusCode)
		return
	}
	if len(want.Value.Content) == 0 {
		if len(data) > 0 {
			h.t.Errorf("%s %s: an undocumented body: %s", req.Method, req.URL.Path, data)
		}
		return
	}
	media := want.Value.Content.Get(reply.Header.Get("Content-Type"))
	if media == nil {
		h.t.Errorf("%s %s: undocumented content type %s", req.Method, req.URL.Path, reply.Header.Get("Content-Type"))
		return
	}
	var value any = string(data)
	if strings.HasPrefix(reply.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(data, &value); err != nil {
			h.t.Errorf("%s %s: %v", req.Method, req.URL.Path, err)
		}
	}
	if err := media.Schema.Value.VisitJSON(value, openapi3.EnableJSONSchema2020()); err != nil {
		h.t.Errorf("%s %s: %v", req.Method, req.URL.Path, err)
	}
}
