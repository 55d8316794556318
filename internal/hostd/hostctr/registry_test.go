// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostctr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestHostsOfARegistry(t *testing.T) {
	r, err := ParseRegistries([]byte(`
[mirrors."docker.io"]
endpoints = ["https://mirror.example", "http://10.0.0.1:5000/cache/v2", "localhost:5000"]
[mirrors."*"]
endpoints = ["https://all.example"]
`))
	if err != nil {
		t.Fatal(err)
	}
	for registry, want := range map[string][]string{
		"docker.io":   {"https://mirror.example/v2", "http://10.0.0.1:5000/cache/v2", "http://localhost:5000/v2", "https://registry-1.docker.io/v2"},
		"ghcr.io":     {"https://all.example/v2", "https://ghcr.io/v2"},
		"[::1]:5000":  {"https://all.example/v2", "http://[::1]:5000/v2"},
		"example:443": {"https://all.example/v2", "https://example:443/v2"},
	} {
		hosts, err := r.hosts(t.Context(), http.DefaultClient, AWS{})(registry)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, h := range hosts {
			got = append(got, h.Scheme+"://"+h.Host+h.Path)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", registry, diff)
		}
	}
}

func TestWrongRegistryConfigurationsAreRefusedWithoutTellingSecrets(t *testing.T) {
	for _, text := range []string{
		"[creds.\"x\"]\npassword = s3cret", "[creds]\nx = \"s3cret\"", "[creds.\"x\"]\nauth = \"s3cret\"", "[creds.\"x\"]\nauth = \"czNjcmV0\"",
		"[mirrors.\"x\"]\nendpoints = [\"ftp://me:s3cret@x\"]", "[mirrors.\"x\"]\nendpoints = [\"http://s3cret:%zz\"]", "mirrors = 1",
	} {
		_, err := ParseRegistries([]byte(text))
		if err == nil || strings.Contains(err.Error(), "s3cret") || !strings.HasPrefix(err.Error(), "reading registry configuration: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestLogins(t *testing.T) {
	for _, c := range []struct {
		credential   Credential
		user, secret string
	}{
		{Credential{Username: "me", Password: "p"}, "me", "p"},
		{Credential{Auth: "bWU6YTpi"}, "me", "a:b"},
		{Credential{IdentityToken: "t"}, "", "t"},
		{Credential{}, "", ""},
	} {
		user, secret, err := c.credential.login()
		if err != nil || user != c.user || secret != c.secret {
			t.Errorf("%+v: %q, %q, %v", c.credential, user, secret, err)
		}
	}
}

// FuzzRegistries: what is accepted gives hosts for every registry.
func FuzzRegistries(f *testing.F) {
	f.Add("[mirrors.\"x\"]\nendpoints = [\"http://y\", \"z:5000/a\"]\n[creds.\"x\"]\nauth = \"bWU6YTpi\"\n", "x")
	f.Add("[mirrors.\"*\"]\nendpoints = []\n[creds.\"x\"]\nidentitytoken = \"t\"\n", "docker.io")
	f.Fuzz(func(t *testing.T, text, registry string) {
		r, err := ParseRegistries([]byte(text))
		if err != nil {
			return
		}
		if _, err := endpoint(registry); err != nil || strings.Contains(registry, "://") {
			return
		}
		hosts, err := r.hosts(t.Context(), http.DefaultClient, AWS{})(registry)
		if err != nil || len(hosts) == 0 {
			t.Errorf("%d hosts, %v", len(hosts), err)
		}
	})
}

// Five tries, with pauses of 1, 2, 4 and 8 seconds and what is added to each.
func TestPausesBetweenTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var at []time.Duration
		err := retry(t.Context(), slog.New(slog.DiscardHandler), func(p time.Duration) time.Duration { return p + 2*time.Second }, func(context.Context) error {
			at = append(at, time.Since(start))
			return errors.New("down")
		})
		if err == nil || !strings.Contains(err.Error(), "down") {
			t.Errorf("got %v", err)
		}
		s := time.Second
		if diff := cmp.Diff([]time.Duration{0, 3 * s, 7 * s, 13 * s, 23 * s}, at); diff != "" {
			t.Error(diff)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = retry(ctx, slog.New(slog.DiscardHandler), func(p time.Duration) time.Duration { return time.Hour }, func(context.Context) error { return errors.New("down") })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stopped: %v", err)
		}
	})
}

// The case post-vanilla of the test suite that is published with the rules.
func TestSignature(t *testing.T) {
	req := httptest.NewRequest(http.MethodPost, "https://example.amazonaws.com/", nil)
	sign(req, nil, awsKeys{ID: "AKIDEXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}, "us-east-1", "service", time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC))
	const want = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, " +
		"Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
	if got := req.Header.Get("Authorization"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestLoginToAmazonsRegistries(t *testing.T) {
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut:
			fmt.Fprint(w, "token")
		case strings.HasSuffix(r.URL.Path, "/iam/security-credentials/"):
			fmt.Fprint(w, "node-role")
		case strings.HasSuffix(r.URL.Path, "/iam/security-credentials/node-role"):
			fmt.Fprint(w, `{"AccessKeyId":"ROLE","SecretAccessKey":"s","Token":"session"}`)
		default:
			http.NotFound(w, r)
		}
	}))
	defer metadata.Close()
	var asked http.Header
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header
		if strings.Contains(r.Header.Get("Authorization"), "=DENIED/") {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"__type":"AccessDenied","message":"not allowed"}`)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"authorizationData": []any{map[string]any{"authorizationToken": "QVdTOnB3"}}})
	}))
	defer api.Close()
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, []byte("[other]\naws_access_key_id = NO\n[default]\naws_access_key_id = FILE\naws_secret_access_key=s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const registry = "328549459982.dkr.ecr.us-west-2.amazonaws.com"
	env := func(id string) func(string) string {
		return func(name string) string {
			return map[string]string{"AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": "s"}[name]
		}
	}
	for _, c := range []struct {
		name, key string
		aws       AWS
	}{
		{"role of the instance", "ROLE", AWS{Metadata: metadata.URL, Credentials: file + "-none"}},
		{"settings", "FILE", AWS{Metadata: metadata.URL, Credentials: file}},
		{"environment", "ENV", AWS{Metadata: metadata.URL, Credentials: file, Getenv: env("ENV")}},
	} {
		c.aws.endpoint = api.URL
		user, password, err := c.aws.login(t.Context(), http.DefaultClient, registry)
		if err != nil || user != "AWS" || password != "pw" {
			t.Errorf("%s: %q, %q, %v", c.name, user, password, err)
		}
		if !strings.Contains(asked.Get("Authorization"), "Credential="+c.key+"/") || !strings.Contains(asked.Get("Authorization"), "/us-west-2/ecr/") ||
			asked.Get("X-Amz-Target") != loginTarget || (asked.Get("X-Amz-Security-Token") == "session") != (c.key == "ROLE") {
			t.Errorf("%s: asked with %v", c.name, asked)
		}
	}
	_, _, err := AWS{endpoint: api.URL, Getenv: env("DENIED")}.login(t.Context(), http.DefaultClient, registry)
	if err == nil || !strings.Contains(err.Error(), "AccessDenied not allowed") {
		t.Errorf("got %v", err)
	}
	if user, _, err := (AWS{endpoint: api.URL}).login(t.Context(), http.DefaultClient, "public.ecr.aws"); user != "" || err != nil {
		t.Errorf("a public registry: %q, %v", user, err)
	}
}
