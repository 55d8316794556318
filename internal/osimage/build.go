// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package osimage

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/drydock-os/drydock/internal/durable"
	"github.com/drydock-os/drydock/internal/osimage/verity"
	"github.com/drydock-os/drydock/internal/slot"
)

// Names of the files that Build makes.
const (
	rootFile = "root.erofs"
	hashFile = "root.verity"
	bootFile = "boot.img"
)

// Image is a system image in three files.
type Image struct {
	Root, Hash, Boot string // paths of the files
	// Sizes of these files in bytes.
	RootSize, HashSize, BootSize int64

	RootHash               string // root hash of the verity tree, lower-case hexadecimal
	Variant, Arch, Version string
	BuildID                string
}

// Path returns the path of the file for one partition of a slot.
func (im *Image) Path(p slot.Part) string {
	return map[slot.Part]string{slot.Boot: im.Boot, slot.Root: im.Root, slot.Hash: im.Hash}[p]
}

// Build writes root.erofs, root.verity and boot.img into dir, which it makes if need be. None of the three
// may exist. When it fails, also because ctx ended, it leaves none of them behind. Memory use does not
// depend on the size of the image; the disk must hold it twice for a moment.
func Build(ctx context.Context, spec Spec, dir string) (_ *Image, err error) {
	if err := spec.Check(); err != nil {
		return nil, err
	}
	spec = spec.withDefaults()
	undo, err := durable.MakeDir(dir, 0o755)
	if err != nil {
		return nil, fmt.Errorf("building image: %w", err)
	}
	out := outputs{}
	defer func() {
		if closeErr := out.close(err == nil); err == nil && closeErr != nil {
			err = closeErr
		}
		if err != nil {
			undo()
			err = fmt.Errorf("building image: %w", err)
		}
	}()
	im := &Image{
		Root: filepath.Join(dir, rootFile), Hash: filepath.Join(dir, hashFile), Boot: filepath.Join(dir, bootFile),
		Variant: spec.Variant, Arch: spec.Arch, Version: spec.Version, BuildID: spec.BuildID,
	}
	root, err := out.create(im.Root)
	if err != nil {
		return nil, err
	}
	hash, err := out.create(im.Hash)
	if err != nil {
		return nil, err
	}
	boot, err := out.create(im.Boot)
	if err != nil {
		return nil, err
	}
	if im.RootSize, err = buildRoot(ctx, spec, root); err != nil {
		return nil, err
	}
	salt, uuid := spec.seed("verity salt"), spec.seed("verity uuid")
	params := verity.Params{Salt: salt[:], UUID: [16]byte(uuid[:16])}
	sum, err := verity.Build(ctx, io.NewSectionReader(root, 0, im.RootSize), im.RootSize, hash, params)
	if err != nil {
		return nil, err
	}
	image := encodeBoot([]byte(commandLine{rootHash: sum, rootSize: im.RootSize}.String()))
	if _, err := boot.Write(image); err != nil {
		return nil, err
	}
	im.RootHash, im.HashSize, im.BootSize = hex.EncodeToString(sum[:]), verity.Size(im.RootSize), int64(len(image))
	return im, nil
}

// outputs are files being made; all of them stay, or none.
type outputs struct{ files []*os.File }

// create makes a file that must not exist.
func (o *outputs) create(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	o.files = append(o.files, f)
	return f, nil
}

// close closes all files and removes them unless keep is set and closing worked.
func (o *outputs) close(keep bool) error {
	var errs []error
	for _, f := range o.files {
		errs = append(errs, f.Close())
	}
	err := errors.Join(errs...)
	if keep && err == nil {
		return nil
	}
	for _, f := range o.files {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}
