// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package generate

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/drydock-os/drydock/internal/hostd/commandline"
	"github.com/drydock-os/drydock/internal/hostd/settings"
	"github.com/drydock-os/drydock/internal/hostd/store"
)

// One value that its setting does not accept would stop the boot: all are set in one request. So each generator that a
// variant names must make values that the variant's own model takes.
func TestWhatIsGeneratedFitsTheModel(t *testing.T) {
	aws := cloud{
		"region": "eu-west-1", "instance-type": "m5.large", "local-ipv4": "10.1.2.3", "mac": "0a:1b", "instance-id": "i-0123456789abcdef0",
		"network/interfaces/macs/0a:1b/vpc-ipv4-cidr-blocks": "10.0.0.0/16", "placement/availability-zone": "eu-west-1a",
		"public-keys": "0=me", "public-keys/0/openssh-key": "ssh-ed25519 AAAA me", "local-hostname": "ip-10-1-2-3.eu-west-1.compute.internal",
	}
	for _, name := range []string{"aws-k8s-1.33", "aws-ecs-2", "aws-dev", "metal-k8s-1.33", "metal-dev"} {
		variant := settings.ParseVariant(name)
		model := settings.For(variant)
		defaults, err := model.Defaults()
		if err != nil {
			t.Fatal(err)
		}
		p := Programs{Root: t.TempDir(), Arch: "x86_64", Random: rand.New(rand.NewPCG(1, 2)), Hostname: func() (string, error) { return "me", nil },
			Settings: map[string]any{"os": map[string]any{"arch": "x86_64", "variant_id": name},
				"settings": map[string]any{"aws": map[string]any{"region": "eu-west-1"}, "kubernetes": map[string]any{"hostname-override-source": "private-dns-name"}}}}
		if variant.AWS {
			p.Cloud = aws
		}
		made := 0
		for key, known := range defaults.Live.Metadata {
			line, has := known[store.SettingGenerator]
			if !has {
				continue
			}
			var command string
			if err := json.Unmarshal(line, &command); err != nil {
				t.Fatal(err)
			}
			words, err := commandline.Split(command)
			if err != nil {
				t.Fatalf("%s: %s: %v", name, key, err)
			}
			value, err := p.Generate(t.Context(), words)
			if err != nil {
				continue // left unset; TestOwnGenerators says when
			}
			made++
			if err := model.Check(key, store.Value(value)); err != nil {
				t.Errorf("%s: %q makes what its setting refuses: %v", name, command, err)
			}
		}
		if made < 2 {
			t.Errorf("%s: only %d values generated", name, made)
		}
	}
}
