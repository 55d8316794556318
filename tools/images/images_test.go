// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// sample writes a small module of two programs that uses another module, and how to make an image of it.
func sample(t *testing.T) config {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":             "module example.com/sample\n\ngo 1.26\n\nrequire example.com/dep v1.2.3\n\nreplace example.com/dep => ./dep\n",
		"LICENSE":            "our terms\n",
		"dep/go.mod":         "module example.com/dep\n\ngo 1.26\n",
		"dep/LICENSE.md":     "their terms\n",
		"dep/dep.go":         "package dep\n\nfunc Say(s string) { println(s) }\n",
		"cmd/server/main.go": "package main\n\nimport \"example.com/dep\"\n\nvar version string\n\nfunc main() { dep.Say(version) }\n",
		"cmd/agent/main.go":  "package main\n\nfunc main() {}\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return config{
		root: root, output: filepath.Join(t.TempDir(), "images"), name: "registry.example.com/sample",
		version: "1.2.3-dev+g0123abc", revision: "0123abc", created: time.Unix(1_700_000_000, 0).UTC(), arches: []string{"amd64", "arm64"},
		programs: []program{{"server", "./cmd/server"}, {"agent", "./cmd/agent"}},
		links:    map[string]string{"apiserver": "server", "controller": "server"},
		limit:    60_000_000,
	}
}

func TestImagesAreReproducible(t *testing.T) {
	var first string
	for range 2 {
		cfg := sample(t) // in another directory each time
		if err := build(t.Context(), cfg, io.Discard); err != nil {
			t.Fatal(err)
		}
		index, err := os.ReadFile(filepath.Join(cfg.output, "oci", "index.json"))
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(index)
		} else if string(index) != first {
			t.Errorf("the same sources made another image:\n%s\n%s", first, index)
		}
	}
}

func TestImageHoldsWhatThePodsCall(t *testing.T) {
	cfg := sample(t)
	var log bytes.Buffer
	if err := build(t.Context(), cfg, &log); err != nil {
		t.Fatal(err)
	}
	t.Log(log.String())
	outer, err := layout.ImageIndexFromPath(filepath.Join(cfg.output, "oci"))
	if err != nil {
		t.Fatal(err)
	}
	top, err := outer.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if ref := top.Manifests[0].Annotations["org.opencontainers.image.ref.name"]; len(top.Manifests) != 1 || ref != "v1.2.3-dev-g0123abc" {
		t.Errorf("the layout holds %d images, the first %q", len(top.Manifests), ref)
	}
	index, err := outer.ImageIndex(top.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, m := range manifest.Manifests {
		platforms = append(platforms, m.Platform.String())
		img, err := index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		checkImage(t, img, m.Platform.Architecture)
	}
	if got := strings.Join(platforms, " "); got != "linux/amd64 linux/arm64/v8" {
		t.Errorf("platforms %s", got)
	}
	archive, err := tarball.ImageFromPath(filepath.Join(cfg.output, "drydock-linux-arm64.tar"), nil)
	if err != nil {
		t.Fatal(err)
	}
	checkImage(t, archive, "arm64")
}

func checkImage(t *testing.T, img v1.Image, arch string) {
	t.Helper()
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if c.OS != "linux" || c.Architecture != arch || c.Config.User != "65532:65532" || c.Config.WorkingDir != "/" ||
		c.Config.Labels["org.opencontainers.image.version"] != "1.2.3-dev+g0123abc" || c.Config.Labels["org.opencontainers.image.revision"] != "0123abc" {
		t.Errorf("%s: configuration %+v", arch, c)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content := map[string]string{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Mode&0o022 != 0 && h.Typeflag != tar.TypeSymlink || h.ModTime.Unix() != 1_700_000_000 {
			t.Errorf("%s may be changed, or came from elsewhere: %+v", h.Name, h)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		content[h.Name] = string(data)
		if h.Typeflag == tar.TypeSymlink {
			content[h.Name] = "-> " + h.Linkname
		}
	}
	if content["apiserver"] != "-> server" || content["controller"] != "-> server" || !strings.HasPrefix(content["agent"], "\x7fELF") || !strings.HasPrefix(content["server"], "\x7fELF") {
		t.Error("a program is missing")
	}
	if content["licenses/LICENSE"] != "our terms\n" || !strings.Contains(content["licenses/THIRD-PARTY"], "their terms") || !strings.Contains(content["licenses/THIRD-PARTY"], "==== std:") {
		t.Error("a licence is missing")
	}
	var bom struct {
		BOMFormat  string
		Components []struct{ Name, Version, PURL string }
	}
	if err := json.Unmarshal([]byte(content["licenses/sbom.cdx.json"]), &bom); err != nil {
		t.Fatal(err)
	}
	names := ""
	for _, c := range bom.Components {
		names += c.Name + " "
	}
	if bom.BOMFormat != "CycloneDX" || names != "std example.com/dep " {
		t.Errorf("list of parts: %s of %s", bom.BOMFormat, names)
	}
}

func TestNothingIsPassedOnWithoutItsLicence(t *testing.T) {
	cfg := sample(t)
	if err := os.Remove(filepath.Join(cfg.root, "dep", "LICENSE.md")); err != nil {
		t.Fatal(err)
	}
	cfg.arches = []string{"amd64"}
	err := build(t.Context(), cfg, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "example.com/dep comes without a licence") {
		t.Errorf("error %v", err)
	}
}

func TestFailuresLeaveTheImagesThatWereThere(t *testing.T) {
	cfg := sample(t)
	cfg.arches = []string{"amd64"}
	if err := build(t.Context(), cfg, io.Discard); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cfg.root, "cmd", "agent", "main.go"), []byte("package main\n\nfunc main() { nonsense }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := build(t.Context(), cfg, io.Discard); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("error %v does not show the compiler's", err)
	}
	if _, err := os.Stat(filepath.Join(cfg.output, "oci", "index.json")); err != nil {
		t.Error(err)
	}
	cfg.limit = 1
	if err := os.WriteFile(filepath.Join(cfg.root, "cmd", "agent", "main.go"), []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := build(t.Context(), cfg, io.Discard); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("error %v", err)
	}
}

func TestEveryCommandOfTheManifestIsInTheImage(t *testing.T) {
	manifest, err := os.ReadFile(filepath.Join("..", "..", "deploy", "bottlerocket-update-operator.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]bool{}
	for _, p := range programs {
		in[p.name] = true
	}
	for name, target := range links {
		in[name] = in[target]
	}
	commands := regexp.MustCompile(`command: \[\./([a-z]+)\]`).FindAllStringSubmatch(string(manifest), -1)
	if len(commands) != 3 {
		t.Errorf("%d commands in the manifest", len(commands))
	}
	for _, c := range commands {
		if !in[c[1]] {
			t.Errorf("./%s is not in the image", c[1])
		}
	}
}
