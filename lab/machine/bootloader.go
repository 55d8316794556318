// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/osimage"
	"github.com/drydock-os/drydock/internal/slot"
)

// notUnpacked is what an image carries for its size alone; the lab's hosts have no use for it outside
// the disk.
const notUnpacked = "usr/share/drydock"

// system is a booted system: what was chosen and where its files are.
type system struct {
	boot Boot
	tree string // the unpacked root image
}

// bootAttempts bounds how often one power-on may start over. A slot that was never marked successful
// loses a try each time and gives way to the other; a successful one whose root is damaged would
// otherwise go round for ever, as it would on a real machine until a person comes.
const bootAttempts = 4

// errRootDamaged is what a kernel with dm-verity would reset the machine for.
var errRootDamaged = errors.New("the root image does not match the hash in its boot image")

// bootLoader does what the firmware, boot loader and kernel of a real machine do: it picks a slot by
// the rules of the disk, passes over a damaged boot image, checks the root image and starts over when
// that is damaged, and hands over by the kernel's command line. The host's /run starts empty, as a
// tmpfs would.
func (m *Machine) bootLoader(ctx context.Context, number int) (system, error) {
	var err error
	for range bootAttempts {
		var sys system
		if sys, err = m.tryBoot(ctx, number); err == nil || !errors.Is(err, errRootDamaged) {
			return sys, err
		}
	}
	return system{}, err
}

func (m *Machine) tryBoot(ctx context.Context, number int) (system, error) {
	disk, err := gpt.OpenFile(m.Disk(), true)
	if err != nil {
		return system{}, err
	}
	defer disk.Close()
	table, err := slot.Open(disk, disk.Size())
	if err != nil {
		return system{}, err
	}
	refuse := func(s slot.Slot, why error) {
		m.notify(Event{Kind: SlotRefused, Boot: Boot{Number: number, Slot: s}, Reason: why.Error()})
	}
	var image *osimage.System
	chosen, err := table.BootIf(func(s slot.Slot) error {
		var err error
		if image, err = osimage.OpenSlot(disk, table, s); err != nil {
			refuse(s, err)
		}
		return err
	})
	if err != nil {
		return system{}, err
	}
	if err := image.Verify(ctx); err != nil {
		refuse(chosen, err)
		return system{}, fmt.Errorf("slot %v: %w: %w", chosen, errRootDamaged, err)
	}
	tree, err := m.unpack(image)
	if err != nil {
		return system{}, fmt.Errorf("reading the root image of slot %v: %w", chosen, err)
	}
	b := Boot{Number: number, ID: m.cfg.NewBootID(), Slot: chosen, Release: image.Release()}
	if err := m.handOver(b, tree, table.Partition(chosen, slot.Boot).UUID); err != nil {
		return system{}, fmt.Errorf("handing over to slot %v: %w", chosen, err)
	}
	m.mu.Lock()
	m.boot = b
	m.mu.Unlock()
	m.notify(Event{Kind: Booted, Boot: b})
	return system{boot: b, tree: tree}, nil
}

// handOver leaves the host as a kernel that just started would show it.
func (m *Machine) handOver(b Boot, tree string, bootUUID gpt.GUID) error {
	root := m.Root()
	if err := os.RemoveAll(filepath.Join(root, "run")); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(root, "run"), 0o755); err != nil {
		return err
	}
	for name, target := range map[string]string{"usr": filepath.Join(tree, "usr"), "bin": "usr/bin"} {
		link := filepath.Join(root, name)
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Symlink(target, link); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"proc/cmdline":                   "drydock.boot_uuid=" + bootUUID.String() + "\n",
		"proc/sys/kernel/random/boot_id": b.ID + "\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// unpack makes the image's files available under the cache, once for each root hash: hosts that run
// the same image share them, as they would share the pages of one mounted image.
func (m *Machine) unpack(image *osimage.System) (string, error) {
	final := filepath.Join(m.cfg.Cache, image.RootHash())
	if _, err := os.Stat(final); err == nil {
		return final, nil
	}
	scratch, err := os.MkdirTemp(m.cfg.Cache, "unpacking-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	if err := os.Chmod(scratch, 0o755); err != nil {
		return "", err
	}
	files := image.FS()
	err = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == notUnpacked {
			return fs.SkipDir
		}
		target := filepath.Join(scratch, filepath.FromSlash(name))
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case d.Type().IsRegular():
			return copyOut(files, name, target)
		default:
			return nil
		}
	})
	if err != nil {
		return "", err
	}
	if err := os.Rename(scratch, final); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, stat := os.Stat(final); stat != nil { // another host was first: good
			return "", err
		}
	}
	return final, nil
}

func copyOut(files fs.FS, name, target string) error {
	in, err := files.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	mode := info.Mode().Perm()
	if path.Dir(name) == "usr/bin" {
		mode |= 0o555
	}
	out, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return fmt.Errorf("unpacking %s: %w", name, err)
	}
	return out.Close()
}
