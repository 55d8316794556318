// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package firstboot

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drydock-os/drydock/internal/hostd/settings"
)

var model = settings.For(settings.ParseVariant("aws-k8s-1.33"))

func packed(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUserDataIsUnpacked(t *testing.T) {
	text := "[settings]\nmotd = 'x'\n[settings.kubernetes.node-labels]\n'a.b/c' = 'd'\n"
	zipped := packed(t, text)
	for name, data := range map[string][]byte{
		"plain": []byte(text), "gzip": zipped,
		"base64":         []byte(base64.StdEncoding.EncodeToString([]byte(text)) + "\n"),
		"gzip in base64": []byte(base64.StdEncoding.EncodeToString(zipped)),
	} {
		got, err := Parse(data, model)
		if want := `{"kubernetes":{"node-labels":{"a.b/c":"d"}},"motd":"x"}`; err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

// mistake is what an *Error begins with.
type mistake struct {
	Line        int
	Key, Reason string
}

func TestWrongUserDataNamesLineAndKey(t *testing.T) {
	for _, tc := range []struct {
		text string
		want mistake
	}{
		{"[settings]\nmotd = 'x'\n\n[settings.kubernetes]\ncluster-nam = 'x'\n", mistake{5, "settings.kubernetes.cluster-nam", "unknown setting"}},
		{"[settings.updates]\n# seed\nseed = -1\n", mistake{3, "settings.updates.seed", "-1 is not valid"}},
		{"[settings]\nkubernetes = { max-pods = 'many' }\n", mistake{2, "settings.kubernetes.max-pods", "is not valid"}},
		{"[settings]\nmotd = 'x'\nmotd = 'y'\n", mistake{3, "settings.motd", "already"}},
		{"[settings]\nmotd = \n", mistake{2, "", ""}},
		{"[settings]\n[setings.updates]\nseed = 1\n", mistake{2, "setings", "unknown table"}},
		{"motd = 'x'", mistake{1, "motd", "unknown table"}},
		{"#!/bin/sh\necho\n", mistake{2, "", ""}},
		{"[settings]\nmotd = 2020-01-01\n", mistake{2, "settings.motd", "no setting is a date"}},
		{"[settings.updates]\nseed = inf\n", mistake{2, "settings.updates.seed", "is not valid"}},
		{"[settings.updates]\nseed = 1.0\n", mistake{2, "settings.updates.seed", "1.0 is not valid: it must be a whole number"}},
		{"[settings.kubernetes.node-labels]\nx = 'y'\n'a b' = 'c'\n", mistake{3, "settings.kubernetes.node-labels.a b", "the name"}},
		{"[settings.kubernetes.node-labels]\n'" + strings.Repeat("a", 200) + "' = 'c'\n", mistake{2, "settings.kubernetes.node-labels." + strings.Repeat("a", 128) + "…", "the name"}},
		{"[settings.kubernetes.node-taints]\ndedicated = [\n  'a:NoSchedule',\n  # for the big ones\n  'b:NoSchedule', 'c d:NoSchedule',\n]\n", mistake{5, "settings.kubernetes.node-taints.dedicated", `item 3, "c d:NoSchedule", is not valid: it must be `}},
		{"[settings.ntp]\ntime-servers = ['a', 'b', 7]\n", mistake{2, "settings.ntp.time-servers", "item 3, 7, is not valid"}},
		{"[[settings.container-registry.mirrors]]\nregistry = 'a'\nendpoint = ['b']\n\n[[settings.container-registry.mirrors]]\nregistry = 'c'\n", mistake{5, "settings.container-registry.mirrors", "item 2, "}},
		{"\ufeff[settings]\r\nmotd = 1\r\n", mistake{2, "settings.motd", "it must be text"}},
		{"[[settings]]\nmotd = 'x'\n", mistake{1, "settings", "it must be one table"}},
		{"settings = 'x'\n", mistake{1, "settings", "it must be one table"}},
		{"[settings]\nkubernetes = 'x'\n", mistake{2, "settings.kubernetes", "it must be an object"}},
		{"", mistake{0, "", "there is no table settings"}},
		{"\x1f\x8bxx", mistake{0, "", "unpacking gzip"}},
	} {
		_, err := Parse([]byte(tc.text), model)
		got, ok := errors.AsType[*Error](err)
		if !ok || got.Line != tc.want.Line || got.Key != tc.want.Key || !strings.Contains(got.Reason, tc.want.Reason) {
			t.Errorf("%q: %+v (%v), want %+v", tc.text, got, err, tc.want)
		}
	}
	if _, err := Parse(packed(t, strings.Repeat("#", 2*MaxUserData)), model); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("a bomb: %v", err)
	}
}

// What is accepted is settings that the model accepts too.
func FuzzParse(f *testing.F) {
	f.Add([]byte("[settings]\nmotd = 'x'\n"))
	f.Add([]byte("[settings.kubernetes.node-labels]\n'a.b/c' = 'd'\n"))
	f.Add([]byte("W3NldHRpbmdzXQo="))
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := Parse(data, model)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Errorf("%T: %v", err, err)
			}
			return
		}
		if _, err := model.Parse(out); err != nil {
			t.Errorf("accepted %s: %v", out, err)
		}
	})
}

// api keeps what it is told.
type api struct {
	requests []string
	status   int
}

func (a *api) Request(_ context.Context, method, uri string, body []byte) (int, []byte, error) {
	a.requests = append(a.requests, strings.TrimSpace(method+" "+uri+" "+string(body)))
	return a.status, []byte("said so"), nil
}

type cloud struct {
	data   string
	region string
	asked  int
}

func (c *cloud) UserData(context.Context) ([]byte, error) { c.asked++; return []byte(c.data), nil }
func (c *cloud) Region(context.Context) (string, error)   { return c.region, nil }

func write(t *testing.T, root, name, text string) {
	t.Helper()
	name = filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSourcesInOrderOnlyOnce(t *testing.T) {
	root, a, c := t.TempDir(), &api{status: 204}, &cloud{data: "[settings]\nmotd='cloud'", region: "eu-west-1"}
	for name, motd := range map[string]string{"local/user-data-defaults.toml": "defaults", "var/lib/bottlerocket/user-data.toml": "local",
		"local/user-data-overrides.toml": "overrides"} {
		write(t, root, name, "[settings]\nmotd = '"+motd+"'\n")
	}
	cfg := Config{Root: root, API: a, Model: model, Cloud: c, Log: slog.New(slog.DiscardHandler)}
	for range 2 {
		if err := Run(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	patch := "PATCH /settings?tx=bottlerocket-launch "
	if diff := cmp.Diff([]string{patch + `{"motd":"defaults"}`, patch + `{"motd":"local"}`, patch + `{"aws":{"region":"eu-west-1"}}`,
		patch + `{"motd":"cloud"}`, patch + `{"motd":"overrides"}`, "POST /tx/commit?tx=bottlerocket-launch"}, a.requests); diff != "" {
		t.Error(diff)
	}
}

func TestOneWrongSourceStopsAll(t *testing.T) {
	root, a := t.TempDir(), &api{status: 204}
	write(t, root, "local/user-data-defaults.toml", "[settings]\nmotd = 'x'\n")
	write(t, root, "local/user-data-overrides.toml", "[settings]\nmtod = 'x'\n")
	cfg := Config{Root: root, API: a, Model: model, Log: slog.New(slog.DiscardHandler)}
	err := Run(t.Context(), cfg)
	if want := "reading /local/user-data-overrides.toml: line 2: settings.mtod: unknown setting"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if len(a.requests) > 0 {
		t.Errorf("asked for %q", a.requests)
	}
	// Once it is right, the same boot can go on; a refusal leaves no mark.
	write(t, root, "local/user-data-overrides.toml", "[settings]\nmotd = 'y'\n")
	a.status = 500
	if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "status 500: said so") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(root, marker)); err == nil {
		t.Error("marked after a failure")
	}
	a.status = 204
	if err := Run(t.Context(), cfg); err != nil {
		t.Error(err)
	}
}

func TestCommitOfNothingIsFine(t *testing.T) {
	for status, fine := range map[int]bool{200: true, 422: true, 400: false, 500: false} {
		if err := Commit(t.Context(), &api{status: status}, "x"); (err == nil) != fine {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestJSONKeepsNumbers(t *testing.T) {
	out, err := Parse([]byte("[settings.updates]\nseed = 2047\nignore-waves = true\n"), model)
	var v any
	if err != nil || json.Unmarshal(out, &v) != nil || string(out) != `{"updates":{"ignore-waves":true,"seed":2047}}` {
		t.Errorf("%s, %v", out, err)
	}
}
