// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package hostapitest is the contract test of the host API. The real daemon and every fake of it must pass.
package hostapitest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drydock-os/drydock/internal/hostapi"
)

// Host is a host that has just booted, has run no update command, and is offered an update.
type Host struct {
	Socket  string
	Running string // version
	Offered string // version

	// Hold makes the next command last until release is called.
	Hold func(hostapi.Command) (release func())
}

// Run holds the hosts that start makes to the contract.
func Run(t *testing.T, start func(*testing.T) Host) {
	for name, test := range map[string]func(*testing.T, *suite){
		"Identity":     identity,
		"HTTP":         plainHTTP,
		"Refusals":     refusals,
		"StatusFormat": statusFormat,
		"Cycle":        cycle,
		"Busy":         busy,
		"Reboot":       reboot,
	} {
		t.Run(name, func(t *testing.T) {
			host := start(t)
			s := &suite{Host: host, Client: hostapi.New(host.Socket)}
			t.Cleanup(s.Close)
			s.raw = &http.Client{Timeout: time.Minute, Transport: &http.Transport{
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, "unix", host.Socket)
				},
				DisableKeepAlives: true,
			}}
			test(t, s)
		})
	}
}

type suite struct {
	Host
	*hostapi.Client
	raw *http.Client
}

func identity(t *testing.T, s *suite) {
	id, err := s.OS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if id.VersionID != s.Running || id.Arch == "" || id.BuildID == "" || id.PrettyName == "" || id.VariantID == "" {
		t.Errorf("GET /os: %+v, running is %s", id, s.Running)
	}
}

// request makes a request that the client would not.
func (s *suite) request(t *testing.T, method, target string, body io.Reader, header map[string]string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://localhost"+target, body)
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range header {
		if key == "Host" {
			req.Host = value
		}
		req.Header.Set(key, value)
	}
	resp, err := s.raw.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	return resp.StatusCode, string(data), resp.Header
}

func plainHTTP(t *testing.T, s *suite) {
	for _, tc := range []struct {
		name, method, target string
		body                 string
		header               map[string]string
		code                 int
		text                 string // "" = empty body, "*" = any
	}{
		{"unknown path", "GET", "/unknown", "", nil, 404, ""},
		{"trailing slash", "GET", "/os/", "", nil, 404, ""},
		{"case matters", "GET", "/OS", "", nil, 404, ""},
		{"unclean path", "GET", "//os", "", nil, 404, ""},
		{"wrong method", "POST", "/os", "", nil, 404, ""},
		{"wrong method on an action", "GET", "/actions/reboot", "", nil, 404, ""},
		{"HEAD", "HEAD", "/os", "", nil, 404, ""},
		{"any host", "GET", "/os", "", map[string]string{"Host": "2f72756e2f6170692e736f636b"}, 200, "*"},
		{"content type on GET", "GET", "/os", "", map[string]string{"Content-Type": "application/json"}, 200, "*"},
		{"unknown query", "GET", "/os?x=y", "", nil, 200, "*"},
		{"broken query", "GET", "/updates/status?wait=%zz", "", nil, 400, "*"},
		{"bad wait", "GET", "/updates/status?wait=soon", "", nil, 400, "*"},
		{"body on an action", "POST", "/actions/refresh-updates", "{}", nil, 204, ""},
	} {
		code, text, _ := s.request(t, tc.method, tc.target, strings.NewReader(tc.body), tc.header)
		if code != tc.code || tc.text != "*" && text != tc.text {
			t.Errorf("%s: %d %q, want %d %q", tc.name, code, text, tc.code, tc.text)
		}
	}
	code, _, _ := s.request(t, "POST", "/actions/refresh-updates", bytes.NewReader(make([]byte, hostapi.MaxBody+1)), nil)
	if code != http.StatusRequestEntityTooLarge {
		t.Errorf("body beyond the limit: %d", code)
	}
	_, text, header := s.request(t, "GET", "/os", nil, nil)
	if got := header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content type of a reply: %q", got)
	}
	if strings.ContainsAny(text, "\n\t") || strings.Contains(text, `": `) {
		t.Errorf("reply is not compact: %q", text)
	}
}

// refusals are the answers to commands that do not fit the state of a host just booted.
func refusals(t *testing.T, s *suite) {
	if _, err := s.UpdateStatus(t.Context()); !errors.Is(err, hostapi.ErrNotFound) {
		t.Errorf("status before the first command: %v", err)
	}
	for name, call := range map[string]func(context.Context) error{"prepare": s.Prepare, "activate": s.Activate, "deactivate": s.Deactivate} {
		err := call(t.Context())
		status, ok := errors.AsType[*hostapi.StatusError](err)
		if !ok || !errors.Is(err, hostapi.ErrNotAllowed) || status.Body != "Update action not allowed according to update state" {
			t.Errorf("%s: %v", name, err)
		}
	}
	status, err := s.UpdateStatus(t.Context())
	if err != nil || status.UpdateState != hostapi.StateIdle {
		t.Errorf("state %q, %v after refused commands", status.UpdateState, err)
	}
}

func (s *suite) command(t *testing.T, start func(context.Context) error) hostapi.UpdateStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := start(ctx); err != nil {
		t.Fatal(err)
	}
	status, err := s.WaitUpdateStatus(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// statusFormat checks what unmodified agents depend on, to the letter.
func statusFormat(t *testing.T, s *suite) {
	s.command(t, s.Refresh)
	code, text, _ := s.request(t, "GET", "/updates/status", nil, nil)
	if code != 200 {
		t.Fatalf("status: %d %s", code, text)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		t.Fatal(err)
	}
	want := []string{"active_partition", "available_updates", "chosen_update", "most_recent_command", "staging_partition", "update_state"}
	additions := []string{"blocked_updates", "held_update", "boot", "progress"} // beside which everything is as it always was
	got := slices.DeleteFunc(slices.Sorted(maps.Keys(raw)), func(k string) bool { return slices.Contains(additions, k) })
	if !slices.Equal(got, want) {
		t.Errorf("keys %v, want %v", got, want)
	}
	if string(raw["staging_partition"]) != "null" || string(raw["update_state"]) != `"Available"` {
		t.Errorf("staging_partition %s, update_state %s", raw["staging_partition"], raw["update_state"])
	}
	var versions []string
	if err := json.Unmarshal(raw["available_updates"], &versions); err != nil || !slices.Contains(versions, s.Offered) {
		t.Errorf("available_updates %s", raw["available_updates"])
	}
	var result map[string]any
	if err := json.Unmarshal(raw["most_recent_command"], &result); err != nil {
		t.Fatal(err)
	}
	if result["cmd_type"] != "refresh" || result["cmd_status"] != "Success" || result["exit_status"] != 0.0 || result["stderr"] != "" {
		t.Errorf("most_recent_command %s", raw["most_recent_command"])
	}
	stamp, _ := result["timestamp"].(string)
	if at, err := time.Parse(time.RFC3339Nano, stamp); err != nil || !strings.HasSuffix(stamp, "Z") || time.Since(at).Abs() > time.Hour {
		t.Errorf("timestamp %q: %v", stamp, err)
	}
	if again := s.command(t, s.Refresh); again.MostRecentCommand.Timestamp == stamp {
		t.Error("two results have the same timestamp")
	}
}

// cycle goes through all states.
func cycle(t *testing.T, s *suite) {
	for _, step := range []struct {
		name  string
		start func(context.Context) error
		state hostapi.State
		next  bool // staging partition is next to boot
	}{
		{"refresh", s.Refresh, hostapi.StateAvailable, false},
		{"prepare", s.Prepare, hostapi.StateStaged, false},
		{"refresh when staged", s.Refresh, hostapi.StateStaged, false},
		{"prepare again", s.Prepare, hostapi.StateStaged, false},
		{"activate", s.Activate, hostapi.StateReady, true},
		{"refresh when ready", s.Refresh, hostapi.StateReady, true},
		{"deactivate", s.Deactivate, hostapi.StateStaged, false},
		{"activate again", s.Activate, hostapi.StateReady, true},
	} {
		status := s.command(t, step.start)
		if c := status.MostRecentCommand; c.Status != hostapi.StatusSuccess || status.UpdateState != step.state {
			t.Fatalf("%s: %+v, state %s, want %s", step.name, c, status.UpdateState, step.state)
		}
		if status.ChosenUpdate == nil || status.ChosenUpdate.Version != s.Offered {
			t.Errorf("%s: chosen update %+v", step.name, status.ChosenUpdate)
		}
		if a := status.ActivePartition; a == nil || a.Image.Version != s.Running || a.NextToBoot == step.next {
			t.Errorf("%s: active partition %+v", step.name, a)
		}
		p := status.StagingPartition
		if step.state == hostapi.StateAvailable {
			if p != nil {
				t.Errorf("%s: staging partition %+v", step.name, p)
			}
		} else if p == nil || p.Image.Version != s.Offered || p.NextToBoot != step.next {
			t.Errorf("%s: staging partition %+v", step.name, p)
		}
	}
	for name, call := range map[string]func(context.Context) error{"prepare": s.Prepare, "activate": s.Activate} {
		if err := call(t.Context()); !errors.Is(err, hostapi.ErrNotAllowed) {
			t.Errorf("%s in Ready: %v", name, err)
		}
	}
}

// busy checks that nothing old is told while a command runs.
func busy(t *testing.T, s *suite) {
	release := s.Hold(hostapi.CommandRefresh)
	defer release()
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	code, text, _ := s.request(t, "GET", "/updates/status", nil, nil)
	if code != http.StatusLocked || text == "" {
		t.Errorf("status at once after the start: %d %q", code, text)
	}
	if code, text, _ := s.request(t, "POST", "/actions/refresh-updates", nil, nil); code != http.StatusLocked || text != "Update lock held" {
		t.Errorf("second command: %d %q", code, text)
	}
	if code, _, _ := s.request(t, "GET", "/updates/status?wait=10ms", nil, nil); code != http.StatusLocked {
		t.Errorf("waiting too short: %d", code)
	}
	waited := make(chan error, 1)
	go func() {
		status, err := s.WaitUpdateStatus(t.Context())
		if err == nil && status.UpdateState != hostapi.StateAvailable {
			err = errors.New("state " + string(status.UpdateState))
		}
		waited <- err
	}()
	release()
	select {
	case err := <-waited:
		if err != nil {
			t.Errorf("waiting for the end: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("waiting for the end took a minute")
	}
}

func reboot(t *testing.T, s *suite) {
	if err := s.Reboot(t.Context()); err != nil {
		t.Error(err)
	}
}
