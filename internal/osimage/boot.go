// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package osimage

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/drydock-os/drydock/internal/osimage/verity"
	"github.com/drydock-os/drydock/internal/slot"
)

// ErrDamaged means that a boot image is not as it was built: the boot loader must skip the slot. It is the
// error that slot.Table.BootIf takes for that.
var ErrDamaged = slot.ErrDamagedImage

const (
	bootMagic      = "DRYDOCKB"
	bootVersion    = 1
	bootHeaderSize = 4096
	// maxPayload is far more than a command line, which the kernel cuts at a few KiB, will ever need.
	maxPayload = 64 << 10
)

// encodeBoot returns the boot image with the given payload.
func encodeBoot(payload []byte) []byte {
	b := make([]byte, bootHeaderSize, bootHeaderSize+len(payload))
	sum := sha256.Sum256(payload)
	copy(b, bootMagic)
	binary.LittleEndian.PutUint32(b[8:], bootVersion)
	binary.LittleEndian.PutUint64(b[16:], uint64(len(payload)))
	copy(b[24:], sum[:])
	return append(b, payload...)
}

// decodeBoot returns the payload of the boot image at the start of r, which holds size bytes. What the
// image itself gets wrong is reported as ErrDamaged; a failure to read r is not.
func decodeBoot(r io.ReaderAt, size int64) ([]byte, error) {
	if size < bootHeaderSize {
		return nil, fmt.Errorf("%w: no room for a header in %d bytes", ErrDamaged, size)
	}
	header := make([]byte, bootHeaderSize)
	if _, err := r.ReadAt(header, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading boot image: %w", err)
	}
	version, length := binary.LittleEndian.Uint32(header[8:]), binary.LittleEndian.Uint64(header[16:])
	switch {
	case string(header[:8]) != bootMagic:
		return nil, fmt.Errorf("%w: no header", ErrDamaged)
	case version != bootVersion:
		return nil, fmt.Errorf("%w: format version %d is unknown", ErrDamaged, version)
	case length > maxPayload || length > uint64(size-bootHeaderSize):
		return nil, fmt.Errorf("%w: payload of %d bytes is too long", ErrDamaged, length)
	case !allZero(header[12:16]) || !allZero(header[56:]):
		return nil, fmt.Errorf("%w: unknown header fields", ErrDamaged)
	}
	payload := make([]byte, length)
	if n, err := r.ReadAt(payload, bootHeaderSize); n < len(payload) {
		return nil, fmt.Errorf("reading boot image: %w", err)
	}
	if sha256.Sum256(payload) != [sha256.Size]byte(header[24:56]) {
		return nil, fmt.Errorf("%w: digest does not match", ErrDamaged)
	}
	return payload, nil
}

func allZero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

// commandLine is the part of the kernel command line that finds the root file system.
type commandLine struct {
	rootHash verity.Hash
	rootSize int64
}

func (c commandLine) String() string {
	return fmt.Sprintf("drydock.roothash=%x drydock.rootsize=%d\n", c.rootHash, c.rootSize)
}

// parseCommandLine reads what String writes, among any other words. A payload with the right digest that
// says nothing useful was built wrongly, which for a boot loader is as good as damaged.
func parseCommandLine(payload []byte) (commandLine, error) {
	var c commandLine
	var hash, size bool
	for word := range strings.FieldsSeq(string(payload)) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "drydock.roothash":
			b, err := hex.DecodeString(value)
			if err != nil || len(b) != len(c.rootHash) || hash {
				return c, fmt.Errorf("%w: bad or repeated root hash %.80q", ErrDamaged, value)
			}
			c.rootHash, hash = verity.Hash(b), true
		case "drydock.rootsize":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n <= 0 || size {
				return c, fmt.Errorf("%w: bad or repeated root size %.40q", ErrDamaged, value)
			}
			c.rootSize, size = n, true
		}
	}
	if !hash || !size {
		return c, fmt.Errorf("%w: the command line names no root hash or no root size", ErrDamaged)
	}
	return c, nil
}
