// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const chartYAML = "apiVersion: v2\nname: sample\nversion: 1.0.0\nicon: https://example.com/icon.svg\n"

// newChart writes a chart with the given templates and one value, color: red.
func newChart(t *testing.T, templates map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "sample")
	files := map[string]string{"Chart.yaml": chartYAML, "values.yaml": "color: red\n"}
	for name, text := range templates {
		files["templates/"+name] = text
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func configMap(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\ndata:\n  color: {{ .Values.color }}\n"
}

const account = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: sample\n"

func TestManifestIsInInstallOrderWithTheNamespaceFirst(t *testing.T) {
	dir := newChart(t, map[string]string{"a.yaml": configMap("a"), "b.yaml": account, "NOTES.txt": "thank you\n"})
	var first, second, stderr bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &second} {
		if code := run([]string{"-namespace", "here", dir}, out, &stderr); code != 0 {
			t.Fatalf("status %d: %s", code, &stderr)
		}
	}
	if first.String() != second.String() {
		t.Error("the same chart rendered differently")
	}
	last := -1
	for _, want := range []string{"kind: Namespace\nmetadata:\n  name: here", "kind: ServiceAccount", "kind: ConfigMap", "color: red"} {
		at := strings.Index(first.String(), want)
		if at <= last {
			t.Fatalf("%q is missing or too early in:\n%s", want, &first)
		}
		last = at
	}
	if strings.Contains(first.String(), "thank you") {
		t.Error("the notes for people are in the manifest")
	}
}

func TestWhatCannotBecomeAManifestIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		templates map[string]string
		want      string
	}{
		"not YAML":         {map[string]string{"a.yaml": "kind: [\n"}, "linting chart"},
		"unknown function": {map[string]string{"a.yaml": "{{ nonsense }}\n"}, "linting chart"},
		"hook": {map[string]string{"a.yaml": strings.Replace(account, "metadata:",
			"metadata:\n  annotations: {helm.sh/hook: pre-install}", 1)}, "is a hook"},
		"hook of two events": {map[string]string{"a.yaml": strings.Replace(account, "metadata:",
			"metadata:\n  annotations: {helm.sh/hook: 'post-delete,post-upgrade'}", 1)}, "is a hook"},
	} {
		t.Run(name, func(t *testing.T) {
			output := filepath.Join(t.TempDir(), "out.yaml")
			var stdout, stderr bytes.Buffer
			if code := run([]string{"-o", output, newChart(t, test.templates)}, &stdout, &stderr); code != 1 {
				t.Errorf("status %d, want 1", code)
			}
			if !strings.Contains(stderr.String(), test.want) {
				t.Errorf("error %q does not say %q", &stderr, test.want)
			}
			if _, err := os.Stat(output); err == nil {
				t.Error("a manifest was written nevertheless")
			}
		})
	}
}
