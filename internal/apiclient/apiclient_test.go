// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiclient

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// host is a host API that answers from a table and remembers what it was asked.
type host struct {
	socket  string
	answers map[string]func() (int, string) // by method, path and query; default 204

	mu    sync.Mutex
	asked []string
}

var random = regexp.MustCompile(`(tx=apiclient-[a-z]+-)[A-Za-z0-9]{16}\b`)

func newHost(t *testing.T) *host {
	h := &host{socket: filepath.Join(t.TempDir(), "api.sock"), answers: map[string]func() (int, string){}}
	listener, err := net.Listen("unix", h.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: h}}
	server.Start()
	t.Cleanup(server.Close)
	return h
}

func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.Header.Get("Content-Type") != "application/json" {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	key := r.Method + " " + random.ReplaceAllString(r.RequestURI, "${1}R")
	h.mu.Lock()
	answer := h.answers[key]
	h.asked = append(h.asked, strings.TrimSpace(key+" "+string(body)))
	h.mu.Unlock()
	if answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	code, text := answer()
	w.WriteHeader(code)
	fmt.Fprint(w, text)
}

func say(code int, text string) func() (int, string) {
	return func() (int, string) { return code, text }
}

// call runs one command line.
func (h *host) call(stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errOut bytes.Buffer
	code = Run(context.Background(), Config{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errOut}, append([]string{"-s", h.socket}, args...))
	return code, out.String(), errOut.String()
}

func TestGet(t *testing.T) {
	h := newHost(t)
	h.answers["GET /?prefix=os."] = say(200, `{"os":{"arch":"x86_64"}}`)
	h.answers["GET /?prefix=settings."] = say(200, `{"settings":{"motd":"<hi>","n":12345678901234567890}}`)
	h.answers["GET /?prefix=settings.x"] = say(200, `{"settings":{"x":{"b":[1],"c":2}}}`)
	h.answers["GET /?prefix=settings.y"] = say(200, `{"settings":{"x":{"b":[2]},"y":3}}`)
	h.answers["GET /settings?keys=a%20b"] = say(200, `{}`)
	h.answers["GET /broken"] = say(200, `{`)
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"get"}, 0, "{\n  \"os\": {\n    \"arch\": \"x86_64\"\n  },\n  \"settings\": {\n    \"motd\": \"<hi>\",\n    \"n\": 12345678901234567890\n  }\n}\n"},
		{[]string{"get", "settings.x", "settings.y"}, 0, "{\n  \"settings\": {\n    \"x\": {\n      \"b\": [\n        2\n      ],\n      \"c\": 2\n    },\n    \"y\": 3\n  }\n}\n"},
		{[]string{"get", "/settings?keys=a b"}, 0, "{}\n"},
		{[]string{"get", "/broken"}, 1, ""},
		{[]string{"get", "/a", "/b"}, 2, ""},
		{[]string{"get", "-x"}, 2, ""},
	} {
		code, stdout, stderr := h.call("", tc.args...)
		if code != tc.code || stdout != tc.want {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q", tc.args, code, stdout, stderr)
		}
	}
}

func TestChangeSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings.toml")
	if err := os.WriteFile(file, []byte("[settings]\nmotd = \"file\"\n[settings.ntp]\ntime-servers = [\"a\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/s.json" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, `{"settings":{"motd":"web"}}`)
	}))
	defer web.Close()
	const setTx, applyTx = "tx=apiclient-set-R", "tx=apiclient-apply-R"
	for _, tc := range []struct {
		args  []string
		stdin string
		code  int
		want  []string // requests
	}{
		{[]string{"set", "motd=a=b", "settings.x=1"}, "", 0, []string{
			`PATCH /settings/keypair?` + setTx + ` {"request_payload":["motd=a=b","settings.x=1"]}`, "POST /tx/commit_and_apply?" + setTx,
		}},
		{[]string{"set", "-j", `{"settings":{"motd":"j"}}`}, "", 0, []string{`PATCH /settings?` + setTx + ` {"motd":"j"}`, "POST /tx/commit_and_apply?" + setTx}},
		{[]string{"set", "--json", `{"motd":"j"}`}, "", 0, []string{`PATCH /settings?` + setTx + ` {"motd":"j"}`, "POST /tx/commit_and_apply?" + setTx}},
		{[]string{"set", "-j", `[]`}, "", 2, nil},
		{[]string{"set", "-j", `{`}, "", 2, nil},
		{[]string{"set", "-j", `{}`, "-j", `{}`}, "", 2, nil},
		{[]string{"apply"}, "[settings]\nmotd = \"in\"", 0, []string{`PATCH /settings?` + applyTx + ` {"motd":"in"}`, "POST /tx/commit_and_apply?" + applyTx}},
		{[]string{"apply", "-", "file://" + file, web.URL + "/s.json"}, `{"settings":{}}`, 0, []string{
			`PATCH /settings?` + applyTx + ` {}`,
			`PATCH /settings?` + applyTx + ` {"motd":"file","ntp":{"time-servers":["a"]}}`,
			`PATCH /settings?` + applyTx + ` {"motd":"web"}`,
			"POST /tx/commit_and_apply?" + applyTx,
		}},
		{[]string{"apply"}, "motd = 1", 1, nil},
		{[]string{"apply"}, "{", 1, nil},
		{[]string{"apply"}, "[settings]\nmotd = 2020-01-01", 1, nil},
		{[]string{"apply"}, " {\"settings\":{\"motd\":\"j\"}}\n", 0, []string{`PATCH /settings?` + applyTx + ` {"motd":"j"}`, "POST /tx/commit_and_apply?" + applyTx}},
		{[]string{"apply"}, "[settings.updates]\nseed = 1.0", 0, []string{ // what it is, is for the host to say
			`PATCH /settings?` + applyTx + ` {"updates":{"seed":1.0}}`, "POST /tx/commit_and_apply?" + applyTx,
		}},
		{[]string{"apply", web.URL + "/none"}, "", 1, nil},
		{[]string{"apply", "file:///does/not/exist"}, "", 1, nil},
		{[]string{"apply", file}, "", 1, nil}, // not a URI
		{[]string{"apply", "-f"}, "", 2, nil},
	} {
		h := newHost(t)
		code, stdout, stderr := h.call(tc.stdin, tc.args...)
		if code != tc.code || stdout != "" || (code != 0) != (stderr != "") {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q", tc.args, code, stdout, stderr)
		}
		if diff := cmp.Diff(tc.want, h.asked); diff != "" {
			t.Errorf("%q asked:\n%s", tc.args, diff)
		}
	}
	// A mistake is told in the language that it was made in.
	for stdin, want := range map[string]string{
		"[settings]\nmotd = \n":   "reading settings from -: line 2: ",
		"[settings]\nmotd = inf":  "reading settings from -: line 2: settings.motd: +Inf is not valid",
		`{"settings":{"motd":}}`:  "reading settings from -: invalid character '}'",
		"motd = 'x'":              "no 'settings' at the top",
		`{"settings":["a"]}`:      "no 'settings' at the top",
		"settings:\n  motd: hi\n": "reading settings from -: line 1: ",
	} {
		if code, _, stderr := newHost(t).call(stdin, "apply"); code != 1 || !strings.HasPrefix(stderr, "reading settings from -: ") || !strings.Contains(stderr, want) {
			t.Errorf("%q: exit code %d, stderr %q", stdin, code, stderr)
		}
	}
	// What was refused does not stay pending.
	h := newHost(t)
	h.answers["PATCH /settings/keypair?"+setTx] = say(400, "Unable to match your input")
	code, _, stderr := h.call("", "set", "nothing=1")
	if code != 1 || !strings.Contains(stderr, "Status 400 when PATCHing /settings/keypair?tx=apiclient-set-") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	if got := h.asked[len(h.asked)-1]; got != "DELETE /tx?"+setTx {
		t.Errorf("last request %q", got)
	}
	h = newHost(t)
	h.answers["POST /tx/commit_and_apply?"+setTx] = say(400, "these do not go together")
	if code, _, stderr := h.call("", "set", "a=1"); code != 1 || !strings.Contains(stderr, "Status 400 when POSTing /tx/commit_and_apply") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	if got := h.asked[len(h.asked)-1]; got != "DELETE /tx?"+setTx {
		t.Errorf("last request %q", got)
	}
}

// A server that does not know how to wait says that it is busy; ours answers when the command ends.
func TestUpdateWaits(t *testing.T) {
	const status = "GET /updates/status?wait=100ms"
	done := func(command, result, stamp string) string {
		return fmt.Sprintf(`{"update_state":"Available","most_recent_command":{"cmd_type":%q,"cmd_status":%q,"timestamp":%q,"exit_status":3,"stderr":"why"}}`, command, result, stamp)
	}
	for _, tc := range []struct {
		name    string
		first   func() (int, string)
		then    []func() (int, string) // the last is repeated
		code    int
		stderr  string
		refused bool // nothing is started
	}{
		{name: "first since boot", first: say(404, "none"), then: []func() (int, string){say(423, "busy"), say(200, done("refresh", "Success", "2"))}},
		{name: "somebody else's command ends first", first: say(200, done("refresh", "Success", "1")), then: []func() (int, string){
			say(200, done("refresh", "Success", "1")), say(200, done("prepare", "Success", "2")), say(200, done("refresh", "Success", "3")),
		}},
		{name: "it fails", first: say(404, ""), then: []func() (int, string){say(200, done("refresh", "Failed", "2"))}, code: 1, stderr: "refresh ended with Failed, exit code 3: why"},
		{name: "busy before", first: say(423, "busy"), code: 1, stderr: "Status 423", refused: true},
		{name: "the server breaks", first: say(404, ""), then: []func() (int, string){say(500, "broken")}, code: 1, stderr: "Status 500"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHost(t)
			h.answers["GET /updates/status"] = tc.first
			n := 0
			h.answers[status] = func() (int, string) {
				answer := tc.then[min(n, len(tc.then)-1)]
				n++
				return answer()
			}
			code, stdout, stderr := h.call("", "update", "check")
			if code != tc.code || !strings.Contains(stderr, tc.stderr) {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
			if started := strings.Contains(strings.Join(h.asked, "\n"), "POST /actions/refresh-updates"); started == tc.refused {
				t.Errorf("asked %q", h.asked)
			}
			if tc.name == "the server breaks" && n != maxFailures {
				t.Errorf("gave up after %d failures, want %d", n, maxFailures)
			}
		})
	}
}

// What the hint says must fit the reason, of which there are several with one code.
func TestWhatToDoWhenAnUpdateIsRefused(t *testing.T) {
	for _, tc := range []struct {
		code         int
		body         string
		hint, noHint string
	}{
		{409, "Update action not allowed according to update state", "'apiclient update check'", "unblock"},
		{409, "Update action not allowed according to update state", "'apiclient update cancel'", "unblock"},
		{404, "Previously chosen Update no longer exists", "'apiclient update check'", "cancel"},
		{409, "version 1.1.0 is blocked on this host since then: it fell back; to try it again: apiclient update unblock 1.1.0", "", "hint"},
		{500, "broken", "", "hint"},
	} {
		h := newHost(t)
		h.answers["GET /updates/status"] = say(404, "")
		h.answers["POST /actions/prepare-update"] = say(tc.code, tc.body)
		code, _, stderr := h.call("", "update", "apply")
		if code != 1 || !strings.Contains(stderr, tc.body) || !strings.Contains(stderr, tc.hint) || strings.Contains(strings.ReplaceAll(stderr, tc.body, ""), tc.noHint) {
			t.Errorf("%d %s: exit code %d, stderr %q", tc.code, tc.body, code, stderr)
		}
	}
}

func TestUpdateUnblock(t *testing.T) {
	for _, tc := range []struct {
		args   []string
		answer func() (int, string)
		code   int
		asked  []string
		stderr string
	}{
		{[]string{"1.21.0"}, say(204, ""), 0, []string{"POST /actions/unblock-update?version=1.21.0"}, "Version 1.21.0 may be chosen again"},
		{[]string{"v1.21.0"}, say(204, ""), 0, []string{"POST /actions/unblock-update?version=1.21.0"}, "Version 1.21.0 may"},
		{[]string{"1&x=2"}, nil, 0, []string{"POST /actions/unblock-update?version=1%26x%3D2"}, ""},
		{
			[]string{"1.21.0"}, say(404, "not blocked"), 1, []string{"POST /actions/unblock-update?version=1.21.0"},
			"Failed POST request to '/actions/unblock-update?version=1.21.0': Status 404 when POSTing /actions/unblock-update?version=1.21.0: not blocked\napiclient: hint: ",
		},
		{[]string{"1.21.0"}, say(423, "busy"), 1, []string{"POST /actions/unblock-update?version=1.21.0"}, "Status 423"},
		{nil, nil, 2, nil, "want one version"},
		{[]string{""}, nil, 2, nil, "want one version"},
		{[]string{"-c"}, nil, 2, nil, "want one version"},
		{[]string{"1.21.0", "1.22.0"}, nil, 2, nil, "want one version"},
	} {
		h := newHost(t)
		h.answers["POST /actions/unblock-update?version=1.21.0"] = tc.answer
		code, stdout, stderr := h.call("", append([]string{"update", "unblock"}, tc.args...)...)
		if code != tc.code || stdout != "" || !strings.Contains(stderr, tc.stderr) {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q", tc.args, code, stdout, stderr)
		}
		if diff := cmp.Diff(tc.asked, h.asked); diff != "" {
			t.Errorf("%q asked:\n%s", tc.args, diff)
		}
	}
}

// Programs split what they read on stderr at the first "Status" and take the code after it.
func TestFailuresSayTheCodeFirst(t *testing.T) {
	h := newHost(t)
	h.answers["POST /actions/refresh-updates"] = say(423, "Update lock held\n")
	for _, args := range [][]string{
		{"raw", "-u", "/actions/refresh-updates", "-m", "POST"},
		{"-v", "raw", "-u", "/actions/refresh-updates", "-X", "POST"},
		{"--log-level", "trace", "-u", "/actions/refresh-updates", "--method", "POST"},
	} {
		code, stdout, stderr := h.call("", args...)
		_, after, found := strings.Cut(stderr, "Status")
		if code != 1 || stdout != "" || !found || strings.Fields(after)[0] != "423" {
			t.Errorf("%q: exit code %d, stderr %q", args, code, stderr)
		}
	}
	_, _, stderr := h.call("", "raw", "-u", "/actions/refresh-updates", "-m", "POST")
	if want := "Failed POST request to '/actions/refresh-updates': Status 423 when POSTing /actions/refresh-updates: Update lock held\n"; stderr != want {
		t.Errorf("stderr %q, want %q", stderr, want)
	}
}

// A refusal that says what to do is not followed by other advice.
func TestHintsOfRefusals(t *testing.T) {
	for body, hinted := range map[string]bool{
		"Update action not allowed according to update state":                                                 true,
		"version 1.2.0 is blocked on this host since x: why; to try it again: apiclient update unblock 1.2.0": false,
	} {
		h := newHost(t)
		h.answers["GET /updates/status"], h.answers["POST /actions/prepare-update"] = say(404, ""), say(409, body)
		code, _, stderr := h.call("", "update", "apply")
		if code != 1 || !strings.Contains(stderr, body) || strings.Contains(stderr, "apiclient: hint: ") != hinted {
			t.Errorf("%s: exit code %d, stderr %q", body, code, stderr)
		}
	}
	code, _, stderr := newHost(t).call("", "report", "cis")
	if code != 2 || !strings.HasPrefix(stderr, "apiclient: error: report: want list\napiclient: hint: which reports a host can make") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}
