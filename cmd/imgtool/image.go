// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/osimage"
	"github.com/drydock-os/drydock/internal/program"
	"github.com/drydock-os/drydock/internal/slot"
)

// imageOptions is the command line of 'imgtool image'.
type imageOptions struct {
	variant, arch, version, buildID string
	size                            string
	files                           []string
	out, disk, output               string
}

// newImageCmd returns 'imgtool image'. What was built goes to stdout.
func newImageCmd(stdout, stderr io.Writer) *cobra.Command {
	var o imageOptions
	c := &cobra.Command{
		Use:   "image --variant NAME --arch ARCH --version X.Y.Z --out DIR",
		Short: "Build a system image",
		Example: `  imgtool image --variant k8s-1.36 --arch x86_64 --version 1.21.0 \\
      --file /usr/bin/hostd=bin/hostd --file /usr/share/updog/root.json=keys/root.json \\
      --out build/1.21.0 --disk build/host.img`,
		Long: `Build a system image.

DIR gets the three parts of the image (root.erofs, root.verity, boot.img) and the same three
compressed and named for publishing (drydock-<variant>-<arch>-v<version>-<part>.lz4). The image
holds the given files and /usr/lib/os-release. Equal inputs make equal bytes.

Nothing that exists is overwritten, and a failed or interrupted build leaves no files behind.

Exit codes: 0 done, 1 failed (also: a file is missing, an output exists, the disk is full),
2 the command line is wrong.`,
		Args: program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			spec, err := o.spec()
			if err != nil {
				return program.WithUsage(c, err)
			}
			return o.run(c.Context(), spec, stdout, stderr)
		},
	}
	f := c.Flags()
	f.StringVar(&o.variant, "variant", "", "variant of the system, for example k8s-1.36 (required)")
	f.StringVar(&o.arch, "arch", "", "architecture: x86_64 or aarch64 (required)")
	f.StringVar(&o.version, "version", "", "semantic version without a leading v (required)")
	f.StringVar(&o.buildID, "build-id", "", "build id (default: the version)")
	f.StringVar(&o.size, "size", "", "pad the root file system to this size, for example 32MiB, with data that does not compress")
	f.StringArrayVar(&o.files, "file", nil, "put a local file into the image: IMAGE-PATH=LOCAL-PATH (repeatable)")
	f.StringVar(&o.out, "out", "", "directory for the results (required)")
	f.StringVar(&o.disk, "disk", "", "also make a bootable disk image here, with the system in slot A")
	f.StringVar(&o.output, "output", "text", "form of the report on stdout: text or json")
	return c
}

// spec checks everything about the command line that can be checked without looking at the disk.
func (o imageOptions) spec() (osimage.Spec, error) {
	for _, required := range [][2]string{{"variant", o.variant}, {"arch", o.arch}, {"version", o.version}, {"out", o.out}} {
		if required[1] == "" {
			return osimage.Spec{}, fmt.Errorf("--%s is required", required[0])
		}
	}
	if o.output != "text" && o.output != "json" {
		return osimage.Spec{}, fmt.Errorf("--output %q is neither text nor json", o.output)
	}
	spec := osimage.Spec{
		Variant: o.variant, Arch: o.arch, Version: o.version, BuildID: o.buildID, Files: map[string]osimage.File{},
	}
	for _, arg := range o.files {
		name, local, ok := strings.Cut(arg, "=")
		if !ok || name == "" || local == "" {
			return osimage.Spec{}, fmt.Errorf("--file %q: want IMAGE-PATH=LOCAL-PATH", arg)
		}
		name = "/" + strings.TrimPrefix(name, "/")
		if _, taken := spec.Files[name]; taken {
			return osimage.Spec{}, fmt.Errorf("--file %q: %s was given before", arg, name)
		}
		spec.Files[name] = osimage.File{Path: local}
	}
	if o.size != "" {
		size, err := parseSize(o.size)
		if err != nil {
			return osimage.Spec{}, fmt.Errorf("--size: %w", err)
		}
		spec.Size = size
	}
	if err := spec.Check(); errors.Is(err, osimage.ErrSpec) {
		return osimage.Spec{}, err
	}
	return spec, nil
}

// parseSize reads a number of bytes such as 32MiB. Only binary units are known, since a partition is
// never a round number of the others.
func parseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "KMGiB")
	unit, ok := map[string]int64{"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[s[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case !ok || errors.Is(err, strconv.ErrSyntax):
		return 0, fmt.Errorf("%q is not a size such as 4096, 512KiB, 32MiB or 1GiB", s)
	case err != nil || n > math.MaxInt64/unit:
		return 0, fmt.Errorf("%q is too large", s)
	case n <= 0:
		return 0, fmt.Errorf("%q is not above zero", s)
	}
	return n * unit, nil
}

// imageReport is what --output json prints.
type imageReport struct {
	Variant  string            `json:"variant"`
	Arch     string            `json:"arch"`
	Version  string            `json:"version"`
	BuildID  string            `json:"build_id"`
	RootHash string            `json:"root_hash"`
	RootSize int64             `json:"root_size"`
	Files    map[string]string `json:"files"` // part -> path
	Targets  []imageTarget     `json:"targets"`
	Disk     string            `json:"disk,omitempty"`
}

type imageTarget struct {
	Part   string `json:"part"`
	Name   string `json:"name"`
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

func (o imageOptions) run(ctx context.Context, spec osimage.Spec, stdout, stderr io.Writer) (err error) {
	if err := spec.Check(); err != nil {
		return cli.WithHint(err, "build or name the file, then try again")
	}
	if err := o.checkOutputs(); err != nil {
		return err
	}
	var made []string
	defer func() { // each step cleans up after itself; this is for the steps before the one that failed
		if err != nil {
			for _, path := range made {
				err = errors.Join(err, os.Remove(path))
			}
		}
	}()
	fmt.Fprintf(stderr, "building %s %s for %s\n", spec.Variant, spec.Version, spec.Arch)
	im, err := osimage.Build(ctx, spec, o.out)
	if err != nil {
		return hintDiskFull(err)
	}
	made = append(made, im.Root, im.Hash, im.Boot)
	targets, err := im.WriteTargets(ctx, o.out)
	if err != nil {
		return hintDiskFull(err)
	}
	for _, t := range targets {
		made = append(made, t.Path)
	}
	if o.disk != "" {
		if err := osimage.WriteDisk(ctx, o.disk, osimage.LayoutFor(im.RootSize), im); err != nil {
			return hintDiskFull(err)
		}
		made = append(made, o.disk)
	}
	return o.report(stdout, im, targets)
}

// checkOutputs finds what would be in the way before the work is begun.
func (o imageOptions) checkOutputs() error {
	paths := []string{filepath.Join(o.out, "root.erofs"), filepath.Join(o.out, "root.verity"), filepath.Join(o.out, "boot.img")}
	for _, part := range slot.Parts() {
		paths = append(paths, filepath.Join(o.out, osimage.TargetName(o.variant, o.arch, o.version, part)))
	}
	if o.disk != "" {
		paths = append(paths, o.disk)
		if info, err := os.Stat(filepath.Dir(o.disk)); filepath.Dir(o.disk) != filepath.Clean(o.out) && (err != nil || !info.IsDir()) {
			return fmt.Errorf("--disk: directory %s does not exist", filepath.Dir(o.disk))
		}
	}
	for _, path := range paths {
		_, err := os.Lstat(path)
		if err == nil {
			return cli.WithHint(fmt.Errorf("%s exists already", path), "choose another place or remove it")
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("looking for earlier results: %w", err)
		}
	}
	return nil
}

func (o imageOptions) report(stdout io.Writer, im *osimage.Image, targets []osimage.Target) error {
	r := imageReport{
		Variant: im.Variant, Arch: im.Arch, Version: im.Version, BuildID: im.BuildID, RootHash: im.RootHash,
		RootSize: im.RootSize, Files: map[string]string{}, Disk: o.disk,
	}
	for _, part := range slot.Parts() {
		r.Files[part.String()] = im.Path(part)
	}
	for _, t := range targets {
		r.Targets = append(r.Targets, imageTarget{Part: t.Part.String(), Name: t.Name, Path: t.Path, Size: t.Size, SHA256: t.SHA256})
	}
	if o.output == "json" {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	fmt.Fprintf(stdout, "root hash %s\n", r.RootHash)
	for _, t := range r.Targets {
		fmt.Fprintf(stdout, "%-5s %10d bytes  %s\n", t.Part, t.Size, t.Path)
	}
	if o.disk != "" {
		fmt.Fprintf(stdout, "disk  %s\n", o.disk)
	}
	return nil
}

// hintDiskFull says what to do about the one failure that everybody meets.
func hintDiskFull(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return cli.WithHint(err, "free space or choose another --out; the results need about four times the size of the image for a moment")
	}
	return err
}
