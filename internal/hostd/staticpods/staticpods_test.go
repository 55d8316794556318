// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package staticpods

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheFolderFollowsTheSettings(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "static-pods.toml")
	for _, step := range []struct {
		name, text string
		want       map[string]string
		wrong      []string
	}{
		{"no file", "", map[string]string{}, nil},
		{"two, of which one runs", "[static-pods.a]\nenabled = true\nmanifest = 'YQ=='\n[static-pods.b]\nenabled = false\nmanifest = 'Yg=='\n",
			map[string]string{"a.yaml": "a"}, nil},
		{"another manifest, and both", "[static-pods.a]\nenabled = true\nmanifest = 'QQ=='\n[static-pods.b]\nenabled = true\nmanifest = 'Yg=='\n",
			map[string]string{"a.yaml": "A", "b.yaml": "b"}, nil},
		{"one that is wrong does not run on", "[static-pods.a]\nenabled = true\nmanifest = '?'\n[static-pods.b]\nenabled = true\nmanifest = 'Yg=='\n[static-pods.c]\nenabled = true\n[static-pods.'../d']\nenabled = true\nmanifest = 'ZA=='\n",
			map[string]string{"b.yaml": "b"}, []string{"static-pods.a: the manifest is not base64", "static-pods.c: no manifest is set", "static-pods.../d: the name may be up to 76"}},
		{"no TOML", "[", map[string]string{"b.yaml": "b"}, []string{"reading static pods: "}},
		{"none", "# none\n", map[string]string{}, nil},
	} {
		if step.text != "" {
			if err := os.WriteFile(file, []byte(step.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		err := Run(root, file, slog.New(slog.DiscardHandler))
		if (err != nil) != (step.wrong != nil) {
			t.Errorf("%s: %v", step.name, err)
		}
		for _, w := range step.wrong {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %q", step.name, err, w)
			}
		}
		got := map[string]string{}
		files, _ := filepath.Glob(filepath.Join(root, Dir, "*"))
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got[filepath.Base(f)] = string(data)
		}
		if !maps.Equal(got, step.want) {
			t.Errorf("%s: %v, want %v", step.name, got, step.want)
		}
	}
}
