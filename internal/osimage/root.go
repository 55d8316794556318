// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package osimage

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/erofs/go-erofs"
)

// buildRoot writes the root file system to the empty file out and returns its size. Without a wanted size
// once; else a second time with the padding that the first one showed to be missing.
func buildRoot(ctx context.Context, s Spec, out *os.File) (int64, error) {
	if s.Size == 0 {
		return writeRoot(ctx, s, out, 0)
	}
	padding := int64(4096) // a whole block, since smaller files may be stored differently
	size, err := writeRoot(ctx, s, out, padding)
	if err != nil || size == s.Size {
		return size, err
	}
	if size > s.Size {
		return 0, fmt.Errorf("root file system needs %d bytes, more than the wanted size of %d", size, s.Size)
	}
	if err := out.Truncate(0); err != nil {
		return 0, err
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	size, err = writeRoot(ctx, s, out, padding+s.Size-size)
	if err == nil && size != s.Size {
		return 0, fmt.Errorf("root file system has %d bytes instead of the wanted %d", size, s.Size)
	}
	return size, err
}

// writeRoot writes one file system, with a padding file of the given length unless that is zero.
func writeRoot(ctx context.Context, s Spec, out *os.File, padding int64) (int64, error) {
	// Build time zero and no time stamps on files: nothing in the image tells when it was made. The
	// temporary file goes next to the output, where there is room if anywhere.
	w := erofs.Create(out, erofs.WithBuildTime(0, 0), erofs.WithTempDir(filepath.Dir(out.Name())))
	files := maps.Clone(s.Files)
	if files == nil {
		files = map[string]File{}
	}
	files["/"+releasePath] = File{Data: []byte(s.release().String())}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := addFile(ctx, w, name, files[name]); err != nil {
			return 0, fmt.Errorf("adding %s to the root file system: %w", name, err)
		}
	}
	if padding > 0 {
		noise, err := noise(s.seed("padding"))
		if err == nil {
			err = addStream(ctx, w, "/"+paddingPath, io.LimitReader(noise, padding), 0o644)
		}
		if err != nil {
			return 0, fmt.Errorf("adding padding to the root file system: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return 0, fmt.Errorf("writing root file system: %w", err)
	}
	info, err := out.Stat()
	if err != nil {
		return 0, fmt.Errorf("writing root file system: %w", err)
	}
	return info.Size(), nil
}

func addFile(ctx context.Context, w *erofs.Writer, name string, f File) error {
	if f.Path == "" {
		return addStream(ctx, w, name, bytes.NewReader(f.Data), f.Mode)
	}
	src, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer src.Close()
	mode := f.Mode
	if mode == 0 {
		info, err := src.Stat()
		if err != nil {
			return err
		}
		if info.Mode()&0o100 != 0 {
			mode = 0o755
		}
	}
	return addStream(ctx, w, name, src, mode)
}

func addStream(ctx context.Context, w *erofs.Writer, name string, src io.Reader, mode os.FileMode) error {
	f, err := w.Create(name)
	if err != nil {
		return err
	}
	if mode == 0 {
		mode = 0o644
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if _, err := io.Copy(f, contextReader{ctx, src}); err != nil {
		return err
	}
	return f.Close()
}

// noise is an endless stream that depends on nothing but the seed and does not compress.
func noise(seed [32]byte) (io.Reader, error) {
	block, err := aes.NewCipher(seed[:])
	if err != nil {
		return nil, err
	}
	return cipher.StreamReader{S: cipher.NewCTR(block, make([]byte, aes.BlockSize)), R: zeros{}}, nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// contextReader stops a copy when the context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
