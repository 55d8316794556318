// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package generate

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drydock-os/drydock/internal/hostd/commandline"
)

// api answers GETs from a table and keeps the rest.
type api struct {
	answers  map[string]string
	requests []string
}

func (a *api) Request(_ context.Context, method, uri string, body []byte) (int, []byte, error) {
	if method == "GET" {
		return 200, []byte(a.answers[uri]), nil
	}
	a.requests = append(a.requests, method+" "+uri+" "+string(body))
	return 204, nil, nil
}

func TestOnlyWhatIsUnsetIsGenerated(t *testing.T) {
	a := &api{answers: map[string]string{
		"/metadata/setting-generators": `{"settings.updates.seed":"bork seed","settings.kubernetes.max-pods":"skip","settings.motd":"never",
			"settings.host-containers":"never","settings.kubernetes.node-labels.\"a.b/c\"":"say 'two words'"}`,
		"/?prefix=settings.": `{"settings":{"motd":"x","host-containers":{"admin":{"enabled":true}}}}`,
	}}
	err := Run(t.Context(), Config{API: a, Log: slog.New(slog.DiscardHandler), Generate: func(_ context.Context, words []string) ([]byte, error) {
		switch words[0] {
		case "bork":
			return []byte("17\n"), nil
		case "say":
			return json.Marshal(words[1])
		case "skip":
			return nil, ErrSkip
		}
		t.Errorf("ran %q", words)
		return nil, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := `PATCH /settings?tx=bottlerocket-launch {"kubernetes":{"node-labels":{"a.b/c":"two words"}},"updates":{"seed":17}}`
	if diff := cmp.Diff([]string{want}, a.requests); diff != "" {
		t.Error(diff)
	}
}

// A node of an IPv6 cluster is known by IPv6; the cluster's DNS tells which kind it is.
func TestTheNodesAddressIsOfTheFamilyOfTheDNS(t *testing.T) {
	aws := cloud{"local-ipv4": "10.1.2.3", "mac": "0a:1b", "network/interfaces/macs/0a:1b/ipv6s": "2001:db8::7\n2001:db8::8"}
	for dns, want := range map[string]string{
		`null`: `"10.1.2.3"`, `"10.100.0.10"`: `"10.1.2.3"`, `["10.100.0.10","fd00::a"]`: `"10.1.2.3"`, `[]`: `"10.1.2.3"`,
		`"fd00::a"`: `"2001:db8::7"`, `["fd00::a","10.100.0.10"]`: `"2001:db8::7"`,
	} {
		var data map[string]any
		if err := json.Unmarshal([]byte(`{"settings":{"kubernetes":{"cluster-dns-ip":`+dns+`}}}`), &data); err != nil {
			t.Fatal(err)
		}
		p := Programs{Root: t.TempDir(), Cloud: aws, Settings: data}
		if got, err := p.Generate(t.Context(), []string{"pluto", "node-ip"}); err != nil || string(got) != want {
			t.Errorf("DNS %s: %s, %v; want %s", dns, got, err, want)
		}
		p.Cloud = cloud{"mac": "0a:1b"}
		if got, err := p.Generate(t.Context(), []string{"pluto", "node-ip"}); !errors.Is(err, ErrSkip) {
			t.Errorf("DNS %s, an instance without addresses: %s, %v", dns, got, err)
		}
	}
}

// A name that its setting would refuse is no name: the setting stays unset, and the host boots.
func TestNamesThatAreNoHostNamesAreLeftOut(t *testing.T) {
	for name, usable := range map[string]bool{
		"": false, "me": true, "ip-10-0-0-1.eu-west-1.compute.internal": true, "a_b": false, "-a": false, "a.-b": false, "Me": false,
		"one.example two.example": false, strings.Repeat("a", 64): false, strings.Repeat("a.", 127) + "a": false, "(none)": false,
	} {
		p := Programs{Root: t.TempDir(), Hostname: func() (string, error) { return name, nil }, Cloud: cloud{"local-hostname": name},
			Settings: map[string]any{"settings": map[string]any{"kubernetes": map[string]any{"hostname-override-source": "private-dns-name"}}}}
		for _, line := range [][]string{{"netdog", "generate-hostname"}, {"pluto", "hostname-override"}} {
			got, err := p.Generate(t.Context(), line)
			if usable && (err != nil || string(got) != `"`+name+`"`) || !usable && !errors.Is(err, ErrSkip) {
				t.Errorf("%q of %q: %s, %v", line, name, got, err)
			}
		}
	}
}

func TestAGeneratorThatFailsStopsAll(t *testing.T) {
	a := &api{answers: map[string]string{"/metadata/setting-generators": `{"settings.a":"x","settings.b":"y"}`, "/?prefix=settings.": `{}`}}
	for out, wrong := range map[string]error{"1 2": nil, "": nil, "1": errors.New("exit status 1")} {
		err := Run(t.Context(), Config{API: a, Log: slog.New(slog.DiscardHandler), Generate: func(context.Context, []string) ([]byte, error) {
			return []byte(out), wrong
		}})
		if err == nil || !strings.Contains(err.Error(), "generating settings.a") || len(a.requests) > 0 {
			t.Errorf("%q: %v, asked for %q", out, err, a.requests)
		}
	}
}

type cloud map[string]string

func (c cloud) Region(context.Context) (string, error)              { return c["region"], nil }
func (c cloud) Meta(_ context.Context, name string) (string, error) { return c[name], nil }

func TestOwnGenerators(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("usr/share/eks/eni-max-pods", "# type pods\nm5.large 29\nm5.xlarge 58\n", 0o644)
	write("usr/bin/mine", "#!/bin/sh\necho \"\\\"$1\\\"\"\nexit ${2:-0}\n", 0o755)
	aws := cloud{
		"region": "eu-west-1", "instance-type": "m5.large", "local-ipv4": "10.1.2.3", "mac": "0a:1b", "instance-id": "i-1",
		"network/interfaces/macs/0a:1b/vpc-ipv4-cidr-blocks": "10.0.0.0/16\n192.168.0.0/16", "placement/availability-zone": "eu-west-1a",
		"public-keys": "0=me\n1=you", "public-keys/0/openssh-key": "k0", "public-keys/1/openssh-key": "k1", "local-hostname": "ip-1",
	}
	elsewhere := cloud{"mac": "0a:1b", "network/interfaces/macs/0a:1b/vpc-ipv4-cidr-blocks": "192.168.0.0/16", "instance-type": "x9.huge"}
	for _, tc := range []struct {
		line  string
		cloud Cloud
		want  string // JSON; "": left unset
	}{
		{"pluto max-pods", aws, "29"}, {"pluto max-pods", elsewhere, ""}, {"pluto max-pods", nil, ""},
		{"pluto cluster-dns-ip", aws, `"172.20.0.10"`}, {"pluto cluster-dns-ip", elsewhere, `"10.100.0.10"`},
		{"pluto node-ip", aws, `"10.1.2.3"`}, {"pluto provider-id", aws, `"aws:///eu-west-1a/i-1"`},
		{"pluto pod-infra-container-image", aws, `"602401143452.dkr.ecr.eu-west-1.amazonaws.com/eks/pause-arm64:3.1"`},
		{"pluto hostname-override", aws, `"ip-1"`}, {"netdog generate-hostname", nil, `"me"`},
		{"shibaken generate-admin-userdata", aws, `"eyJzc2giOnsiYXV0aG9yaXplZC1rZXlzIjpbImswIiwiazEiXX19"`}, {"shibaken generate-admin-userdata", nil, ""},
		{"schnauzer-v2 render --requires 'aws@v1(helpers=[ecr-prefix])' --template '{{ ecr-prefix settings.aws.region }}/x:1'", nil,
			`"328549459982.dkr.ecr.eu-west-1.amazonaws.com/x:1"`},
		{"mine 'a b'", nil, `"a b"`}, {"mine x 2", nil, ""},
	} {
		p := Programs{Root: root, Arch: "aarch64", Cloud: tc.cloud, Random: rand.New(rand.NewPCG(1, 2)), Hostname: func() (string, error) { return "me", nil },
			Settings: map[string]any{"settings": map[string]any{"aws": map[string]any{"region": "eu-west-1"},
				"kubernetes": map[string]any{"hostname-override-source": "private-dns-name"}}}}
		words, err := commandline.Split(tc.line)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Generate(t.Context(), words)
		if tc.want == "" && errors.Is(err, ErrSkip) {
			continue
		}
		if err != nil || strings.TrimSpace(string(got)) != tc.want {
			t.Errorf("%s: %s, %v; want %s", tc.line, got, err, tc.want)
		}
	}
	p := Programs{Root: root, Random: rand.New(rand.NewPCG(1, 2))}
	for _, words := range [][]string{{"mine", "x", "1"}, {"mine", "x", "3"}, {"nothing"}, {"schnauzer-v2", "render"}} {
		if out, err := p.Generate(t.Context(), words); err == nil || errors.Is(err, ErrSkip) {
			t.Errorf("%q: %s, %v", words, out, err)
		}
	}
	for range 100 {
		out, err := p.Generate(t.Context(), []string{"bork", "seed"})
		var seed int
		if err != nil || json.Unmarshal(out, &seed) != nil || seed < 0 || seed > 2047 {
			t.Fatalf("seed %s, %v", out, err)
		}
	}
}

func TestProgramsKnowTheProxy(t *testing.T) {
	root := t.TempDir()
	program := filepath.Join(root, "usr/bin/mine")
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho \"\\\"$HTTPS_PROXY $https_proxy $NO_PROXY $no_proxy $DRYDOCK_ROOT\\\"\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"} {
		t.Setenv(name, "")
	}
	network := map[string]any{"https-proxy": "http://p:1", "no-proxy": []any{"a", ".b"}}
	for want, settings := range map[string]map[string]any{
		`"http://p:1 http://p:1 localhost,127.0.0.1,169.254.169.254,a,.b localhost,127.0.0.1,169.254.169.254,a,.b ` + root + `"`: {"network": network},
		`"    ` + root + `"`: {"network": map[string]any{"no-proxy": []any{"a"}}},
	} {
		out, err := Programs{Root: root, Settings: map[string]any{"settings": settings}}.Generate(t.Context(), []string{"mine"})
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%v: %s, %v; want %s", settings, got, err, want)
		}
	}
}
