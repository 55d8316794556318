// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package template

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
)

func render(text, data string) (string, error) {
	var v map[string]any
	d := json.NewDecoder(strings.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	t, err := Parse(text)
	if err != nil {
		return "", err
	}
	return t.Render(v)
}

func TestRender(t *testing.T) {
	for _, tc := range []struct{ name, text, data, want string }{
		{"value", "{{ settings.motd }}\n", `{"settings":{"motd":"a & \"b\" = <c>"}}`, "a & \"b\" = <c>\n"},
		{"triple braces", "{{{a}}}", `{"a":"x=="}`, "x=="},
		{"number", "{{a}} {{b}}", `{"a":2048,"b":false}`, "2048 false"},
		{"if", "{{#if a.b}}yes{{else}}no{{/if}}", `{"a":{"b":true}}`, "yes"},
		{"if nothing", "{{#if a.b.c}}yes{{else}}no{{/if}}", `{}`, "no"},
		{"unless", "{{#unless a}}no{{/unless}}", `{"a":[]}`, "no"},
		{"each list", "{{#each a}}{{@index}}={{this}}{{#unless @last}},{{/unless}}{{/each}}", `{"a":["x","y"]}`, "0=x,1=y"},
		{"each object, sorted", "{{#each a}}{{@key}}:{{this.n}};{{/each}}", `{"a":{"z":{"n":1},"b":{"n":2}}}`, "b:2;z:1;"},
		{"outer", "{{#each a}}{{../b}}{{#if true}}{{this}}{{/if}}{{/each}}", `{"a":["x"],"b":"o"}`, "ox"},
		{"root", "{{#each a}}{{@root.b}}{{/each}}", `{"a":["x"],"b":"o"}`, "o"},
		{"named", "{{#each a as |v k|}}{{k}}-{{v}} {{/each}}", `{"a":{"x":1}}`, "x-1 "},
		{"with", "{{#with a.b}}{{c}}{{/with}}", `{"a":{"b":{"c":1}}}`, "1"},
		{"lines of blocks vanish", "a\n{{#if b}}\nc\n{{/if}}\nd\n", `{"b":true}`, "a\nc\nd\n"},
		{"odd keys", `{{a.[x/y.z]}}`, `{"a":{"x/y.z":"v"}}`, "v"},
		{"nested helper", `{{#if (any_enabled a)}}on{{/if}}`, `{"a":{"x":{"enabled":true}}}`, "on"},
		{"head", "[required-extensions]\nstd = { version = \"v1\", helpers = [\"default\"] }\n+++\n{{default 1 a}}", `{}`, "1"},
		{"comment", "a{{! hi }}b{{!-- }} --}}c", `{}`, "abc"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := render(tc.text, tc.data)
			if err != nil || got != tc.want {
				t.Errorf("got %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

func TestHelpers(t *testing.T) {
	for _, tc := range []struct{ text, data, want string }{
		{`{{base64_decode a}}`, `{"a":"aGk="}`, "hi"},
		{`{{default 110 settings.kubernetes.max-pods}}`, `{"settings":{}}`, "110"},
		{`{{default 110 a}}`, `{"a":29}`, "29"},
		{`{{toml_encode a}}`, `{"a":["x\"y",1,{"k":true}]}`, `["x\"y", 1, { "k" = true }]`},
		{`{{join_array ", " a}}`, `{"a":["x","y"]}`, "x, y"},
		{`{{join_map "=" "," "fail-if-missing" a}}`, `{"a":{"b":"2","a":"1"}}`, "a=1,b=2"},
		{`{{join_map "=" "," "no-fail-if-missing" a}}`, `{}`, ""},
		{`{{#if_not_null a}}x{{/if_not_null}}`, `{"a":false}`, "x"},
		{`{{#if_not_null a}}x{{/if_not_null}}`, `{"a":null}`, ""},
		{`{{goarch os.arch}}`, `{"os":{"arch":"aarch64"}}`, "arm64"},
		{`{{negate_or_else true a}}`, `{}`, "true"},
		{`{{negate_or_else true a}}`, `{"a":true}`, "false"},
		{`{{is_null a}} {{is_bool b}} {{is_number c}} {{is_string d}} {{is_array e}} {{is_object f}}`,
			`{"b":true,"c":1.5,"d":"","e":[],"f":{}}`, "true true true true true true"},
		{`{{is_ipv4 a}} {{is_ipv6 a}} {{is_ipv4 b}} {{is_ipv6 b}}`, `{"a":"10.0.0.1","b":"::1"}`, "true false false true"},
		{`{{cidr_to_ipaddr a}}`, `{"a":"10.1.2.0/24"}`, "10.1.2.0"},
		{`{{replace_ipv4_octet (cidr_to_ipaddr a) 3 10}}`, `{"a":"10.1.2.0/24"}`, "10.1.2.10"},
		{`{{ecr-prefix a}}`, `{"a":"eu-west-1"}`, "328549459982.dkr.ecr.eu-west-1.amazonaws.com"},
		{`{{ecr-prefix a}}`, `{"a":"cn-north-1"}`, "183470599484.dkr.ecr.cn-north-1.amazonaws.com.cn"},
		{`{{ecr-prefix a}}`, `{"a":"eu-isoe-west-1"}`, "589460436674.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk"},
		{`{{ecr-prefix a}}`, `{"a":"xx-new-1"}`, "328549459982.dkr.ecr.us-east-1.amazonaws.com"},
		{`{{tuf-prefix a}}{{metadata-prefix a}}`, `{"a":"eu-west-1"}`, "https://updates.bottlerocket.aws"},
		{`{{tuf-prefix a}}{{metadata-prefix a}}`, `{"a":"cn-north-1"}`,
			"https://bottlerocket-updates-cn-north-1.s3.dualstack.cn-north-1.amazonaws.com.cn/latest/metadata"},
		{`{{join_node_taints a}}`, `{"a":{"k":["v:NoSchedule",":NoExecute"],"a":"b:C"}}`, "a=b:C,k=:NoExecute,k=v:NoSchedule"},
		{`{{kube_reserve_memory 110 a}}`, `{}`, "1465Mi"},
		{`{{kube_reserve_memory 110 a}}`, `{"a":"1Gi"}`, "1Gi"},
		{`{{kube_reserve_cpu a}}`, `{"a":"10m"}`, "10m"},
		{`{{host a}}`, `{"a":"https://u:p@api.example.com:6443/x"}`, "api.example.com"},
		{`{{localhost_aliases "ipv4" name hosts}}`, `{"name":"me","hosts":[["127.0.0.1",["x","me"]],["::1",["six"]]]}`, "me x"},
		{`{{etc_hosts_entries hosts}}`, `{"hosts":[["10.0.0.1",["a","b"]],["127.0.0.1",["x"]],["fe80::1",["c"]]]}`, "10.0.0.1 a b\nfe80::1 c"},
		{`{{ecs_metadata_service_limits a b}}`, `{"b":100}`, "40,100"},
		{`{{lookup a b}}`, `{"a":{"k":"v"},"b":"k"}`, "v"},
	} {
		if got, err := render(tc.text, tc.data); err != nil || got != tc.want {
			t.Errorf("%s of %s: got %q, %v; want %q", tc.text, tc.data, got, err, tc.want)
		}
	}
}

func TestReservedCPU(t *testing.T) {
	for cores, want := range map[int]string{1: "60m", 2: "70m", 3: "75m", 4: "80m", 5: "82m", 6: "85m", 64: "230m"} {
		if got := reservedCPU(cores); got != want {
			t.Errorf("%d cores: %s, want %s", cores, got, want)
		}
	}
}

func TestBadTemplates(t *testing.T) {
	for _, tc := range []struct{ text, data, want string }{
		{"a\n{{ b.c }}", `{}`, "line 2: b.c: no value"},
		{"{{#each a}}{{/each}}", `{}`, "a: no value"},
		{"{{join_array \",\" a}}", `{}`, "join_array: a: no value"},
		{"{{a}}", `{"a":[1]}`, "a list cannot be written as it is"},
		{"{{nothing a}}", `{}`, `helper "nothing" is not known`},
		{"{{> x}}", `{}`, "not known"},
		{"{{#if}}", `{}`, "parsing template"},
		{"{{a", `{}`, "parsing template"},
		{"{{base64_decode a}}", `{"a":"s3cret!"}`, "not base64"},
		{"{{goarch a b}}", `{}`, "wants 1 values, got 2"},
		{"+++\n{{default 1 a}}", `{}`, `helper "default" is not known, or not required by the head`},
		{"[required-extensions]\nstd = \"v2\"\n+++\n", `{}`, `no extension "std" of version "v2"`},
		{"[required-extensions]\nstd = { version = \"v1\", helpers = [\"x\"] }\n+++\n", `{}`, `no helper "x"`},
		{"[required-extensions\n+++\n", `{}`, "head: "},
	} {
		if _, err := render(tc.text, tc.data); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, want %q", tc.text, err, tc.want)
		}
	}
	if _, err := render("{{a}}", "{}"); !errors.Is(err, ErrMissing) {
		t.Errorf("%v is not ErrMissing", err)
	}
}

// Whatever a template and its data say, there is a result or an error; text without braces comes out as it is.
func FuzzRender(f *testing.F) {
	f.Add("{{#each a}}{{@key}}{{../b}}{{/each}}", `{"a":[1],"b":2}`)
	f.Add("[required-extensions]\nstd = \"v1\"\n+++\n{{join_map \"=\" \",\" \"fail-if-missing\" a}}", `{"a":{}}`)
	f.Add("{{toml_encode a}}{{etc_hosts_entries a}}", `{"a":[["x",[]]]}`)
	f.Add("plain \\ text", `{}`)
	f.Fuzz(func(t *testing.T, text, data string) {
		got, err := render(text, data)
		_, _, headed := cutHead(text)
		if !headed && !strings.ContainsAny(text, "{\\") && err == nil && got != text {
			t.Errorf("plain text %q became %q", text, got)
		}
	})
}

// No text of a setting ends the value that it stands in: what a template encodes is what readers of the file get.
func FuzzEncodeTOML(f *testing.F) {
	for _, s := range []string{"", "a", `"`, `\`, "a\nb = 1", "'''", "\x00\x7f\u0085\u2028", "\ufeff", "é€😀", "{{a}}"} {
		f.Add(s)
	}
	encode, err := Parse("v = {{toml_encode v}}\n")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			t.Skip() // no setting is
		}
		want := map[string]any{"v": []any{s, map[string]any{s: s}, true}}
		text, err := encode.Render(want)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		var got map[string]any
		if err := toml.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%q is encoded as %q: %v", s, text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q is encoded as %q: %s", s, text, diff)
		}
	})
}
