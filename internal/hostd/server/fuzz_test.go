// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package server

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// patched sends a body and checks what must hold whatever it is: it is taken, and can be read back and sent again with
// the same result; or it is refused with a reason, and nothing has changed.
func (h *host) patched(path, body string) {
	h.t.Helper()
	_, before := h.do("GET", "/tx", "")
	code, reply := h.do("PATCH", path, body)
	_, after := h.do("GET", "/tx", "")
	switch code {
	case 204:
		if reply != "" {
			h.t.Fatalf("%q: 204 with %q", body, reply)
		}
		if code, reply := h.do("PATCH", "/settings?tx=again", after); code != 204 {
			h.t.Fatalf("%q: what was taken is %q, and that is refused: %s", body, after, reply)
		}
		if _, again := h.do("GET", "/tx?tx=again", ""); again != after {
			h.t.Fatalf("%q: %q is read back as %q", body, after, again)
		}
	case 400:
		if reply == "" || !utf8.ValidString(reply) || strings.ContainsAny(reply, "\x00\x1b") {
			h.t.Fatalf("%q: refused with %q", body, reply)
		}
		if before != after {
			h.t.Fatalf("%q: refused with %q, but changed %q to %q", body, reply, before, after)
		}
	default:
		h.t.Fatalf("%q: %d %s", body, code, reply)
	}
	for _, tx := range []string{"default", "again"} {
		if code, reply := h.do("DELETE", "/tx?tx="+tx, ""); code != 200 {
			h.t.Fatalf("%d %s", code, reply)
		}
	}
}

func FuzzPatchSettings(f *testing.F) {
	for _, body := range []string{
		`{}`, ``, `null`, `[]`, `{"motd":"x"}`, `{"motd":null}`, `{"motd":1e400}`, `{"motd":"\ud800"}`, `{"motd":"a","motd":"b"}`, `{"motd":"x"}{"motd":"y"}`,
		`{"updates":{"seed":4294967296}}`, `{"updates":{"seed":-0}}`, `{"kubernetes":{"node-labels":{"a.b/c":"d","":"x"}}}`,
		`{"kubernetes":{"node-taints":{"k":["v:NoSchedule"],"l":"v:NoExecute"}}}`, `{"ntp":{"time-servers":["a"]}}`, `{"ntp":{"time-servers":{"0":"a"}}}`,
		`{"host-containers":{"admin":{"enabled":true,"user-data":"eA=="}}}`, `{"settings":{"motd":"x"}}`, strings.Repeat(`{"kubernetes":`, 500),
		"{\"motd\":\"\x00\"}", "\ufeff{}", "{\"mo\\u0074d\":\"x\"}", `{"__proto__":{}}`, `{"kubernetes":{"node-labels":{"..":"x"}}}`,
	} {
		f.Add(body)
	}
	h := newHost(f, nil, true)
	f.Fuzz(func(t *testing.T, body string) { h.t = t; h.patched("/settings", body) })
}

func FuzzPatchPairs(f *testing.F) {
	for _, pair := range []string{
		"", "=", "motd", "motd=", "motd=hi", "settings.motd=a=b", "motd=42", "updates.seed=42", "updates.seed=-1", "updates.seed=1e3", "updates.ignore-waves=true",
		`kubernetes.node-labels."a.b/c"=d`, `kubernetes.node-labels."a.b=c`, "ntp.time-servers=a", "settings=x", "settings.=x", ".motd=x", "motd.=x", "a b=c",
		"motd=\xff", "motd=\x00", "kubernetes.node-labels...=x", "host-containers.admin.enabled=TRUE",
	} {
		f.Add(pair)
	}
	h := newHost(f, nil, true)
	f.Fuzz(func(t *testing.T, pair string) {
		h.t = t
		body, err := json.Marshal(map[string][]string{"request_payload": {pair}})
		if err != nil {
			t.Fatal(err)
		}
		h.patched("/settings/keypair", string(body))
		h.patched("/settings/keypair", pair) // as it is
	})
}

// Whatever is asked for gets an answer that is not the server's fault.
func FuzzQueries(f *testing.F) {
	for _, path := range []string{"/", "/settings", "/tx", "/services", "/configuration-files", "/os", "/metadata/affected-services", "/metadata/templates"} {
		for _, query := range []string{"", "prefix=", "prefix=s", "keys=settings.motd", "keys=a,,b", `keys=settings."a.b"`, "names=motd", "tx=..", "tx=%00", "tx=a/b", "%zz", "a;b"} {
			f.Add(path, query)
		}
	}
	h := newHost(f, nil, true)
	paths := map[string]bool{}
	for r := range New(Config{}).(*server).routes {
		paths[r.path] = r.method == "GET"
	}
	f.Fuzz(func(t *testing.T, path, query string) {
		if !paths[path] || strings.ContainsFunc(query, func(r rune) bool { return r <= ' ' || r > '~' || r == '#' }) {
			t.Skip() // no request that HTTP has
		}
		h.t = t
		code, reply := h.do("GET", path+"?"+query, "")
		if code >= 500 || code == 200 && path != "/openapi.yaml" && !json.Valid([]byte(reply)) {
			t.Fatalf("%d %s", code, reply)
		}
	})
}
