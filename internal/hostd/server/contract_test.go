// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package server

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostd/storewolf"
)

// exchange is a request and what comes back. A body that starts with ~ is what the answer contains.
type exchange struct {
	method, target, body string
	code                 int
	want                 string
}

func (h *host) play(exchanges ...exchange) {
	h.t.Helper()
	for _, e := range exchanges {
		code, got := h.do(e.method, e.target, e.body)
		part, contains := strings.CutPrefix(e.want, "~")
		if code != e.code || contains && !strings.Contains(got, part) || !contains && got != e.want {
			h.t.Errorf("%s %s %.80s\n got %d %.400s\nwant %d %s", e.method, e.target, e.body, code, got, e.code, e.want)
		}
	}
}

func documented(t *testing.T, h *host) *host {
	h.doc = description(t)
	return h
}

func TestTransactionsFromBeginningToEnd(t *testing.T) {
	applied := make(chan []string, 10)
	h := documented(t, newHost(t, applyFunc(func(_ context.Context, keys []string) error { applied <- keys; return nil }), false))
	h.play(
		exchange{"GET", "/settings", "", 404, "Found no 'settings' in datastore"},
		exchange{"GET", "/", "", 404, "Found no 'settings' in datastore"},
		exchange{"GET", "/settings?keys=settings.motd", "", 200, "{}"},
		exchange{"GET", "/tx/list", "", 200, `["bottlerocket-launch"]`},
		exchange{"GET", "/tx", "", 200, "{}"},
		exchange{"POST", "/tx/commit", "", 422, "Tried to commit with no pending changes"},
		exchange{"POST", "/tx/commit_and_apply", "", 422, "Tried to commit with no pending changes"},
		exchange{"DELETE", "/tx?tx=unknown", "", 200, "[]"},

		exchange{"PATCH", "/settings", `{"motd":"a<b>&c","kubernetes":{"node-labels":{"my.label":"x"}}}`, 204, ""},
		exchange{"PATCH", "/settings?tx=other%20one", `{"motd":"other"}`, 204, ""},
		exchange{"PATCH", "/settings", `{}`, 204, ""},
		exchange{"GET", "/tx", "", 200, `{"kubernetes":{"node-labels":{"my.label":"x"}},"motd":"a<b>&c"}`},
		exchange{"GET", "/tx/list", "", 200, `["bottlerocket-launch","default","other one"]`},
		exchange{"POST", "/tx/commit", "", 200, `["settings.kubernetes.node-labels.\"my.label\"","settings.motd"]`},
		exchange{"GET", "/settings", "", 200, `{"kubernetes":{"node-labels":{"my.label":"x"}},"motd":"a<b>&c"}`},
		exchange{"DELETE", "/tx?tx=other+one", "", 200, `["settings.motd"]`},

		exchange{"PATCH", "/settings/keypair?tx=x", `{"request_payload":["motd=hi = you","settings.updates.seed=7"]}`, 204, ""},
		exchange{"POST", "/tx/commit_and_apply?tx=x", "", 200, `["settings.motd","settings.updates.seed"]`},
	)
	if diff := cmp.Diff([]string{"settings.motd", "settings.updates.seed"}, <-applied); diff != "" {
		t.Errorf("applied: %s", diff)
	}
	h.play(
		exchange{"GET", "/settings?keys=settings.motd,settings.ntp.time-servers", "", 200, `{"motd":"hi = you"}`},
		exchange{"GET", `/settings?keys=settings.kubernetes.node-labels."my.label"`, "", 200, `{"kubernetes":{"node-labels":{"my.label":"x"}}}`},
		exchange{"GET", `/settings?keys=settings.kubernetes.node-labels.%22my.label%22`, "", 200, `{"kubernetes":{"node-labels":{"my.label":"x"}}}`},
		exchange{"GET", "/settings?prefix=mot", "", 200, `{"motd":"hi = you"}`},
		exchange{"GET", "/settings?prefix=settings.upd", "", 200, `{"updates":{"seed":7}}`},
		exchange{"GET", "/settings?prefix=zzz", "", 200, "{}"},
		exchange{"GET", "/settings?prefix=zzz&keys=settings.motd", "", 200, `{"motd":"hi = you"}`},
		exchange{"GET", "/settings?keys=settings.motd&keys=settings.updates.seed", "", 200, `{"updates":{"seed":7}}`},

		exchange{"POST", "/tx/apply?keys=settings.motd", "", 204, ""},
	)
	if diff := cmp.Diff([]string{"settings.motd"}, <-applied); diff != "" {
		t.Errorf("applied: %s", diff)
	}
	h.play(exchange{"POST", "/tx/apply?wait=true", "", 204, ""})
	if keys := <-applied; keys != nil {
		t.Errorf("applied %v, want everything", keys)
	}
}

func TestListsReplaceAndMapsMerge(t *testing.T) {
	h := documented(t, newHost(t, nil, true))
	h.play(
		exchange{"PATCH", "/settings", `{"ntp":{"time-servers":["one","two"]},"kubernetes":{"node-labels":{"a":"1","b":"2"}}}`, 204, ""},
		exchange{"POST", "/tx/commit", "", 200, "~settings.ntp"},
		exchange{"PATCH", "/settings", `{"motd":null,"ntp":{"time-servers":["three"]},"kubernetes":{"node-labels":{"b":"3","c":"4","a":null}}}`, 204, ""},
		exchange{"POST", "/tx/commit", "", 200, `["settings.kubernetes.node-labels.b","settings.kubernetes.node-labels.c","settings.ntp.time-servers"]`},
		exchange{"GET", "/settings?prefix=ntp.time", "", 200, `{"ntp":{"time-servers":["three"]}}`},
		exchange{"GET", "/settings?prefix=kubernetes.node-labels", "", 200, `{"kubernetes":{"node-labels":{"a":"1","b":"3","c":"4"}}}`},
		exchange{"GET", "/settings?keys=settings.motd", "", 200, `{"motd":"Welcome to Bottlerocket!"}`},
	)
}

// What must hold between two settings holds for what counts in the end, however many requests led there.
func TestSettingsThatDoNotGoTogetherAreNotCommitted(t *testing.T) {
	h := documented(t, newHost(t, nil, true))
	low := func(n string) string { return `"image-gc-low-threshold-percent":` + n }
	high := func(n string) string { return `"image-gc-high-threshold-percent":` + n }
	gc := func(thresholds ...string) string { return `{"kubernetes":{` + strings.Join(thresholds, ",") + `}}` }
	h.play(
		exchange{"PATCH", "/settings", gc(low("80"), high("80")), 400, "~80 is not valid: it must be below image-gc-high-threshold-percent, which is 80"},
		exchange{"PATCH", "/settings", gc(low("70"), high("80")), 204, ""},
		exchange{"POST", "/tx/commit", "", 200, "~image-gc-high"},
		// In two requests, by way of what does not go together.
		exchange{"PATCH", "/settings", gc(low("85")), 204, ""},
		exchange{"PATCH", "/settings", gc(high("90")), 204, ""},
		exchange{"POST", "/tx/commit", "", 200, "~image-gc-high"},
		// Two transactions, each of which was right when it began.
		exchange{"PATCH", "/settings?tx=a", gc(low("88")), 204, ""},
		exchange{"PATCH", "/settings?tx=b", gc(high("87")), 204, ""},
		exchange{"POST", "/tx/commit?tx=a", "", 200, "~image-gc-low"},
		exchange{"POST", "/tx/commit?tx=b", "", 400,
			"~settings.kubernetes.image-gc-high-threshold-percent: 87 is not valid: it must be above image-gc-low-threshold-percent, which is 88"},
		exchange{"GET", "/tx?tx=b", "", 200, gc(high("87"))},
		exchange{"PATCH", "/settings?tx=b", gc(low("86")), 204, ""},
		exchange{"POST", "/tx/commit?tx=b", "", 200, "~image-gc-low"},
		exchange{"PATCH", "/settings", `{"motd":"still free to change"}`, 204, ""},
		exchange{"POST", "/tx/commit", "", 200, `["settings.motd"]`},
		exchange{"GET", "/settings?prefix=kubernetes.image-gc", "", 200, gc(high("87"), low("86"))},
	)
}

func TestRefusals(t *testing.T) {
	h := documented(t, newHost(t, nil, true))
	big := `{"motd":"` + strings.Repeat("x", hostapi.MaxBody) + `"}`
	h.play(
		exchange{"PATCH", "/settings", `{"mtod":"x"}`, 400, "Json deserialize error: settings.mtod: unknown setting at line 1 column 11"},
		exchange{"PATCH", "/settings", `{"motd":42}`, 400, "Json deserialize error: settings.motd: 42 is not valid: it must be text at line 1 column 10"},
		exchange{"PATCH", "/settings", `{"motd":`, 400, "~Json deserialize error: unexpected end of JSON input at line 1 column 8"},
		exchange{"PATCH", "/settings", ``, 400, "~Json deserialize error: EOF"},
		exchange{"PATCH", "/settings", `{"settings":{"motd":"x"}}`, 400, "~unknown setting"},
		exchange{"PATCH", "/settings?tx=", `{"motd":"x"}`, 400, "Input 'tx' cannot be empty"},
		exchange{"PATCH", "/settings?tx=" + strings.Repeat("x", 300), `{"motd":"x"}`, 400, "~invalid transaction name"},
		exchange{"PATCH", "/settings", big, 413, "~is larger than allowed (limit: 2097152 bytes)."},
		exchange{"PATCH", "/settings/keypair", `{"request_payload":["motd"]}`, 400, "Failed to split the string: motd"},
		exchange{"PATCH", "/settings/keypair", `{"request_payload":["\u001b[2Jx\u0000"]}`, 400, "Failed to split the string: \ufffd[2Jx\ufffd"}, // no terminal is cleared by it
		exchange{"PATCH", "/settings/keypair", `{"request_payload":["mtod=x"]}`, 400, "~Unable to match your input to the data model."},
		exchange{"PATCH", "/settings/keypair", `{"request_payload":["ntp.time-servers=a"]}`, 400, "~Unable to match your input to the data model."},
		exchange{"PATCH", "/settings/keypair", `{"request_payload":["a b=x"]}`, 400, "~Unable to make data key 'a b'"},
		exchange{"PATCH", "/settings/keypair", `{}`, 400, "~missing field `request_payload`"},
		exchange{"PATCH", "/settings/keypair", `[]`, 400, "Json deserialize error: [] is not valid: it must be an object at line 1 column 2"},
		exchange{"PATCH", "/settings/keypair", `{"request_payload":"motd=x"}`, 400, "~`request_payload` is not valid: it must be a list of texts at line 1"},
		exchange{"PATCH", "/settings/keypair", `{"request_payload":[1]}`, 400, "~`request_payload` is not valid: it must be a list of texts at line 1"},
		exchange{"PATCH", "/settings/keypair", "{\n\"request_payload\":[}", 400, "~at line 2 column 20"},
		exchange{"PATCH", "/settings/keypair", "{\"request_payload\":[\"motd=\xff\"]}", 400, "~invalid UTF-8"},
		exchange{"DELETE", "/tx?tx=", "", 400, "Input 'tx' cannot be empty"},
		exchange{"POST", "/tx/commit?tx=", "", 400, "Input 'tx' cannot be empty"},
		exchange{"GET", "/settings?keys=", "", 400, "Input 'keys' cannot be empty"},
		exchange{"GET", "/settings?keys=a,,b", "", 400, "~Unable to make data key ''"},
		exchange{"GET", "/settings?keys=settings.mo%20td", "", 400, "~Unable to make data key 'settings.mo td'"},
		exchange{"GET", "/settings?prefix=", "", 400, "Input 'prefix' cannot be empty"},
		exchange{"GET", "/services?names=", "", 400, "Input 'names' cannot be empty"},
		exchange{"GET", "/services?names=nope", "", 404, "Found no 'services.nope' in datastore"},
		exchange{"GET", "/services?names=motd,nope", "", 404, "Found no 'services.nope' in datastore"},
		exchange{"GET", "/configuration-files?names=nope", "", 404, "Found no 'configuration-files.nope' in datastore"},
		exchange{"GET", "/metadata/affected-services", "", 400, "Missing required input 'keys'"},
		exchange{"GET", "/metadata/templates", "", 400, "Missing required input 'keys'"},
		exchange{"GET", "/settings?keys=%zz", "", 400, "~Query deserialize error"},
		exchange{"POST", "/tx/apply", "", 500, "unable to apply settings: this host has no applier"},
		exchange{"POST", "/tx/apply?wait=maybe", "", 400, "~neither true nor false"},
		exchange{"POST", "/actions/refresh-updates", "", 423, "Update lock held"},
		exchange{"GET", "/updates/status", "", 404, "Update status is uninitialized, refresh-updates to initialize it"},
		exchange{"POST", "/actions/reboot", "", 500, "it said no"},
		exchange{"GET", "/nope", "", 404, ""},
		exchange{"GET", "/settings/", "", 404, ""},
		exchange{"GET", "/Settings", "", 404, ""},
		exchange{"PUT", "/settings", "{}", 404, ""},
		exchange{"GET", "/tx/commit", "", 404, ""},
	)
	h.play(exchange{"PATCH", "/settings?tx=kept", `{"motd":"x"}`, 204, ""},
		exchange{"POST", "/tx/commit_and_apply?tx=kept", "", 500, "unable to apply settings: this host has no applier"},
		exchange{"GET", "/tx?tx=kept", "", 200, `{"motd":"x"}`})

	for _, contentType := range []string{"", "text/plain", "json", "application/x-www-form-urlencoded"} {
		req, err := http.NewRequest("PATCH", "http://localhost/settings", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		reply, err := h.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		reply.Body.Close()
		if reply.StatusCode != 400 {
			t.Errorf("content type %q: %d", contentType, reply.StatusCode)
		}
	}
	// Without a length, the limit is noticed while reading.
	req, err := http.NewRequest("PATCH", "http://localhost/settings", struct{ *strings.Reader }{strings.NewReader(big)})
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = -1
	req.Header.Set("Content-Type", "application/merge-patch+json; charset=utf-8")
	reply, err := h.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	reply.Body.Close()
	if reply.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a long body without length: %d", reply.StatusCode)
	}
}

func TestMetadataAndServices(t *testing.T) {
	h := documented(t, newHost(t, nil, true))
	h.play(
		exchange{"GET", "/metadata/affected-services?keys=settings.motd,settings.kubernetes.max-pods,settings.zzz,settings.kernel", "", 200,
			`{"settings.kubernetes.max-pods":["kubernetes"],"settings.motd":["motd"]}`},
		exchange{"GET", `/metadata/affected-services?keys=settings.kernel.sysctl."a.b"`, "", 200, `{"settings.kernel.sysctl.\"a.b\"":["sysctl"]}`},
		exchange{"GET", "/metadata/templates?keys=settings.motd", "", 200, "{}"},
		exchange{"GET", "/metadata/setting-generators", "", 200, `~"settings.updates.seed":"bork seed"`},
		exchange{"GET", "/services?names=motd,updog", "", 200,
			`{"motd":{"configuration-files":["motd"],"restart-commands":[]},"updog":{"configuration-files":["updog-toml"],"restart-commands":[]}}`},
		exchange{"GET", "/services?prefix=mot", "", 200, `{"motd":{"configuration-files":["motd"],"restart-commands":[]}}`},
		exchange{"GET", "/services?prefix=zzz", "", 200, `{}`},
		exchange{"GET", "/services", "", 200, "~systemctl try-restart kubelet.service"},
		exchange{"GET", "/configuration-files?names=motd", "", 200, `{"motd":{"path":"/etc/motd","template-path":"/usr/share/templates/motd"}}`},
		exchange{"GET", "/configuration-files?prefix=configuration-files.kubelet-config", "", 200,
			`{"kubelet-config":{"mode":"0600","path":"/etc/kubernetes/kubelet/config","template-path":"/usr/share/templates/kubelet-config"}}`},
		exchange{"GET", "/configuration-files", "", 200, "~motd"},
		exchange{"GET", "/os", "", 200, `{"arch":"x86_64","build_id":"abc","pretty_name":"Test","variant_id":"aws-k8s-1.33","version_id":"1.2.3"}`},
		exchange{"GET", "/os?prefix=version", "", 200, `{"version_id":"1.2.3"}`},
		exchange{"GET", "/os?prefix=os.v", "", 200, `{"variant_id":"aws-k8s-1.33","version_id":"1.2.3"}`},
		exchange{"GET", "/os?prefix=zzz", "", 200, `{}`},
		exchange{"GET", "/openapi.yaml", "", 200, "~openapi: 3.1.0"},
	)
}

func TestModelByPrefix(t *testing.T) {
	h := documented(t, newHost(t, nil, true))
	for _, c := range []struct {
		target string
		want   []string
	}{
		{"/", []string{"configuration-files", "os", "services", "settings"}}, {"/?prefix=s", []string{"services", "settings"}},
		{"/?prefix=settings.", []string{"settings"}}, {"/?prefix=os.version_id", []string{"os"}}, {"/?prefix=configuration-files.mo", []string{"configuration-files"}},
		{"/?prefix=zzz", nil}, {"/?prefix=status", []string{"status"}}, {"/?prefix=settings.zzz", []string{"settings"}},
	} {
		code, got := h.do("GET", c.target, "")
		sections := map[string]json.RawMessage{}
		if err := json.Unmarshal([]byte(got), &sections); err != nil || code != 200 {
			t.Errorf("%s: %d %v", c.target, code, err)
		}
		for _, name := range c.want {
			if _, ok := sections[name]; !ok {
				t.Errorf("%s has no %s", c.target, name)
			}
		}
		if len(sections) != len(c.want) {
			t.Errorf("%s: %d sections, want %v", c.target, len(sections), c.want)
		}
	}
	h.play(
		exchange{"GET", "/?prefix=settings.motd", "", 200, `{"settings":{"motd":"Welcome to Bottlerocket!"}}`},
		exchange{"GET", "/?prefix=os.version", "", 200, `{"os":{"version_id":"1.2.3"}}`},
		exchange{"GET", "/?prefix=status", "", 200, `{"status":{"apply":{"running":false,"last":null}}}`},
		exchange{"GET", "/?prefix=", "", 400, "Input 'prefix' cannot be empty"},
	)
}

// Clients of a socket have no name for the host, and put there what they like; one of the original writes the target
// with a made-up host in front.
func TestRequestsAsOtherClientsWriteThem(t *testing.T) {
	h := newHost(t, nil, true)
	for _, request := range []string{
		"GET /os HTTP/1.1\r\nHost: 2f72756e2f6170692e736f636b:0\r\n\r\n",
		"GET /os HTTP/1.1\r\nHost: %2Frun%2Fapi.sock\r\n\r\n",
		"GET /os HTTP/1.1\r\nHost:\r\n\r\n",
		"GET /os HTTP/1.0\r\n\r\n",
		"GET http://localhost/os HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /os HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
		"GET /settings?keys=settings.kubernetes.node-labels.\"a.b/c\",settings.motd HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		conn, err := net.Dial("unix", h.socket)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.WriteString(conn, request)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || reply.StatusCode != http.StatusOK {
			t.Errorf("%q: %v, %v", request, reply, err)
		}
		conn.Close()
	}
}

func TestUnknownStoredSettingsAreSkipped(t *testing.T) {
	h := newHost(t, nil, true)
	for name, content := range map[string]string{"settings/gone": `"x"`, "settings/updates/seed": `"no number"`, "os/arch": `"x"`} {
		file := filepath.Join(h.root, storewolf.Dir, "current/live", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.store.Close()
	again := hostAt(t, h.root, nil)
	again.play(exchange{"GET", "/settings?keys=settings.gone,settings.updates.seed,settings.motd", "", 200, `{"motd":"Welcome to Bottlerocket!"}`})
	if log := again.log.String(); strings.Count(log, "stored setting ignored") != 2 {
		t.Errorf("log: %s", log)
	}
}
