// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package system tells what is running on this host, and hands out its disk.
//
// The running version, and the root of trust for updates, are read from the image in the slot that was booted, which
// the boot loader names on the kernel's command line. Nothing else is asked: no file that an update could leave
// behind, and no variable.
package system

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/manifest"
	"github.com/drydock-os/drydock/internal/osimage"
	"github.com/drydock-os/drydock/internal/slot"
)

// TrustedRootPath is the place of the trusted root of updates in every image.
const TrustedRootPath = "/usr/share/updog/root.json"

const (
	// bootParam on the kernel's command line carries the UUID of the booted BOOT partition.
	bootParam = "drydock.boot_uuid="

	maxSmallFile = 1 << 20
)

// ErrNoBootSlot means that the kernel's command line does not say from which slot it was started.
var ErrNoBootSlot = errors.New("the kernel command line has no " + bootParam + "<uuid>")

// Identity is what is running.
type Identity struct {
	Slot        slot.Slot
	Release     osimage.Release
	Version     *semver.Version // of Release
	Arch        string          // of this program: x86_64 or aarch64
	BootID      string          // random, new for each boot
	TrustedRoot []byte          // root.json of the image
}

// Identify finds out what is running on the host whose files are below root.
func Identify(root string, disk *Disk) (*Identity, error) {
	id := &Identity{Arch: arch(runtime.GOARCH)}
	cmdline, err := readSmall(filepath.Join(root, "proc/cmdline"))
	if err != nil {
		return nil, fmt.Errorf("identifying the running system: %w", err)
	}
	uuid, err := bootUUID(cmdline)
	if err != nil {
		return nil, fmt.Errorf("identifying the running system: %w", err)
	}
	bootID, err := readSmall(filepath.Join(root, "proc/sys/kernel/random/boot_id"))
	if err != nil {
		return nil, fmt.Errorf("identifying the running system: %w", err)
	}
	id.BootID = string(bytes.TrimSpace(bootID))
	err = disk.View(func(d *gpt.File, t *slot.Table) error {
		if id.Slot, err = t.FindBoot(uuid); err != nil {
			return err
		}
		sys, err := osimage.OpenSlot(d, t, id.Slot)
		if err != nil {
			return err
		}
		id.Release = sys.Release()
		f, err := sys.FS().Open(TrustedRootPath[1:])
		if err != nil {
			return fmt.Errorf("reading the trusted root: %w", err)
		}
		id.TrustedRoot, err = readAll(f)
		return errors.Join(err, f.Close())
	})
	if err != nil {
		return nil, fmt.Errorf("identifying the running system: %w", err)
	}
	if id.Version, err = manifest.ParseVersion(id.Release.Version); err != nil {
		return nil, fmt.Errorf("identifying the running system: %w", err)
	}
	return id, nil
}

func bootUUID(cmdline []byte) (gpt.GUID, error) {
	for field := range strings.FieldsSeq(string(cmdline)) {
		if text, ok := strings.CutPrefix(field, bootParam); ok {
			return gpt.ParseGUID(text)
		}
	}
	return gpt.GUID{}, ErrNoBootSlot
}

// arch spells Go's name of an architecture as images and repositories do.
func arch(goarch string) string {
	switch goarch {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	}
	return goarch
}

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f)
}

func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSmallFile+1))
	if err == nil && len(data) > maxSmallFile {
		err = fmt.Errorf("larger than %d bytes", maxSmallFile)
	}
	return data, err
}
