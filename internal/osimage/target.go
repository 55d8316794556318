// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package osimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/pierrec/lz4/v4"

	"github.com/drydock-os/drydock/internal/durable"
	"github.com/drydock-os/drydock/internal/slot"
)

// Target is one file to publish.
type Target struct {
	Part   slot.Part
	Name   string // as TargetName says
	Path   string
	Size   int64  // bytes, compressed
	SHA256 string // of the compressed file, lower-case hexadecimal
}

// WriteTargets compresses the three files of the image into dir, under their published names, as LZ4
// frames. None of them may exist; when it fails it leaves none behind. Equal images make equal targets.
func (im *Image) WriteTargets(ctx context.Context, dir string) (_ []Target, err error) {
	undo, err := durable.MakeDir(dir, 0o755)
	if err != nil {
		return nil, fmt.Errorf("compressing image: %w", err)
	}
	out := outputs{}
	defer func() {
		if closeErr := out.close(err == nil); err == nil && closeErr != nil {
			err = closeErr
		}
		if err != nil {
			undo()
			err = fmt.Errorf("compressing image: %w", err)
		}
	}()
	var targets []Target
	for _, part := range slot.Parts() {
		t := Target{Part: part, Name: TargetName(im.Variant, im.Arch, im.Version, part)}
		t.Path = filepath.Join(dir, t.Name)
		dst, err := out.create(t.Path)
		if err != nil {
			return nil, err
		}
		if t.Size, t.SHA256, err = compress(ctx, dst, im.Path(part)); err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// compress writes the LZ4 frame of the file at path to dst, and returns its length and digest.
func compress(ctx context.Context, dst io.Writer, path string) (size int64, digest string, err error) {
	src, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return 0, "", err
	}
	sum, count := sha256.New(), &counter{}
	w := lz4.NewWriter(io.MultiWriter(dst, sum, count))
	// One goroutine keeps memory at a few blocks; the content size lets readers refuse an image that does
	// not fit before they write any of it.
	if err := w.Apply(lz4.ConcurrencyOption(1), lz4.SizeOption(uint64(info.Size()))); err != nil {
		return 0, "", err
	}
	if _, err := io.Copy(w, contextReader{ctx, src}); err != nil {
		return 0, "", err
	}
	if err := w.Close(); err != nil {
		return 0, "", err
	}
	return count.n, hex.EncodeToString(sum.Sum(nil)), nil
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
