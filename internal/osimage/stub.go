// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package osimage builds and reads system images.
package osimage

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/slot"
)

var ErrDamaged = slot.ErrDamagedImage

type File struct {
	Path string
	Data []byte
	Mode fs.FileMode
}
type Spec struct {
	Variant, Arch, Version, BuildID, PrettyName string
	Files                                       map[string]File
	Size                                        int64
}
type Image struct {
	Root, Hash, Boot       string
	RootHash               string
	Variant, Arch, Version string
}
type Layout struct{ Boot, Root, Hash, Reserved, Private, Data int64 }
type Release struct{ Version, Variant, PrettyName, BuildID, ID string }
type System struct{}
type Target struct {
	Name, Path string
	Size       int64
}

func Build(ctx context.Context, spec Spec, dir string) (*Image, error) {
	return nil, errors.ErrUnsupported
}
func LayoutFor(rootSize int64) Layout { return Layout{} }
func WriteDisk(ctx context.Context, path string, layout Layout, a *Image) error {
	return errors.ErrUnsupported
}
func ParseRelease(r io.Reader) (Release, error) { return Release{}, errors.ErrUnsupported }
func OpenSlot(d gpt.Disk, t *slot.Table, s slot.Slot) (*System, error) {
	return nil, errors.ErrUnsupported
}
func (s *System) FS() fs.FS                                           { return nil }
func (s *System) Release() Release                                    { return Release{} }
func (s *System) RootHash() string                                    { return "" }
func (s *System) Verify(ctx context.Context) error                    { return errors.ErrUnsupported }
func TargetName(variant, arch, version string, part slot.Part) string { return "" }
func (im *Image) WriteTargets(ctx context.Context, dir string) ([]Target, error) {
	return nil, errors.ErrUnsupported
}
