// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/slot"
)

func TestUpdateFromEndToEnd(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0", "1.21.0")
	if booted := s.bootLoader(); booted != slot.A {
		t.Fatalf("booted slot %v", booted)
	}
	d := s.start()
	d.log.await(t, `"boot marked successful","slot":"A","version":"1.20.0"`)
	if _, err := d.UpdateStatus(t.Context()); !errors.Is(err, hostapi.ErrNotFound) {
		t.Errorf("status before the first command: %v", err)
	}
	status := d.mustCommand(d.Refresh, hostapi.StateAvailable)
	if !slices.Equal(status.AvailableUpdates, []string{"1.21.0", "1.20.0"}) || status.ChosenUpdate == nil || status.ChosenUpdate.Version != "1.21.0" {
		t.Errorf("refresh found %v, chose %+v", status.AvailableUpdates, status.ChosenUpdate)
	}
	status = d.mustCommand(d.Prepare, hostapi.StateStaged)
	if p := status.StagingPartition; p == nil || p.NextToBoot || p.Image.Version != "1.21.0" {
		t.Errorf("staging partition %+v", p)
	}
	if a, b := s.flags(); a != (slot.Flags{Priority: 1, Successful: true}) || b != (slot.Flags{Tries: 1}) {
		t.Errorf("after prepare: A %+v, B %+v", a, b)
	}

	// The same again downloads no image: the slot holds it.
	s.setTamper(nil)
	d.mustCommand(d.Prepare, hostapi.StateStaged)
	if n := s.downloads(); n != 0 {
		t.Errorf("a second prepare downloaded %d images", n)
	}

	// There and back and there again.
	d.mustCommand(d.Activate, hostapi.StateReady)
	d.mustCommand(d.Deactivate, hostapi.StateStaged)
	status = d.mustCommand(d.Activate, hostapi.StateReady)
	if !status.StagingPartition.NextToBoot || status.ActivePartition.NextToBoot {
		t.Errorf("next to boot: staging %v, active %v", status.StagingPartition.NextToBoot, status.ActivePartition.NextToBoot)
	}
	if err := d.Prepare(t.Context()); !errors.Is(err, hostapi.ErrNotAllowed) {
		t.Errorf("prepare in Ready: %v", err)
	}
	if err := d.Reboot(t.Context()); err != nil {
		t.Error(err)
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}

	if booted := s.bootLoader(); booted != slot.B {
		t.Fatalf("booted slot %v", booted)
	}
	d = s.start()
	d.log.await(t, `"boot marked successful","slot":"B","version":"1.21.0"`)
	os, err := d.OS(t.Context())
	if err != nil || os.VersionID != "1.21.0" || os.VariantID != variant || os.Slot != "B" || !strings.HasSuffix(os.BootID, "2") {
		t.Errorf("after the reboot: %+v, %v", os, err)
	}
	if _, b := s.flags(); b != (slot.Flags{Priority: 2, Successful: true}) {
		t.Errorf("flags of B: %+v", b)
	}
	d.mustCommand(d.Refresh, hostapi.StateIdle)
}

func TestBadImagesNeverBoot(t *testing.T) {
	flip := func(at func(n int) int) func([]byte) []byte {
		return func(b []byte) []byte { b[at(len(b))] ^= 1; return b }
	}
	for _, tc := range []struct {
		name, target string
		change       func([]byte) []byte
		want         string
	}{
		{"flipped byte in the root image", "-root.erofs.lz4", flip(func(n int) int { return n / 2 }), "-root.erofs.lz4: target does not match its signed digest: want sha256 "},
		{"flipped last byte", "-root.erofs.lz4", flip(func(n int) int { return n - 1 }), "target does not match its signed digest"},
		{"flipped first byte", "-boot.img.lz4", flip(func(int) int { return 0 }), "-boot.img.lz4: target does not match its signed digest"},
		{"truncated hash tree", "-root.verity.lz4", func(b []byte) []byte { return b[:len(b)-1] }, "-root.verity.lz4: target does not match its signed digest: want "},
		{"overlong boot image", "-boot.img.lz4", func(b []byte) []byte { return append(b, 'x') }, "-boot.img.lz4: target does not match its signed digest"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t, 1<<20, "1.20.0", "1.21.0")
			s.bootLoader()
			d := s.start()
			d.log.await(t, "boot marked successful")
			d.mustCommand(d.Refresh, hostapi.StateAvailable)
			before := readSlot(t, s.disk, slot.A)
			s.setTamper(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "-v1.21.0"+tc.target) {
					return false
				}
				data, err := os.ReadFile(filepath.Join(s.repo, r.URL.Path))
				if err != nil {
					t.Error(err)
				}
				_, _ = w.Write(tc.change(data))
				return true
			})
			status := d.command(d.Prepare)
			c := status.MostRecentCommand
			if c.Type != hostapi.CommandPrepare || c.Status != hostapi.StatusFailed || c.ExitStatus < 1 ||
				!strings.HasPrefix(c.Stderr, "downloading drydock-metal-") || !strings.Contains(c.Stderr, tc.want) || strings.Contains(c.Stderr, "\n") {
				t.Errorf("result %+v", c)
			}
			if status.UpdateState != hostapi.StateAvailable || status.StagingPartition != nil {
				t.Errorf("state %s, staging %+v", status.UpdateState, status.StagingPartition)
			}
			d.log.await(t, tc.want)
			if a, b := s.flags(); a != (slot.Flags{Priority: 1, Successful: true}) || b != (slot.Flags{}) {
				t.Errorf("flags: A %+v, B %+v", a, b)
			}
			if !bytes.Equal(before, readSlot(t, s.disk, slot.A)) {
				t.Error("the running slot was changed")
			}
			if err := d.Activate(t.Context()); !errors.Is(err, hostapi.ErrNotAllowed) {
				t.Errorf("activate after a failed prepare: %v", err)
			}
			// The server is repaired: the update goes through.
			s.setTamper(nil)
			d.mustCommand(d.Prepare, hostapi.StateStaged)
		})
	}
}

func readSlot(t *testing.T, disk string, s slot.Slot) (all []byte) {
	t.Helper()
	d, err := gpt.OpenFile(disk, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	table, err := slot.Open(d, d.Size())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range slot.Parts() {
		p := table.Partition(s, part)
		data := make([]byte, p.Size())
		if _, err := d.ReadAt(data, p.Offset()); err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
	}
	return all
}
