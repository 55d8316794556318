// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package system

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/slot"
)

// ErrNoDisk means that no disk holds the partition that was booted.
var ErrNoDisk = errors.New("no disk holds the booted partition")

// BootUUID returns the UUID of the booted BOOT partition, as the boot loader gave it to the kernel of the host whose
// files are below root. The error is ErrNoBootSlot when it did not.
func BootUUID(root string) (gpt.GUID, error) {
	cmdline, err := readSmall(filepath.Join(root, "proc/cmdline"))
	if err != nil {
		return gpt.GUID{}, fmt.Errorf("finding the booted partition: %w", err)
	}
	uuid, err := bootUUID(cmdline)
	if err != nil {
		return gpt.GUID{}, fmt.Errorf("finding the booted partition: %w", err)
	}
	return uuid, nil
}

// FindDisk returns the path of the disk that holds the given BOOT partition, among the block devices of the host whose
// files are below root. It reads partition tables and changes nothing. The error is ErrNoDisk when there is none.
func FindDisk(root string, boot gpt.GUID) (string, error) {
	devices, err := os.ReadDir(filepath.Join(root, "sys/block"))
	if errors.Is(err, fs.ErrNotExist) { // as on a host that is a directory
		return "", fmt.Errorf("finding the system disk: %w: %w", ErrNoDisk, err)
	}
	if err != nil {
		return "", fmt.Errorf("finding the system disk: %w", err)
	}
	for _, d := range devices {
		path := filepath.Join(root, "dev", strings.ReplaceAll(d.Name(), "!", "/")) // as the kernel spells a slash
		err := NewDisk(path).View(func(_ *gpt.File, t *slot.Table) error {
			_, err := t.FindBoot(boot)
			return err
		})
		if err == nil {
			return path, nil // what cannot be read, or is no system disk, is not the one
		}
	}
	return "", fmt.Errorf("finding the system disk: %w: %v", ErrNoDisk, boot)
}
