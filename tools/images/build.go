// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// config says what to build. Every field but revision and limit is required.
type config struct {
	root, output      string
	name              string // of the image, without a tag
	version, revision string
	created           time.Time
	arches            []string
	programs          []program
	links             map[string]string // name in the image -> program
	limit             int64             // bytes of all images together; 0 for none
}

// program is one Go program of the module, and its name in the image's root directory.
type program struct{ name, pkg string }

var (
	programs = []program{{"drydock", "./cmd/drydock"}, {"agent", "./cmd/drydock-agent"}}
	// The manifests of the original call these.
	links = map[string]string{"apiserver": "drydock", "controller": "drydock"}
)

// platform is what was built for one processor.
type platform struct {
	arch   string
	image  v1.Image
	sbom   []byte
	digest v1.Hash
	packed int64 // bytes that a registry stores for it: the compressed layer, the configuration and the manifest
	plain  int64 // bytes on disk
}

// build makes all images and puts them in place of what the output directory held.
func build(ctx context.Context, cfg config, log io.Writer) error {
	work, err := os.MkdirTemp("", "images-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	var made []platform
	for _, arch := range cfg.arches {
		p, err := buildPlatform(ctx, cfg, arch, filepath.Join(work, arch))
		if err != nil {
			return fmt.Errorf("building for linux/%s: %w", arch, err)
		}
		made = append(made, p)
	}
	if err := write(cfg, made); err != nil {
		return fmt.Errorf("writing %s: %w", cfg.output, err)
	}
	var packed, plain int64
	for _, p := range made {
		fmt.Fprintf(log, "linux/%-6s %s %6.1f MB packed %6.1f MB unpacked\n", p.arch, p.digest, mb(p.packed), mb(p.plain))
		packed, plain = packed+p.packed, plain+p.plain
	}
	fmt.Fprintf(log, "together %.1f MB packed, %.1f MB unpacked; %s\n", mb(packed), mb(plain), cfg.output)
	if cfg.limit > 0 && packed > cfg.limit {
		return fmt.Errorf("images are %.1f MB together, more than %.1f", mb(packed), mb(cfg.limit))
	}
	return nil
}

func mb(bytes int64) float64 { return float64(bytes) / 1e6 }

// buildPlatform compiles the programs for one processor and puts them in an image.
func buildPlatform(ctx context.Context, cfg config, arch, dir string) (platform, error) {
	files := []file{}
	var binaries []string
	for _, p := range cfg.programs {
		path := filepath.Join(dir, p.name)
		if err := compile(ctx, cfg, arch, p.pkg, path); err != nil {
			return platform{}, err
		}
		binaries = append(binaries, path)
		files = append(files, file{name: p.name, mode: 0o755, path: path})
	}
	for name, target := range cfg.links {
		files = append(files, file{name: name, link: target})
	}
	inventory, err := readInventory(binaries)
	if err != nil {
		return platform{}, err
	}
	sbom, err := inventory.cycloneDX(cfg, arch)
	if err != nil {
		return platform{}, err
	}
	licences, err := inventory.licences(ctx, cfg.root)
	if err != nil {
		return platform{}, err
	}
	own, err := os.ReadFile(filepath.Join(cfg.root, "LICENSE"))
	if err != nil {
		return platform{}, err
	}
	files = append(files,
		file{name: "licenses/LICENSE", mode: 0o644, data: own},
		file{name: "licenses/THIRD-PARTY", mode: 0o644, data: licences},
		file{name: "licenses/sbom.cdx.json", mode: 0o644, data: sbom})
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	img, err := assemble(cfg, arch, files)
	if err != nil {
		return platform{}, err
	}
	img.sbom = sbom
	return img, nil
}

// compile builds one program: static, and without a trace of this machine.
func compile(ctx context.Context, cfg config, arch, pkg, output string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X main.version="+cfg.version, "-o", output, pkg)
	cmd.Dir = cfg.root
	// A feature level of this machine's processor would leave others behind.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compiling %s: %w\n%s", pkg, err, out)
	}
	return nil
}
