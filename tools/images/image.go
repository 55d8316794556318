// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user is nobody in particular, and not root.
const user = "65532:65532"

// file is one entry of the image's only layer: a link, a file on disk or bytes.
type file struct {
	name string
	mode int64
	link string
	path string
	data []byte
}

// assemble puts files, in their order, into a single-layer image.
func assemble(cfg config, arch string, files []file) (platform, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	dirs := map[string]bool{".": true}
	for _, f := range files {
		if dir := path.Dir(f.name); !dirs[dir] {
			dirs[dir] = true
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: cfg.created, Format: tar.FormatUSTAR}); err != nil {
				return platform{}, err
			}
		}
		if err := add(w, cfg, f); err != nil {
			return platform{}, err
		}
	}
	if err := w.Close(); err != nil {
		return platform{}, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return platform{}, err
	}
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	img, err = mutate.Append(img, mutate.Addendum{Layer: layer, MediaType: types.OCILayer,
		History: v1.History{Created: v1.Time{Time: cfg.created}, CreatedBy: "make images"}})
	if err != nil {
		return platform{}, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return platform{}, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	if arch == "arm64" {
		config.Variant = "v8"
	}
	config.Created = v1.Time{Time: cfg.created}
	config.Config = v1.Config{User: user, WorkingDir: "/", Entrypoint: []string{"/" + cfg.programs[0].name}, Labels: labels(cfg)}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return platform{}, err
	}
	annotated, ok := mutate.Annotations(img, labels(cfg)).(v1.Image)
	if !ok {
		return platform{}, errors.New("annotating an image gave something else")
	}
	p := platform{arch: arch, image: annotated, plain: int64(buf.Len())}
	if p.digest, err = annotated.Digest(); err != nil {
		return platform{}, err
	}
	p.packed, err = stored(annotated)
	return p, err
}

// stored is how many bytes a registry keeps of an image.
func stored(img v1.Image) (int64, error) {
	manifest, err := img.Manifest()
	if err != nil {
		return 0, err
	}
	size, err := img.Size()
	if err != nil {
		return 0, err
	}
	size += manifest.Config.Size
	for _, l := range manifest.Layers {
		size += l.Size
	}
	return size, nil
}

// add writes one file to the layer, owned by root and with the time of the commit.
func add(w *tar.Writer, cfg config, f file) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, ModTime: cfg.created, Format: tar.FormatUSTAR}
	if f.link != "" {
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.link, 0o777
		return w.WriteHeader(h)
	}
	if f.path != "" {
		var err error
		if f.data, err = os.ReadFile(f.path); err != nil {
			return err
		}
	}
	h.Size = int64(len(f.data))
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.Write(f.data)
	return err
}

// labels are the usual ones of https://github.com/opencontainers/image-spec/blob/main/annotations.md.
func labels(cfg config) map[string]string {
	l := map[string]string{
		"org.opencontainers.image.title":         "Drydock",
		"org.opencontainers.image.description":   "Updates the operating system of container hosts, node by node.",
		"org.opencontainers.image.version":       cfg.version,
		"org.opencontainers.image.source":        "https://github.com/drydock-os/drydock",
		"org.opencontainers.image.documentation": "https://github.com/drydock-os/drydock/tree/main/docs",
		"org.opencontainers.image.licenses":      "Apache-2.0",
		"org.opencontainers.image.vendor":        "The Drydock authors",
		"org.opencontainers.image.created":       cfg.created.Format("2006-01-02T15:04:05Z"),
	}
	maps.DeleteFunc(l, func(_, v string) bool { return v == "" })
	if cfg.revision != "" {
		l["org.opencontainers.image.revision"] = cfg.revision
	}
	return l
}

// tag is the version as a tag, in which a plus sign may not be.
func tag(version string) string { return "v" + strings.ReplaceAll(version, "+", "-") }

// write puts the layout, the archives and the lists of parts in a directory beside the output and swaps the two,
// so that a failure leaves what was there.
func write(cfg config, made []platform) error {
	if err := os.MkdirAll(filepath.Dir(cfg.output), 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(cfg.output), ".images-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range made {
		config, err := p.image.ConfigFile()
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: p.image, Descriptor: v1.Descriptor{Platform: config.Platform()}})
		ref, err := name.NewTag(cfg.name + ":" + tag(cfg.version))
		if err != nil {
			return err
		}
		if err := tarball.WriteToFile(filepath.Join(dir, "drydock-linux-"+p.arch+".tar"), ref, p.image); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "drydock-linux-"+p.arch+".cdx.json"), p.sbom, 0o644); err != nil {
			return err
		}
	}
	annotated, ok := mutate.Annotations(index, labels(cfg)).(v1.ImageIndex)
	if !ok {
		return errors.New("annotating an index gave something else")
	}
	oci, err := layout.Write(filepath.Join(dir, "oci"), empty.Index)
	if err != nil {
		return err
	}
	if err := oci.AppendIndex(annotated, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": tag(cfg.version)})); err != nil {
		return err
	}
	if err := os.RemoveAll(cfg.output); err != nil {
		return err
	}
	return os.Rename(dir, cfg.output)
}
