// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package osimage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/slot"
)

// ErrTooLarge means that an image does not fit into its partition.
var ErrTooLarge = errors.New("image is larger than its partition")

// WriteDisk makes a disk image at path, which must not exist: a partition table after layout, a in slot A
// (priority 1, no tries, successful), and nothing in slot B, PRIVATE and DATA. The file is sparse: it takes
// about the space of the image. When WriteDisk fails it leaves no file behind. Images that are too large are
// refused, with both sizes, before anything is written.
func WriteDisk(ctx context.Context, path string, layout Layout, a *Image) (err error) {
	if err := layout.check(); err != nil {
		return fmt.Errorf("writing disk: %w", err)
	}
	for _, part := range slot.Parts() {
		if err := fits(layout, a, part); err != nil {
			return fmt.Errorf("writing disk: %w", err)
		}
	}
	out := outputs{}
	defer func() {
		if closeErr := out.close(err == nil); err == nil && closeErr != nil {
			err = closeErr
		}
		if err != nil {
			err = fmt.Errorf("writing disk: %w", err)
		}
	}()
	f, err := out.create(path)
	if err != nil {
		return err
	}
	if err := f.Truncate(layout.DiskSize()); err != nil {
		return err
	}
	d, err := gpt.OpenFile(path, true)
	if err != nil {
		return err
	}
	return errors.Join(fillDisk(ctx, d, layout, a), d.Close())
}

func fits(layout Layout, a *Image, part slot.Part) error {
	info, err := os.Stat(a.Path(part))
	if err != nil {
		return err
	}
	room := map[slot.Part]int64{slot.Boot: layout.Boot, slot.Root: layout.Root, slot.Hash: layout.Hash}[part]
	if info.Size() > room {
		return fmt.Errorf("%w: %s image of %d bytes, partition of %d", ErrTooLarge, part, info.Size(), room)
	}
	return nil
}

// fillDisk puts the images first and the table last, so that a disk with a table is a whole disk.
func fillDisk(ctx context.Context, d *gpt.File, layout Layout, a *Image) error {
	parts := layout.partitions(a.RootHash)
	for _, part := range slot.Parts() {
		if err := copyImage(ctx, d, parts[2+int(part)].Offset, a.Path(part)); err != nil {
			return fmt.Errorf("copying %s image: %w", part, err)
		}
	}
	if err := d.Sync(); err != nil {
		return err
	}
	_, err := gpt.Create(d, d.Size(), parts)
	return err
}

func copyImage(ctx context.Context, d *gpt.File, offset int64, path string) error {
	src, err := os.Open(path)
	if err != nil {
		return err
	}
	defer src.Close()
	_, err = io.CopyBuffer(io.NewOffsetWriter(d, offset), contextReader{ctx, src}, make([]byte, mib))
	return err
}
