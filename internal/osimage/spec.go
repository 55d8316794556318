// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package osimage

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/Masterminds/semver/v3"

	"github.com/drydock-os/drydock/internal/slot"
)

// ErrSpec is wrapped by errors about a Spec that no image can be built from.
var ErrSpec = errors.New("invalid image specification")

// Places inside every image.
const (
	releasePath = "usr/lib/os-release"
	paddingPath = "usr/share/drydock/padding"
)

// File is the content of one file of the image: Data, or the local file at Path if that is not empty.
type File struct {
	Path string
	Data []byte
	// Mode is 0644 or 0755. Zero means: 0755 if the local file may be executed by its owner, else 0644.
	Mode fs.FileMode
}

// Spec says what an image is made of.
type Spec struct {
	Variant    string          // for example k8s-1.36; lower-case letters, digits, and . _ - between them
	Arch       string          // x86_64 or aarch64
	Version    string          // semantic version without a leading v
	BuildID    string          // default: the version
	PrettyName string          // default: Drydock OS <version> (<variant>)
	Files      map[string]File // by absolute path in the image; os-release is added by Build
	// Size, unless zero, is the wanted size of root.erofs in bytes, a multiple of 4096. The difference is
	// filled with deterministic data that does not compress, so that transfers and writes of small test
	// images cost what those of real ones do.
	Size int64
}

var variantPattern = regexp.MustCompile(`^[a-z0-9]+([._-][a-z0-9]+)*$`)

// Check returns an error that wraps ErrSpec and says what is wrong, or an error about a local file that
// cannot be read.
func (s Spec) Check() error {
	if len(s.Variant) > 64 || !variantPattern.MatchString(s.Variant) {
		return fmt.Errorf("%w: variant %q: want lower-case letters and digits, with single . _ - between them", ErrSpec, s.Variant)
	}
	if s.Arch != "x86_64" && s.Arch != "aarch64" {
		return fmt.Errorf("%w: architecture %q is neither x86_64 nor aarch64", ErrSpec, s.Arch)
	}
	if _, err := semver.StrictNewVersion(s.Version); err != nil || len(s.Version) > 128 {
		return fmt.Errorf("%w: version %q is not a semantic version such as 1.2.3", ErrSpec, s.Version)
	}
	for name, text := range map[string]string{"build id": s.BuildID, "pretty name": s.PrettyName} {
		if len(text) > 256 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return fmt.Errorf("%w: %s %.40q: want at most 256 printable characters", ErrSpec, name, text)
		}
	}
	if s.Size < 0 || s.Size%4096 != 0 {
		return fmt.Errorf("%w: size %d is not a multiple of 4096", ErrSpec, s.Size)
	}
	return s.checkFiles()
}

func (s Spec) checkFiles() error {
	names := slices.Sorted(maps.Keys(s.Files))
	for i, name := range names {
		f := s.Files[name]
		switch {
		case name != path.Clean(name) || !strings.HasPrefix(name, "/") || name == "/" || strings.ContainsAny(name, "\x00\n"):
			return fmt.Errorf("%w: %q is not a clean absolute path", ErrSpec, name)
		case name == "/"+releasePath || name == "/"+paddingPath:
			return fmt.Errorf("%w: %s is made by the build", ErrSpec, name)
		case f.Mode != 0 && f.Mode != 0o644 && f.Mode != 0o755:
			return fmt.Errorf("%w: %s: mode %v is neither 0644 nor 0755", ErrSpec, name, f.Mode)
		case f.Path != "" && f.Data != nil:
			return fmt.Errorf("%w: %s has both a local file and data", ErrSpec, name)
		}
		for _, other := range append(names[i+1:], "/"+releasePath, "/"+paddingPath) {
			if strings.HasPrefix(other, name+"/") {
				return fmt.Errorf("%w: %s is both a file and a directory", ErrSpec, name)
			}
		}
		if f.Path == "" {
			continue
		}
		info, err := os.Stat(f.Path)
		if err != nil {
			return fmt.Errorf("file %s of the image: %w", name, err)
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("file %s of the image: %s is not a regular file", name, f.Path)
		}
	}
	return nil
}

// withDefaults fills the fields that may be left empty.
func (s Spec) withDefaults() Spec {
	if s.BuildID == "" {
		s.BuildID = s.Version
	}
	if s.PrettyName == "" {
		s.PrettyName = fmt.Sprintf("Drydock OS %s (%s)", s.Version, s.Variant)
	}
	return s
}

func (s Spec) release() Release {
	return Release{Version: s.Version, Variant: s.Variant, PrettyName: s.PrettyName, BuildID: s.BuildID, ID: "drydock"}
}

// seed derives the fixed "random" values of the image: purpose tells them apart.
func (s Spec) seed(purpose string) [32]byte {
	return sha256.Sum256(fmt.Appendf(nil, "drydock %s\x00%s\x00%s\x00%s\x00%s", purpose, s.Variant, s.Arch, s.Version, s.BuildID))
}

// TargetName returns the name under which one part of an image is published. An update repository may use
// other names; its manifest says which.
func TargetName(variant, arch, version string, part slot.Part) string {
	file := map[slot.Part]string{slot.Boot: bootFile, slot.Root: rootFile, slot.Hash: hashFile}[part]
	return fmt.Sprintf("drydock-%s-%s-v%s-%s.lz4", variant, arch, version, file)
}
