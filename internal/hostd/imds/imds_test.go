// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package imds

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAnswersNeedAToken(t *testing.T) {
	tokens := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/latest/api/token" {
			if r.Method != http.MethodPut || r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") != "60" {
				t.Errorf("token asked for by %s with %v", r.Method, r.Header)
			}
			tokens++
			_, _ = w.Write([]byte("tok"))
			return
		}
		if r.Header.Get("X-aws-ec2-metadata-token") != "tok" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch r.URL.Path {
		case "/2021-07-15/user-data":
			_, _ = w.Write([]byte("[settings]\n"))
		case "/2021-07-15/dynamic/instance-identity/document":
			_, _ = w.Write([]byte(`{"region":"eu-west-1","x":1}`))
		case "/2021-07-15/meta-data/instance-type":
			_, _ = w.Write([]byte("m5.large\n"))
		case "/2021-07-15/meta-data/secret":
			w.WriteHeader(http.StatusForbidden)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer s.Close()
	c := Client{Base: s.URL}
	if data, err := c.UserData(t.Context()); err != nil || string(data) != "[settings]\n" {
		t.Errorf("user data %q, %v", data, err)
	}
	if region, err := c.Region(t.Context()); err != nil || region != "eu-west-1" {
		t.Errorf("region %q, %v", region, err)
	}
	if v, err := c.Meta(t.Context(), "instance-type"); err != nil || v != "m5.large" {
		t.Errorf("instance type %q, %v", v, err)
	}
	if v, err := c.Meta(t.Context(), "nothing"); err != nil || v != "" {
		t.Errorf("nothing: %q, %v", v, err)
	}
	if _, err := c.Meta(t.Context(), "secret"); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("refused: %v", err)
	}
	if tokens != 5 {
		t.Errorf("%d tokens", tokens)
	}
}
