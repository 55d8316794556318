// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package settings

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/drydock-os/drydock/internal/hostd/store"
)

// User data of 2020 must be taken unchanged: each setting of the first release is there in the variants that had it, and
// in no other, takes what it took, and comes from where it came: a default, a generator, or nowhere.
func TestSettingsOfTheFirstRelease(t *testing.T) {
	const everywhere, onKubernetes, onECS = "aws-k8s aws-ecs aws-dev", "aws-k8s", "aws-ecs"
	for _, c := range []struct {
		key, value, variants string
		from                 string // JSON of the default, the first word of the generator, or ""
	}{
		{"motd", `"hello"`, everywhere, `"Welcome to Bottlerocket!"`},
		{"kubernetes.cluster-name", `"blue"`, onKubernetes, ""},
		{"kubernetes.cluster-certificate", `"LS0tLS1CRUdJTg=="`, onKubernetes, ""},
		{"kubernetes.api-server", `"https://ABCDEF.gr7.eu-west-1.eks.amazonaws.com"`, onKubernetes, ""},
		{"kubernetes.node-labels.label1", `"foo"`, onKubernetes, ""},
		{"kubernetes.node-taints.dedicated", `"experimental:PreferNoSchedule"`, onKubernetes, ""},
		{"kubernetes.cluster-domain", `"cluster.local"`, onKubernetes, `"cluster.local"`},
		{"kubernetes.max-pods", "29", onKubernetes, "pluto"},
		{"kubernetes.cluster-dns-ip", `"10.100.0.10"`, onKubernetes, "pluto"},
		{"kubernetes.node-ip", `"192.168.1.2"`, onKubernetes, "pluto"},
		{"kubernetes.pod-infra-container-image", `"602401143452.dkr.ecr.eu-west-1.amazonaws.com/eks/pause-amd64:3.1"`, onKubernetes, "pluto"},
		{"ecs.cluster", `"blue"`, onECS, ""},
		{"ecs.instance-attributes.stack", `"prod"`, onECS, ""},
		{"ecs.logging-drivers", `["json-file"]`, onECS, `["json-file","awslogs","none"]`},
		{"ecs.allow-privileged-containers", "true", onECS, "false"},
		{"ecs.loglevel", `"debug"`, onECS, `"info"`},
		{"updates.metadata-base-url", `"https://updates.example/metadata/"`, everywhere, "schnauzer-v2"},
		{"updates.targets-base-url", `"https://updates.example/targets/"`, everywhere, `"https://updates.bottlerocket.aws/targets/"`},
		{"updates.seed", "2047", everywhere, "bork"},
		{"updates.version-lock", `"v1.0.0"`, everywhere, `"latest"`},
		{"updates.ignore-waves", "true", everywhere, "false"},
		{"ntp.time-servers", `["169.254.169.123","https://ntp.example"]`, everywhere, `["169.254.169.123","2.amazon.pool.ntp.org"]`},
		{"host-containers.admin.source", `"328549459982.dkr.ecr.us-west-2.amazonaws.com/bottlerocket-admin:v0.5.2"`, everywhere, "schnauzer-v2"},
		{"host-containers.admin.enabled", "true", everywhere, "false"},
		{"host-containers.admin.superpowered", "false", everywhere, "true"},
		{"host-containers.control.source", `"328549459982.dkr.ecr.us-west-2.amazonaws.com/bottlerocket-control:v0.4.1"`, everywhere, "schnauzer-v2"},
		{"host-containers.control.enabled", "false", everywhere, "true"},
		{"host-containers.control.superpowered", "true", everywhere, "false"},
		{"host-containers.mine.source", `"example.com/mine:v1"`, everywhere, ""},
		{"host-containers.mine.enabled", "true", everywhere, ""},
		{"host-containers.mine.superpowered", "true", everywhere, ""},
		{"aws.region", `"eu-west-1"`, everywhere, ""},
	} {
		key, err := store.ParseKey("settings." + c.key)
		if err != nil {
			t.Fatal(err)
		}
		names := strings.Split(c.key, ".")
		text := c.value
		for _, name := range slices.Backward(names) {
			text = fmt.Sprintf("{%q:%s}", name, text)
		}
		for _, variant := range strings.Fields(everywhere) {
			m := model(variant)
			_, err := m.Parse([]byte(text))
			if has := slices.Contains(strings.Fields(c.variants), variant); has != (err == nil) {
				t.Errorf("%s has %s: %v, want %v", variant, c.key, err, has)
			} else if !has {
				continue
			}
			d, err := m.Defaults()
			if err != nil {
				t.Fatal(err)
			}
			from := string(d.Settings[key])
			if generator, ok := d.Live.Metadata[key][store.SettingGenerator]; ok {
				from += strings.Trim(strings.Fields(string(generator))[0], `"`)
			}
			if from != c.from {
				t.Errorf("%s of %s comes from %q, want %q", c.key, variant, from, c.from)
			}
		}
	}
}

// Off AWS nothing of it is asked, and nothing needs it.
func TestDefaultsOffAWS(t *testing.T) {
	for _, variant := range []string{"metal", "metal-k8s-1.33", "vmware-k8s-1.33"} {
		d, err := model(variant).Defaults()
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"ntp.time-servers": `["2.amazon.pool.ntp.org"]`, "host-containers.control.enabled": "false",
			"host-containers.admin.source": `"public.ecr.aws/bottlerocket/bottlerocket-admin:v0.11.13"`,
		} {
			key, err := store.ParseKey("settings." + name)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(d.Settings[key]); got != want {
				t.Errorf("%s: %s is %s, want %s", variant, name, got, want)
			}
		}
		for key, known := range d.Live.Metadata {
			if command := string(known[store.SettingGenerator]); strings.HasPrefix(command, `"pluto`) || strings.Contains(command, "ecr-prefix") {
				t.Errorf("%s: %s is generated by %s", variant, key, command)
			}
		}
	}
}
