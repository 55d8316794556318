// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package storewolf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/drydock-os/drydock/internal/hostd/settings"
	"github.com/drydock-os/drydock/internal/hostd/store"
)

const imageDefaults = `
[settings]
motd = "ours"
[settings.updates]
metadata-base-url = "https://updates.example/m/"
[settings.kubernetes.node-labels]
"example.org/site" = "lab"

[services.motd]
configuration-files = ["motd"]
restart-commands = ["/usr/bin/true"]
[configuration-files.issue]
path = "/etc/issue"
template-path = "/usr/share/templates/issue"
[metadata.settings.motd]
affected-services = ["motd", "updog"]
`

func TestDefaultsOfTheImageGoBeforeOurs(t *testing.T) {
	cfg := host(t)
	file := filepath.Join(cfg.Root, defaultsFile)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(imageDefaults), 0o644); err != nil {
		t.Fatal(err)
	}
	s := boot(t, cfg, "one")
	defer s.Close()
	if _, err := s.Commit(LaunchTransaction); err != nil {
		t.Fatal(err)
	}
	live := s.Live()
	for name, want := range map[string]string{
		"settings.motd": `"ours"`, "settings.updates.metadata-base-url": `"https://updates.example/m/"`,
		`settings.kubernetes.node-labels."example.org/site"`: `"lab"`, "settings.updates.ignore-waves": "false",
		"services.motd.restart-commands": `["/usr/bin/true"]`, "configuration-files.issue.path": `"/etc/issue"`,
	} {
		if got := string(live.Values[key(t, name)]); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if v, _ := live.Inherited(key(t, "settings.motd"), store.AffectedServices); string(v) != `["motd","updog"]` {
		t.Errorf("affected services: %s", v)
	}
}

func TestBadDefaultsStopTheBoot(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"no TOML":               {"[settings\n", "line 1: "},
		"unknown setting":       {"[settings]\nmtod = \"x\"\n", "line 2: settings.mtod: unknown setting"},
		"wrong type":            {"[settings]\nmotd = 1\n", "line 2: settings.motd: 1 is not valid"},
		"a date":                {"[services.x]\ny = 2020-01-01\n", "line 2: services.x.y: 2020-01-01 is not valid"},
		"unknown table":         {"[setings]\nmotd = \"x\"\n", "unknown table setings"},
		"a number of a service": {"[services.x]\nrestart-commands = 1\n", "neither text nor a list"},
		"metadata of nothing":   {"[metadata]\naffected-services = [\"x\"]\n", "belongs to no key"},
		"a name that is no key": {"[services.\"a b\"]\nrestart-commands = []\n", "invalid key"},
		"too long":              {"# " + strings.Repeat("x", maxDefaults), "larger than"},
	} {
		cfg := host(t)
		file := filepath.Join(cfg.Root, defaultsFile)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(c.file), 0o644); err != nil {
			t.Fatal(err)
		}
		if s, err := Prepare(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}

func FuzzParseDefaults(f *testing.F) {
	f.Add([]byte(imageDefaults))
	f.Add([]byte("[metadata]\na = 1"))
	f.Add([]byte("[services]\na.b = [[1]]"))
	m := settings.For(settings.ParseVariant("aws-k8s-1.33"))
	f.Fuzz(func(t *testing.T, in []byte) {
		d, err := m.Defaults()
		if err != nil {
			t.Fatal(err)
		}
		if parseDefaults(d, m, in) != nil {
			return
		}
		for k, v := range d.Settings {
			if err := m.Check(k, v); err != nil {
				t.Errorf("%q was accepted, and has %v", in, err)
			}
		}
		for k := range d.Live.Values {
			if again, err := store.ParseKey(k.String()); err != nil || again != k {
				t.Errorf("%q was accepted, and has the key %q", in, k)
			}
		}
	})
}
