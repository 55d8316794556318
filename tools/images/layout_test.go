// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// TestTheOldCommandsRunFromTheImage builds the product's own image for this machine, unpacks it as a container engine
// does, and calls what pods call: by the same names, in the same directory, as the image's user and, for root, with
// nothing else to see than the image.
func TestTheOldCommandsRunFromTheImage(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the product")
	}
	cfg := config{
		root: filepath.Join("..", ".."), output: filepath.Join(t.TempDir(), "images"), name: "registry.example.com/drydock",
		version: "1.2.3", created: time.Unix(1_700_000_000, 0).UTC(), arches: []string{runtime.GOARCH},
		programs: programs, links: links, limit: 30_000_000, // half of what both architectures may have
	}
	if err := build(t.Context(), cfg, io.Discard); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	c := unpack(t, filepath.Join(cfg.output, "oci"), root)
	if c.Config.User != user || c.Config.User == "0" || c.Config.WorkingDir != "/" {
		t.Errorf("configuration %+v", c.Config)
	}
	for _, call := range []struct{ name, arg, want string }{
		{"agent", "--version", "1.2.3"},
		{"agent", "--help", "MY_NODE_NAME"},
		{"apiserver", "--help", "apiserver"},
		{"controller", "--help", "controller"},
		{"drydock", "version", "1.2.3"},
	} {
		cmd := exec.CommandContext(t.Context(), "./"+call.name, call.arg)
		cmd.Dir, cmd.Env = root, []string{}
		if os.Geteuid() == 0 {
			cmd.Dir = "/"
			cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
			cmd.Path = "/" + call.name
		}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), call.want) {
			t.Errorf("./%s %s: %v, %s", call.name, call.arg, err, out)
		}
	}
}

// unpack writes the only layer of the only image below root and returns the image's configuration.
func unpack(t *testing.T, oci, root string) *v1.ConfigFile {
	t.Helper()
	outer, err := layout.ImageIndexFromPath(oci)
	if err != nil {
		t.Fatal(err)
	}
	img := v1.Image(nil)
	for img == nil {
		m, err := outer.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		if inner, err := outer.ImageIndex(m.Manifests[0].Digest); err == nil && m.Manifests[0].MediaType.IsIndex() {
			outer = inner
			continue
		}
		if img, err = outer.Image(m.Manifests[0].Digest); err != nil {
			t.Fatal(err)
		}
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
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o755)
		case tar.TypeSymlink:
			err = os.Symlink(h.Linkname, path)
		default:
			var data bytes.Buffer
			if _, err = io.Copy(&data, tr); err == nil {
				err = os.WriteFile(path, data.Bytes(), h.FileInfo().Mode())
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// The directory of a test is its user's alone.
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return c
}
