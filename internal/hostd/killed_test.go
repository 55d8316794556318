// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/slot"
)

// copyOf returns a host that stopped dead at this instant: what was below /run is lost.
func (s *site) copyOf(t *testing.T) *site {
	t.Helper()
	base := t.TempDir()
	c := &site{
		t: t, repo: s.repo, keys: s.keys, images: s.images, size: s.size, server: s.server, boots: s.boots,
		root: filepath.Join(base, "r"), disk: filepath.Join(base, "disk.img"),
	}
	for _, dir := range []string{"var", "etc"} {
		if err := os.CopyFS(filepath.Join(c.root, dir), os.DirFS(filepath.Join(s.root, dir))); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(s.disk)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.disk, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return c
}

// Wherever a host stops dead on its way through an update, it boots a good system and gets there the next time.
func TestStoppedDeadAtEachStep(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0", "1.21.0")
	s.wantBoot(slot.A)
	d := s.start()
	d.log.await(t, "boot marked successful")
	d.mustCommand(d.Refresh, hostapi.StateAvailable)
	type stop struct {
		at   string
		host *site
		boot slot.Slot
	}
	stops := []stop{{"before anything", s.copyOf(t), slot.A}}
	s.setTamper(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, ".lz4") { // the parts before it are written, its own has not begun
			stops = append(stops, stop{"request of " + filepath.Base(r.URL.Path), s.copyOf(t), slot.A})
		}
		return false
	})
	d.mustCommand(d.Prepare, hostapi.StateStaged)
	s.setTamper(nil)
	stops = append(stops, stop{"after prepare", s.copyOf(t), slot.A})
	d.mustCommand(d.Activate, hostapi.StateReady)
	stops = append(stops, stop{"after activate", s.copyOf(t), slot.B})
	d.mustCommand(d.Deactivate, hostapi.StateStaged)
	stops = append(stops, stop{"after deactivate", s.copyOf(t), slot.A})
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if len(stops) != 7 {
		t.Fatalf("%d stops", len(stops))
	}
	for _, stop := range stops {
		h := stop.host
		h.wantBoot(stop.boot)
		if stop.boot == slot.A {
			h.updateTo("1.21.0")
			h.wantBoot(slot.B)
		}
		d := h.start()
		d.log.await(t, `"boot marked successful","slot":"B","version":"1.21.0"`)
		if status := d.mustCommand(d.Refresh, hostapi.StateIdle); status.BlockedUpdates != nil {
			t.Errorf("%s: blocked %+v", stop.at, status.BlockedUpdates)
		}
		if err := d.stop(); err != nil {
			t.Fatal(err)
		}
	}
}
