// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apply

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/drydock-os/drydock/internal/hostd/settings"
)

// joined is a node with what a cluster wants to know.
const joined = `{` + updates + `,
	"aws":{"region":"eu-west-1"},
	"network":{"hostname":"node-1","hosts":[["10.0.0.9",["peer","p"]]],"https-proxy":"http://proxy.example:3128","no-proxy":["x.example"]},
	"container-registry":{"mirrors":[{"registry":"docker.io","endpoint":["https://m.example"]}],"credentials":[{"registry":"r.example","auth":"YTpi"}]},
	"kernel":{"modules":{"udf":{"allowed":false},"ip_vs":{"autoload":true}},"sysctl":{"net.a":"1"}},
	"kubernetes":{"cluster-name":"c","api-server":"https://api.example:6443","cluster-certificate":"Q0E=","max-pods":29,"node-ip":"10.0.0.1",
		"cluster-dns-ip":["10.100.0.10","10.100.0.11"],"node-labels":{"a.b/c":"d"},"node-taints":{"t":"v:NoSchedule"},
		"eviction-hard":{"memory.available":"5%"},"server-certificate":"Q0VSVA==","server-key":"S0VZ",
		"static-pods":{"p":{"enabled":true,"manifest":"UE9E"}},"credential-providers":{"x":{"enabled":true,"image-patterns":["*.r.example"],"environment":{"A":"b"}}},"pod-infra-container-image":"pause:3.1"}}`

// Every file of every variant can be made on a host that is set up, with defaults alone where nothing is required.
func TestAllTemplatesRender(t *testing.T) {
	for variant, text := range map[string]string{
		"aws-k8s-1.33": joined, "metal-k8s-1.33": joined,
		"aws-ecs-2": `{` + updates + `,"network":{"hostname":"h"},"ecs":{"cluster":"c","metadata-service-rps":50}}`,
		"metal":     `{` + updates + `,"network":{"hostname":"h"}}`,
	} {
		h := newHost(t, variant, text)
		var names []string
		for _, k := range h.live.Keys(settings.ConfigurationFiles + ".") {
			if s := k.Segments(); s[2] == "path" {
				names = append(names, s[1])
			}
		}
		files, err := h.render(h.live, names, false)
		if err != nil {
			t.Errorf("%s: %v", variant, err)
		}
		for _, f := range files {
			content := string(f.content)
			if strings.Contains(content, "\n\n\n") || strings.Contains(content, "<nil>") {
				t.Errorf("%s: %s has odd lines:\n%s", variant, f.path, content)
			}
			if strings.HasSuffix(f.path, ".toml") {
				var v map[string]any
				if err := toml.Unmarshal(f.content, &v); err != nil {
					t.Errorf("%s: %s: %v\n%s", variant, f.path, err, content)
				}
			}
		}
	}
}

func TestContentOfFiles(t *testing.T) {
	h := newHost(t, "aws-k8s-1.33", joined)
	if err := h.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"etc/updog.toml": {`metadata_base_url = "https://u.example/m/"`, `seed = 17`, `version_lock = "latest"`, `ignore_waves = false`,
			`https_proxy = "http://proxy.example:3128"`, `no_proxy = ["x.example"]`},
		"etc/hosts":                         {"127.0.0.1 localhost localhost.localdomain node-1\n", "\n10.0.0.9 peer p\n"},
		"etc/network/proxy.env":             {"NO_PROXY=localhost,127.0.0.1,169.254.169.254,api.example,.cluster.local,x.example\n", "https_proxy=http://proxy.example:3128\n"},
		"etc/kubernetes/kubelet/env":        {"NODE_IP=10.0.0.1\n", "NODE_LABELS=a.b/c=d\n", "NODE_TAINTS=t=v:NoSchedule\n"},
		"etc/kubernetes/kubelet/config":     {"maxPods: 29\n", "serverTLSBootstrap: false\ntlsCertFile: /etc/kubernetes/pki/kubelet-server.crt\n", "staticPodPath: ", `clusterDNS: ["10.100.0.10", "10.100.0.11"]`, `memory: "574Mi"`, "  memory.available: \"5%\"\n"},
		"etc/kubernetes/kubelet/kubeconfig": {"server: https://api.example:6443\n", `args: ["token", "-i", "c"]`},
		"etc/kubernetes/pki/ca.crt":         {"CA"},

		"etc/kubernetes/pki/kubelet-server.crt":         {"CERT"},
		"etc/kubernetes/pki/private/kubelet-server.key": {"KEY"},
		"etc/static-pods.toml":                          {"[static-pods.\"p\"]\nenabled = true\nmanifest = \"UE9E\"\n"},
		"etc/kubernetes/kubelet/credential-provider-config.yaml": {
			"- name: ecr-credential-provider\n", "  defaultCacheDuration: \"12h\"\n", "- name: x\n", "  matchImages: [\"*.r.example\"]\n", "  - name: A\n    value: \"b\"\n"},
		"etc/containerd/config.toml":           {`sandbox_image = "pause:3.1"`, `registry.mirrors."docker.io"]`, `auth = "YTpi"`},
		"etc/modprobe.d/modprobe.conf":         {"install udf /bin/true\n"},
		"etc/modules-load.d/modules-load.conf": {"ip_vs\n"},
		"etc/corndog.toml":                     {`lockdown = "integrity"`, `"net.a" = "1"`},
	} {
		got := h.read(t, name)
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s lacks %q:\n%s", name, w, got)
			}
		}
	}
}

// Every template that the model names is there, and none that it does not.
func TestTemplatesAreThoseOfTheModel(t *testing.T) {
	named := map[string]bool{}
	for _, variant := range []string{"aws-k8s-1", "aws-ecs-2", "metal"} {
		d, err := settings.For(settings.ParseVariant(variant)).Defaults()
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range d.Live.Values {
			if s := k.Segments(); s[0] == settings.ConfigurationFiles && s[2] == "template-path" {
				var path string
				if err := json.Unmarshal(v, &path); err != nil {
					t.Fatal(err)
				}
				named[path[strings.LastIndexByte(path, '/')+1:]] = true
			}
		}
	}
	entries, err := own.ReadDir("templates")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !named[e.Name()] {
			t.Errorf("template %s has no use", e.Name())
		}
		delete(named, e.Name())
	}
	for name := range named {
		t.Errorf("template %s is not there", name)
	}
}
