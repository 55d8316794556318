// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package settings

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drydock-os/drydock/internal/hostd/store"
)

func flat(values map[store.Key]store.Value) map[string]string {
	out := map[string]string{}
	for k, v := range values {
		out[k.String()] = string(v)
	}
	return out
}

func model(variant string) *Model { return For(ParseVariant(variant)) }

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     map[string]string
	}{
		{"nothing", `{}`, map[string]string{}},
		{"text with what HTML escapes", `{"motd":"a<b> & \"c\" é"}`, map[string]string{"settings.motd": `"a<b> & \"c\" é"`}},
		{"escapes", `{"motd":"\ud83d\ude00 \\ud800 \u00e9\/"}`, map[string]string{"settings.motd": `"😀 \\ud800 é/"`}},
		{"null is not given", `{"motd":null,"updates":null,"kubernetes":{"max-pods":null,"node-labels":{"a":null}}}`, map[string]string{}},
		{"numbers and words", `{"updates":{"seed":4294967295,"ignore-waves":true}}`,
			map[string]string{"settings.updates.seed": "4294967295", "settings.updates.ignore-waves": "true"}},
		{"keys with dots are quoted", `{"kubernetes":{"node-labels":{"a.b/c":"d"}}}`, map[string]string{`settings.kubernetes.node-labels."a.b/c"`: `"d"`}},
		{"one taint becomes a list", `{"kubernetes":{"node-taints":{"a":"b:NoSchedule","c":["d:NoExecute",":NoSchedule"]}}}`,
			map[string]string{"settings.kubernetes.node-taints.a": `["b:NoSchedule"]`, "settings.kubernetes.node-taints.c": `["d:NoExecute",":NoSchedule"]`}},
		{"lists are one value", `{"ntp":{"time-servers":["a.example","10.0.0.1"]}}`, map[string]string{"settings.ntp.time-servers": `["a.example","10.0.0.1"]`}},
		{"empty list", `{"ntp":{"time-servers":[]}}`, map[string]string{"settings.ntp.time-servers": `[]`}},
		{"mirrors as a list", `{"container-registry":{"mirrors":[{"registry":"docker.io","endpoint":["https://m"]}]}}`,
			map[string]string{"settings.container-registry.mirrors": `[{"endpoint":["https://m"],"registry":"docker.io"}]`}},
		{"mirrors as a map", `{"container-registry":{"mirrors":{"b":["https://m"],"a":["https://n"]}}}`,
			map[string]string{"settings.container-registry.mirrors": `[{"endpoint":["https://n"],"registry":"a"},{"endpoint":["https://m"],"registry":"b"}]`}},
		{"an alias", `{"container-registry":{"creds":[{"registry":"r","username":"u","password":null}]}}`,
			map[string]string{"settings.container-registry.credentials": `[{"registry":"r","username":"u"}]`}},
		{"hosts", `{"network":{"hosts":[["10.0.0.1",["a","b.c"]]]}}`, map[string]string{"settings.network.hosts": `[["10.0.0.1",["a","b.c"]]]`}},
		{"percentage as text", `{"kubernetes":{"image-gc-high-threshold-percent":"85"}}`, map[string]string{"settings.kubernetes.image-gc-high-threshold-percent": "85"}},
		{"sysctl", `{"kernel":{"sysctl":{"net.ipv4.ip_forward":"1"}}}`, map[string]string{`settings.kernel.sysctl."net.ipv4.ip_forward"`: `"1"`}},
		{"one DNS address or several", `{"kubernetes":{"cluster-dns-ip":["10.0.0.1","fd00::1"]}}`, map[string]string{"settings.kubernetes.cluster-dns-ip": `["10.0.0.1","fd00::1"]`}},
	} {
		got, err := model("aws-k8s-1.33").Parse([]byte(c.in))
		if diff := cmp.Diff(c.want, flat(got)); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got)\n%s", c.name, err, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{``, "EOF while parsing a value at line 1 column 0"},
		{`{`, "unexpected end of JSON input at line 1 column 1"},
		{"{\n\"motd\": x}", "invalid character 'x' looking for beginning of value at line 2 column 9"},
		{`{"motd":"a"} {}`, "invalid character '{' after top-level value"},
		{`{"motd":"a","motd":"b"}`, "duplicate field `motd`"},
		{"{\"motd\":\"\xff\"}", "invalid UTF-8"},
		{`{"motd":"\ud800"}`, "lone surrogate in an escape at line 1 column 15"},
		{`{"motd":"\udc00x"}`, "lone surrogate"}, {`{"motd":"\ud800\ud800"}`, "lone surrogate"}, {`{"motd":"\\\ud800\\udc00"}`, "lone surrogate"},
		{`{"\ud800":"x"}`, "lone surrogate"},
		{`[]`, "settings: [] is not valid: it must be an object"},
		{`null`, "settings: null is not valid: it must be an object"},
		{`"motd"`, `settings: "motd" is not valid: it must be an object`},
		{`{"mtod":"a"}`, "settings.mtod: unknown setting"},
		{`{"Motd":"a"}`, "settings.Motd: unknown setting"},
		{`{"settings":{"motd":"a"}}`, "settings.settings: unknown setting"},
		{`{"ecs":{"cluster":"a"}}`, "settings.ecs: unknown setting"},
		{`{"updates":{"seeds":1}}`, "settings.updates.seeds: unknown setting"},
		{`{"motd":42}`, "settings.motd: 42 is not valid: it must be text"},
		{`{"motd":{"a":"b"}}`, "it must be text"},
		{`{"updates":"x"}`, `settings.updates: "x" is not valid: it must be an object`},
		{`{"updates":{"seed":4294967296}}`, "settings.updates.seed: 4294967296 is not valid: it must be a whole number, 0 to 4294967295"},
		{`{"updates":{"rate-limit":1000}}`, "settings.updates.rate-limit: 1000 is not valid: it must be 0, or a whole number from 65536"},
		{`{"updates":{"seed":"7"}}`, `settings.updates.seed: "7" is not valid`},
		{`{"updates":{"seed":1.5}}`, "settings.updates.seed: 1.5 is not valid"},
		{`{"ntp":{"time-servers":"a"}}`, "a list, and each item a URL"},
		{`{"ntp":{"time-servers":["a",null]}}`, "item 2, null, is not valid: it must be a URL"},
		{`{"container-registry":{"credentials":[{"registry":"a"},{"registry":"b","password":7}]}}`, "item 2 (not shown) is not valid: it must be an object with registry"},
		{`{"network":{"hosts":[["192.0.2.1",["a"]],["x",["b"]]]}}`, `item 2, ["x",["b"]], is not valid: it must be a pair: an IP address`},
		{`{"host-containers":{"a.b":{"enabled":true}}}`, `settings.host-containers."a.b": the name "a.b" is not valid`},
		{`{"host-containers":{"":{"enabled":true}}}`, `the name "" is not valid`},
		{`{"host-containers":{"a":{"sauce":"x"}}}`, "settings.host-containers.a.sauce: unknown setting"},
		{`{"container-registry":{"creds":[],"credentials":[]}}`, "given twice"},
		{`{"container-registry":{"mirrors":[{"registry":"a","endpoint":["b"],"extra":1}]}}`, "no other keys"},
		{`{"container-registry":{"mirrors":[{"registry":"a"}]}}`, "no other keys"},
		{`{"kubernetes":{"node-taints":{"a":[]}}}`, "one or more"},
		{`{"kubernetes":{"image-gc-high-threshold-percent":50,"image-gc-low-threshold-percent":50}}`, "below image-gc-high-threshold-percent, which is 50"},
		{`{"kubernetes":{"node-labels":{"` + strings.Repeat("a", 250) + `/b":"x"}}}`, "invalid key: 284 bytes, more than 255"},
		{`{"motd":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, "nested too deeply"},
		{`{"motd":["` + strings.Repeat("x", 200) + `"]}`, "…"},
	} {
		got, err := model("aws-k8s-1.33").Parse([]byte(c.in))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q: %v, %v; want an error with %q", c.in, flat(got), err, c.want)
		}
		if _, syntax := errors.AsType[*SyntaxError](err); !syntax && !errors.Is(err, ErrInvalid) {
			t.Errorf("%.60q: %v is neither ErrInvalid nor a *SyntaxError", c.in, err)
		}
		if err != nil && len(err.Error()) > 600 {
			t.Errorf("%.60q: the error has %d bytes", c.in, len(err.Error()))
		}
	}
}

func TestErrorsSayWhere(t *testing.T) {
	_, err := model("aws-dev").Parse([]byte("{\n  \"motd\": \"a\",\n  \"updates\": {\"ignore-waves\": true, \"seed\": -1}\n}"))
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Line != 3 || e.Column != 46 {
		t.Errorf("%#v", err)
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	for _, in := range []string{
		`{"kubernetes":{"server-key":"hunter2"}}`, `{"kubernetes":{"bootstrap-token":"hunter2"}}`, `{"aws":{"credentials":"hunter2"}}`,
		`{"container-registry":{"credentials":[{"registry":"r","password":"hunter2","x":1}]}}`, `{"host-containers":{"admin":{"user-data":"hunter2"}}}`,
	} {
		if _, err := model("aws-k8s-1.33").Parse([]byte(in)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestParsePairs(t *testing.T) {
	m := model("aws-k8s-1.33")
	for _, c := range []struct {
		in   []string
		want map[string]string
	}{
		{nil, map[string]string{}},
		{[]string{"motd=hi = there"}, map[string]string{"settings.motd": `"hi = there"`}},
		{[]string{"settings.motd="}, map[string]string{"settings.motd": `""`}},
		{[]string{"motd=42"}, map[string]string{"settings.motd": `"42"`}},
		{[]string{"updates.seed=42", "updates.ignore-waves=true"}, map[string]string{"settings.updates.seed": "42", "settings.updates.ignore-waves": "true"}},
		{[]string{"kubernetes.pod-pids-limit=-1"}, map[string]string{"settings.kubernetes.pod-pids-limit": "-1"}},
		{[]string{`kubernetes.node-labels."a.b/c"=true`}, map[string]string{`settings.kubernetes.node-labels."a.b/c"`: `"true"`}},
	} {
		got, err := m.ParsePairs(c.in)
		if diff := cmp.Diff(c.want, flat(got)); err != nil || diff != "" {
			t.Errorf("%q: %v %s", c.in, err, diff)
		}
	}
	for _, in := range []string{"motd", ""} {
		got, err := m.ParsePairs([]string{in})
		if _, ok := errors.AsType[*PairError](err); !ok {
			t.Errorf("%q: %v, %v; want a *PairError", in, got, err)
		}
	}
	for _, c := range []struct {
		in   string
		want error
	}{
		{"=x", store.ErrKey}, {"a b=c", store.ErrKey}, {"mtod=x", ErrInvalid}, {"updates=x", ErrInvalid},
		{"updates.seed=x", ErrInvalid}, {"updates.seed=1.5", ErrInvalid}, {"ntp.time-servers=a", ErrInvalid}, {"settings=x", ErrInvalid}, {"motd.x=1", ErrInvalid},
		{"services.motd.restart-commands=x", ErrInvalid}, {strings.Repeat("a", 250) + "=x", store.ErrKey},
	} {
		if got, err := m.ParsePairs([]string{c.in}); !errors.Is(err, c.want) {
			t.Errorf("%.40q: %v, %v; want %v", c.in, got, err, c.want)
		}
	}
	// The complaint is about what was written: a number that is none of those that may be.
	if _, err := m.ParsePairs([]string{"updates.rate-limit=5"}); err == nil || !strings.Contains(err.Error(), ": 5 is not valid") {
		t.Errorf("got error %v", err)
	}
}

func TestVariantsHaveTheirOwnSettings(t *testing.T) {
	for _, c := range []struct {
		variant, in string
		ok          bool
	}{
		{"aws-k8s-1.33", `{"kubernetes":{"cluster-name":"c"}}`, true}, {"vmware-k8s-1.33", `{"kubernetes":{"cluster-name":"c"}}`, true},
		{"aws-ecs-2", `{"kubernetes":{"cluster-name":"c"}}`, false}, {"aws-ecs-2", `{"ecs":{"cluster":"c"}}`, true},
		{"aws-dev", `{"ecs":{"cluster":"c"}}`, false}, {"metal", `{"motd":"c"}`, true}, {"", `{"kubernetes":{}}`, false},
	} {
		if _, err := model(c.variant).Parse([]byte(c.in)); (err == nil) != c.ok {
			t.Errorf("%s: %s: %v", c.variant, c.in, err)
		}
	}
}

func TestDefaultsAreValid(t *testing.T) {
	for _, family := range families {
		m := model(family)
		d, err := m.Defaults()
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range d.Settings {
			if err := m.Check(k, v); err != nil {
				t.Errorf("%s: default of %v", family, err)
			}
		}
		named := map[string]bool{}
		for k := range d.Live.Values {
			named[k.Segments()[0]+"/"+k.Segments()[1]] = true
		}
		for k, known := range d.Live.Metadata {
			if command, ok := known[store.SettingGenerator]; ok {
				if _, err := m.lookup(k); err != nil {
					t.Errorf("%s: generator %s for %v", family, command, err)
				}
			}
			var affected []string
			if v, ok := known[store.AffectedServices]; ok {
				if err := json.Unmarshal(v, &affected); err != nil {
					t.Error(err)
				}
			}
			for _, s := range affected {
				if !named[Services+"/"+s] {
					t.Errorf("%s: %s affects %s, which does not exist", family, k, s)
				}
			}
		}
		for k, v := range d.Live.Values {
			if last := k.Segments()[2]; last != "configuration-files" {
				continue
			}
			var files []string
			if err := json.Unmarshal(v, &files); err != nil {
				t.Error(err)
			}
			for _, f := range files {
				if !named[ConfigurationFiles+"/"+f] {
					t.Errorf("%s: %s has file %s, which does not exist", family, k, f)
				}
			}
		}
	}
}

func TestEverySettingAffectsSomething(t *testing.T) {
	for _, s := range settings {
		covered := len(s.services) > 0
		for _, g := range groups {
			covered = covered || (s.key == g.key || strings.HasPrefix(s.key, g.key+".")) && len(g.services) > 0
		}
		if !covered {
			t.Errorf("nothing is affected by settings.%s", s.key)
		}
		if !strings.HasSuffix(s.doc, ".") {
			t.Errorf("settings.%s: %q is no sentence", s.key, s.doc)
		}
	}
}

func TestTree(t *testing.T) {
	values, err := model("aws-k8s-1.33").Parse([]byte(`{"motd":"a","kubernetes":{"node-labels":{"a.b":"c"},"max-pods":5},"network":{"hosts":[["10.0.0.1",["a"]]]}}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Tree(values)
	want := map[string]any{"settings": map[string]any{
		"motd": "a", "kubernetes": map[string]any{"node-labels": map[string]any{"a.b": "c"}, "max-pods": json.Number("5")},
		"network": map[string]any{"hosts": []any{[]any{"10.0.0.1", []any{"a"}}}},
	}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	nested, err := json.Marshal(Nest(values))
	if want := `{"settings":{"kubernetes":{"max-pods":5,"node-labels":{"a.b":"c"}},"motd":"a","network":{"hosts":[["10.0.0.1",["a"]]]}}}`; err != nil || string(nested) != want {
		t.Errorf("%s, %v", nested, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"motd":"a"}`, `{"kubernetes":{"node-labels":{"a.b/c":"d"},"node-taints":{"a":"b:c"}}}`, `{"ntp":{"time-servers":["a"]}}`, `{"motd":null}`,
		`{"container-registry":{"mirrors":{"a":["b"]}}}`, `{"network":{"hosts":[["10.0.0.1",["a"]]]}}`, `{"updates":{"seed":1e3}}`, `{"motd":"\ud800"}`,
	} {
		f.Add([]byte(s))
	}
	m := model("aws-k8s-1.33")
	f.Fuzz(func(t *testing.T, in []byte) {
		values, err := m.Parse(in)
		if err != nil {
			return
		}
		for k, v := range values {
			if err := m.Check(k, v); err != nil {
				t.Errorf("%q was accepted and is then refused: %v", in, err)
			}
		}
		nested, err := json.Marshal(Nest(values))
		if err != nil {
			t.Fatal(err)
		}
		var whole struct {
			Settings json.RawMessage `json:"settings"`
		}
		if err := json.Unmarshal(nested, &whole); err != nil {
			t.Fatal(err)
		}
		if whole.Settings == nil {
			return
		}
		again, err := m.Parse(whole.Settings)
		if diff := cmp.Diff(flat(values), flat(again)); err != nil || diff != "" {
			t.Errorf("%q prints as %s, which reads differently: %v %s", in, nested, err, diff)
		}
	})
}

func FuzzParsePairs(f *testing.F) {
	for _, s := range []string{"motd=a", "updates.seed=7", `kubernetes.node-labels."a.b/c"=d`, "kubernetes.pod-pids-limit=-1", "=", "a", "updates.ignore-waves=true"} {
		f.Add(s)
	}
	m := model("aws-k8s-1.33")
	f.Fuzz(func(t *testing.T, in string) {
		values, err := m.ParsePairs([]string{in})
		if err != nil {
			return
		}
		if len(values) != 1 {
			t.Errorf("%q makes %d values", in, len(values))
		}
		for k, v := range values {
			if err := m.Check(k, v); err != nil {
				t.Errorf("%q was accepted and is then refused: %v", in, err)
			}
		}
	})
}

func TestAffectedServicesExist(t *testing.T) {
	exists := map[string]bool{}
	for _, s := range services {
		exists[s.name] = true
	}
	for _, g := range groups {
		for _, name := range g.services {
			if !exists[name] {
				t.Errorf("settings.%s affects %s, which does not exist", g.key, name)
			}
		}
	}
	for _, s := range settings {
		for _, name := range s.services {
			if !exists[name] {
				t.Errorf("settings.%s affects %s, which does not exist", s.key, name)
			}
		}
	}
}
