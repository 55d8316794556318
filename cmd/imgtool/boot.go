// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/osimage"
	"github.com/drydock-os/drydock/internal/program"
	"github.com/drydock-os/drydock/internal/slot"
)

// bootAttempts is how often a boot starts over because a root image is damaged: a slot that was never marked
// successful loses a try each time.
const bootAttempts = 4

// errDamagedRoot is what a kernel with dm-verity would reset the machine for.
var errDamagedRoot = errors.New("the root image does not match its hash tree")

// booted is what 'imgtool boot' prints.
type booted struct {
	Slot    string `json:"slot"`
	Version string `json:"version"`
	BootID  string `json:"boot_id"`
}

// newBootCmd returns 'imgtool boot'.
func newBootCmd(stdout io.Writer) *cobra.Command {
	var o output
	var disk, root string
	c := &cobra.Command{
		Use:   "boot --disk FILE --root DIR",
		Short: "Boot a disk image into a folder, to try images without a machine",
		Long: `Boot a disk image into a folder, to try images without a machine: choose the slot as the boot loader
does (the highest priority with tries left or marked successful), take away one of its tries, check its
root image against its hash tree, and tell a host daemon that is started with 'hostd serve --root DIR'
what booted, by the kernel command line and the boot id below DIR/proc. DIR/run is emptied. A host whose
containers run is refused. No kernel is started.

Exit codes: 0 booted, 1 failed (also: no slot can boot), 2 the command line is wrong.`,
		Example: "  imgtool boot --disk host.img --root host",
		Args:    program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := errors.Join(o.check(), required([2]string{"disk", disk}, [2]string{"root", root})); err != nil {
				return program.WithUsage(c, err)
			}
			abs, err := filepath.Abs(root)
			if err != nil {
				return err
			}
			if abs == "/" {
				return program.WithUsage(c, cli.Usagef("--root /: that is this machine; give a folder of its own"))
			}
			if err := powerOff(abs); err != nil {
				return err
			}
			b, err := boot(c.Context(), disk, abs)
			if errors.Is(err, slot.ErrNoBootableSlot) {
				err = cli.WithHint(err, "'signpost --disk %s status' shows the flags of both slots", disk)
			}
			if err != nil {
				return err
			}
			return o.report(stdout, b, fmt.Sprintf("booted slot %s, version %s, boot id %s\n", b.Slot, b.Version, b.BootID))
		},
	}
	f := c.Flags()
	f.StringVar(&disk, "disk", "", "disk image `file` (required)")
	f.StringVar(&root, "root", "", "`folder` that stands for the root directory of the host (required)")
	o.register(c)
	return c
}

func boot(ctx context.Context, disk, root string) (booted, error) {
	var err error
	for range bootAttempts {
		var b booted
		if b, err = tryBoot(ctx, disk, root); err == nil || !errors.Is(err, errDamagedRoot) {
			return b, err
		}
	}
	return booted{}, err
}

func tryBoot(ctx context.Context, disk, root string) (b booted, err error) {
	d, err := gpt.OpenFile(disk, true)
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	table, err := slot.Open(d, d.Size())
	if err != nil {
		return b, err
	}
	var image *osimage.System
	chosen, err := table.BootIf(func(s slot.Slot) (err error) {
		image, err = osimage.OpenSlot(d, table, s)
		return err
	})
	if err != nil {
		return b, err
	}
	if err := image.Verify(ctx); err != nil {
		if ctx.Err() != nil {
			return b, err
		}
		return b, fmt.Errorf("slot %v: %w: %w", chosen, errDamagedRoot, err)
	}
	b = booted{Slot: chosen.String(), Version: image.Release().Version, BootID: newBootID()}
	if err := empty(filepath.Join(root, "run")); err != nil { // a file system in memory, on a machine
		return b, fmt.Errorf("emptying /run of the host: %w", err)
	}
	for name, text := range map[string]string{
		"proc/cmdline":                   "drydock.boot_uuid=" + table.Partition(chosen, slot.Boot).UUID.String() + "\n",
		"proc/sys/kernel/random/boot_id": b.BootID + "\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return b, fmt.Errorf("telling the host what booted: %w", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return b, fmt.Errorf("telling the host what booted: %w", err)
		}
	}
	return b, nil
}

// powerOff refuses to boot a host whose containers run: what is mounted below its /run is theirs, and emptying that would
// delete their files.
func powerOff(root string) error {
	if resolved, err := filepath.EvalSymlinks(root); err == nil {
		root = resolved
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("looking for what the host has mounted: %w", err)
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		at := unescapeMount.Replace(fields[4])
		if strings.HasPrefix(at, filepath.Join(root, "run")+"/") {
			return cli.WithHint(fmt.Errorf("the host still runs: something is mounted at %s", at),
				"stop its containers and its containerd first; after a crash, unmount that")
		}
	}
	return nil
}

// unescapeMount undoes what the kernel does to names in mountinfo.
var unescapeMount = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// empty removes what is in a folder, which may be a mount, and need not exist.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// newBootID is a random UUID, version 4 of RFC 9562, as the kernel makes one for each boot.
func newBootID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
