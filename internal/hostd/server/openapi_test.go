// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostapi/execapi"
	"github.com/drydock-os/drydock/internal/hostd/engine"
	"github.com/drydock-os/drydock/internal/hostd/settings"
)

// description is the document, checked. Objects in it may have no other properties than those that it lists: clients
// pass over what they do not know, but a test must not.
func description(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range doc.Components.Schemas {
		objects(s, func(o *openapi3.Schema) {
			no := false
			o.AdditionalProperties.Has = &no
		})
	}
	return doc
}

// objects visits all schemas with properties, from s inwards.
func objects(s *openapi3.SchemaRef, visit func(*openapi3.Schema)) {
	if s == nil || s.Value == nil {
		return
	}
	if len(s.Value.Properties) > 0 {
		visit(s.Value)
	}
	inner := slices.Collect(maps.Values(s.Value.Properties))
	inner = append(inner, s.Value.Items, s.Value.AdditionalProperties.Schema)
	inner = append(inner, s.Value.AnyOf...)
	for _, i := range append(inner, s.Value.OneOf...) {
		objects(i, visit)
	}
}

// operations calls visit with each operation of the document but exec, which is no answer to a request.
func operations(t *testing.T, visit func(method, path string, o *openapi3.Operation)) {
	t.Helper()
	all := description(t).Paths.Map()
	for _, path := range slices.Sorted(maps.Keys(all)) {
		for method, o := range all[path].Operations() {
			if path != execapi.Path {
				visit(method, path, o)
			}
		}
	}
}

func TestOpenAPIHasEveryRoute(t *testing.T) {
	documented, served := []string(nil), []string{"GET " + execapi.Path}
	for path, item := range description(t).Paths.Map() {
		for method := range item.Operations() {
			documented = append(documented, method+" "+path)
		}
	}
	for r := range maps.Keys(New(Config{}).(*server).routes) {
		served = append(served, r.method+" "+r.path)
	}
	slices.Sort(documented)
	slices.Sort(served)
	if diff := cmp.Diff(documented, served); diff != "" {
		t.Errorf("(-documented +served)\n%s", diff)
	}
}

// said is an engine that gives one answer to everything.
type said struct {
	status *hostapi.UpdateStatus
	err    error
}

func (s said) Start(hostapi.Command) error                               { return s.err }
func (s said) Unblock(string) error                                      { return s.err }
func (s said) Status() (*hostapi.UpdateStatus, error)                    { return s.status, s.err }
func (s said) ProgressStatus() (*hostapi.UpdateStatus, error)            { return s.status, s.err }
func (s said) WaitStatus(context.Context) (*hostapi.UpdateStatus, error) { return s.status, s.err }

// leastStatus has nothing in it that may be left out.
func leastStatus() *hostapi.UpdateStatus {
	return &hostapi.UpdateStatus{UpdateState: hostapi.StateIdle, AvailableUpdates: []string{}, MostRecentCommand: &hostapi.CommandResult{
		Type: hostapi.CommandRefresh, Status: hostapi.StatusSuccess, Timestamp: "2026-01-01T00:00:00.000000000Z",
	}}
}

// surroundings are what answers depend on beside the request.
type surroundings struct {
	host      *host
	updates   said
	rebootErr error
	rights    *Rights
}

// asked sends a request and holds the answer to the document.
func asked(t *testing.T, in surroundings, req *http.Request) (code int, text string) {
	t.Helper()
	h := in.host
	api := New(Config{
		OS: func() hostapi.OS {
			return hostapi.OS{
				Arch: "x86_64", BuildID: "abc", PrettyName: "Test", VariantID: "aws-k8s-1.33", VersionID: "1.2.3",
				BootID: "b", Slot: "A", Boot: &hostapi.Boot{Slot: "A", Checks: []hostapi.BootCheck{{Name: "api", Passed: true}}},
			}
		},
		Updates: in.updates, Reboot: func(context.Context) error { return in.rebootErr }, Rights: in.rights,
		Store: h.store, Model: settings.For(settings.ParseVariant("aws-k8s-1.33")), Applies: NewApplies(AppliesConfig{
			Applier: applyFunc(func(context.Context, []string) error { return nil }), Log: slog.New(slog.DiscardHandler),
		}), Log: slog.New(slog.DiscardHandler),
	})
	req.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	api.ServeHTTP(recorder, req)
	reply := recorder.Result()
	defer reply.Body.Close()
	data, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	h.check(req, reply, data)
	return reply.StatusCode, string(data)
}

// A parameter that a route reads may not be empty, and one that it does not know is passed over: that tells them apart.
func TestOpenAPIHasEveryParameter(t *testing.T) {
	known := map[string]bool{}
	operations(t, func(_, _ string, o *openapi3.Operation) {
		for _, p := range o.Parameters {
			known[p.Value.Name] = true
		}
	})
	in := surroundings{host: documented(t, newHost(t, nil, true)), updates: said{status: leastStatus()}}
	bodies := map[string]string{"/settings": "{}", "/settings/keypair": `{"request_payload":[]}`}
	operations(t, func(method, path string, o *openapi3.Operation) {
		for _, name := range slices.Sorted(maps.Keys(known)) {
			query, documented := url.Values{}, false
			for _, p := range o.Parameters {
				documented = documented || p.Value.Name == name
				if p.Value.Required {
					query.Set(p.Value.Name, "settings.motd")
				}
			}
			query.Set(name, "")
			req := httptest.NewRequest(method, path+"?"+query.Encode(), strings.NewReader(bodies[path]))
			code, text := asked(t, in, req)
			if refused := code == 400 && strings.Contains(text, name); refused != documented {
				t.Errorf("%s %s: parameter %s is documented: %v; given empty: %d %s", method, path, name, documented, code, text)
			}
		}
	})
}

// Every status that the document names is one that is answered with, and no answer has another one. What is the host's
// own fault has no list: its disk may fail anywhere.
func TestOpenAPIHasEveryStatus(t *testing.T) {
	h, fresh := documented(t, newHost(t, nil, true)), surroundings{host: documented(t, newHost(t, nil, false))}
	failing := func(err error) surroundings { return surroundings{host: h, updates: said{err: err}} }
	fine, busy := surroundings{host: h, updates: said{status: leastStatus()}}, failing(engine.ErrBusy)
	blocked := failing(&engine.BlockedError{})
	refresh, prepare, activate, deactivate := hostapi.PathRefreshUpdates, hostapi.PathPrepareUpdate, hostapi.PathActivateUpdate, hostapi.PathDeactivateUpdate
	unblock := hostapi.PathUnblockUpdate + "?version=1.0.0"
	seen := map[string]map[string]bool{}
	note := func(req *http.Request, in surroundings, want int) {
		t.Helper()
		code, text := asked(t, in, req)
		if code != want {
			t.Errorf("%s %s: %d %s, want %d", req.Method, req.URL, code, text, want)
		}
		operation := req.Method + " " + req.URL.Path
		if seen[operation] == nil {
			seen[operation] = map[string]bool{}
		}
		seen[operation][strconv.Itoa(want)] = true
	}
	for _, c := range []struct {
		method, target, body string
		in                   surroundings
		want                 int
	}{
		{"GET", "/", "", fine, 200},
		{"GET", "/?prefix=status", "", fine, 200},
		{"GET", "/", "", fresh, 404},
		{"GET", "/settings", "", fine, 200},
		{"GET", "/settings", "", fresh, 404},
		{"PATCH", "/settings", `{"motd":"x"}`, fine, 204},
		{"POST", "/tx/commit", "", fine, 200},
		{"PATCH", "/settings/keypair", `{"request_payload":["motd=x"]}`, fine, 204},
		{"POST", "/tx/commit_and_apply", "", fine, 200},
		{"GET", "/tx", "", fine, 200},
		{"DELETE", "/tx", "", fine, 200},
		{"GET", "/tx/list", "", fine, 200},
		{"POST", "/tx/commit", "", fine, 422},
		{"POST", "/tx/apply", "", fine, 204},
		{"POST", "/tx/commit_and_apply", "", fine, 422},
		{"GET", "/metadata/affected-services?keys=settings.motd", "", fine, 200},
		{"GET", "/metadata/setting-generators", "", fine, 200},
		{"GET", "/metadata/templates?keys=settings.motd", "", fine, 200},
		{"GET", "/services", "", fine, 200},
		{"GET", "/services?names=nope", "", fine, 404},
		{"GET", "/configuration-files", "", fine, 200},
		{"GET", "/configuration-files?names=nope", "", fine, 404},
		{"GET", "/os", "", fine, 200},
		{"GET", "/openapi.yaml", "", fine, 200},
		{"GET", hostapi.PathReport, "", fine, 200},
		{"GET", hostapi.PathUpdateStatus, "", fine, 200},
		{"GET", hostapi.PathUpdateStatus, "", failing(engine.ErrNoStatus), 404},
		{"GET", hostapi.PathUpdateStatus, "", busy, 423},
		{"POST", refresh, "", fine, 204},
		{"POST", refresh, "", busy, 423},
		{"POST", refresh, "", failing(engine.ErrStopping), 503},
		{"POST", prepare, "", fine, 204},
		{"POST", prepare, "", busy, 423},
		{"POST", prepare, "", failing(engine.ErrNotAllowed), 409},
		{"POST", prepare, "", blocked, 409},
		{"POST", prepare, "", failing(engine.ErrNoUpdate), 404},
		{"POST", activate, "", fine, 204},
		{"POST", activate, "", busy, 423},
		{"POST", activate, "", blocked, 409},
		{"POST", activate, "", failing(engine.ErrNothingStaged), 404},
		{"POST", deactivate, "", fine, 204},
		{"POST", deactivate, "", busy, 423},
		{"POST", deactivate, "", failing(engine.ErrNotAllowed), 409},
		{"POST", unblock, "", fine, 204},
		{"POST", unblock, "", busy, 423},
		{"POST", unblock, "", failing(engine.ErrNotBlocked), 404},
		{"POST", hostapi.PathReboot, "", fine, 204},
		{"POST", hostapi.PathReboot, "", surroundings{host: h, rebootErr: errors.New("it said no")}, 500},
	} {
		note(httptest.NewRequest(c.method, c.target, strings.NewReader(c.body)), c.in, c.want)
	}
	operations(t, func(method, path string, o *openapi3.Operation) {
		note(httptest.NewRequest(method, path+"?%zz", nil), fine, 400)
		if method != http.MethodGet {
			note(httptest.NewRequest(method, path, nil), surroundings{host: h, rights: &Rights{}}, 403)
		}
		if o.RequestBody != nil {
			large := httptest.NewRequest(method, path, strings.NewReader("{}"))
			large.ContentLength = hostapi.MaxBody + 1
			note(large, fine, 413)
		}
		for code := range o.Responses.Map() {
			if code != "5XX" && !seen[method+" "+path][code] {
				t.Errorf("%s %s: status %s is documented, and no request here is answered with it", method, path, code)
			}
		}
	})
}

// What the document says about the status is all that there can be in one, and all of that can be there.
func TestOpenAPIHasEveryFieldOfTheStatus(t *testing.T) {
	image := hostapi.Image{Arch: "x86_64", Version: "1.1.0", Variant: "metal"}
	slot := &hostapi.Partition{Image: image, NextToBoot: true}
	whole := &hostapi.UpdateStatus{
		UpdateState: hostapi.StateReady, AvailableUpdates: []string{"1.1.0"}, ChosenUpdate: &image, ActivePartition: slot, StagingPartition: slot,
		MostRecentCommand: &hostapi.CommandResult{
			Type: hostapi.CommandPrepare, Status: hostapi.StatusFailed, Timestamp: "2026-01-01T00:00:00.000000000Z", ExitStatus: 1, Stderr: "why", Interrupted: true,
		},
		BlockedUpdates: []hostapi.BlockedUpdate{{Image: image, Reason: "why", Since: "2026-01-01T00:00:00Z"}},
		HeldUpdate:     &hostapi.HeldUpdate{Version: "1.1.0", Reason: hostapi.HeldByLock, Until: "2026-01-01T00:00:00Z", LockedTo: "1.0.0"},
		Boot:           &hostapi.Boot{Slot: "A", Checks: []hostapi.BootCheck{{Name: "api", Error: "why"}}},
		Progress:       &hostapi.Progress{Command: hostapi.CommandPrepare, Target: "x", Bytes: 1, Total: 2},
	}
	h := documented(t, newHost(t, nil, false))
	for _, s := range []*hostapi.UpdateStatus{whole, leastStatus()} {
		_, _ = asked(t, surroundings{host: h, updates: said{status: s}}, httptest.NewRequest("GET", hostapi.PathUpdateStatus, nil))
	}
	doc := description(t)
	schema := doc.Components.Schemas["UpdateStatus"]
	objects(schema, func(o *openapi3.Schema) { o.Required = slices.Collect(maps.Keys(o.Properties)) })
	d, err := jsonDocument(whole)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal(d.data, &value); err != nil {
		t.Fatal(err)
	}
	if err := schema.Value.VisitJSON(value, openapi3.EnableJSONSchema2020()); err != nil {
		t.Errorf("documented, but in no status: %v", err)
	}
}
