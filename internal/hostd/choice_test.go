// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/Masterminds/semver/v3"

	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/slot"
	"github.com/drydock-os/drydock/internal/tuf/release"
)

// A newer version that comes while one is staged: looking changes the choice and not the state, and preparing again
// writes over what was staged.
func TestANewerUpdateReplacesTheStagedOne(t *testing.T) {
	s := newSite(t, 1<<20, "1.0.0", "1.1.0")
	s.wantBoot(slot.A)
	d := s.start()
	d.log.await(t, "boot marked successful")
	d.mustCommand(d.Refresh, hostapi.StateAvailable)
	d.mustCommand(d.Prepare, hostapi.StateStaged)
	s.publish("1.2.0")
	status := d.mustCommand(d.Refresh, hostapi.StateStaged)
	if chosen, staged := status.ChosenUpdate.Version, status.StagingPartition.Image.Version; chosen != "1.2.0" || staged != "1.1.0" {
		t.Errorf("chosen %s with %s staged", chosen, staged)
	}
	status = d.mustCommand(d.Prepare, hostapi.StateStaged)
	if staged := status.StagingPartition.Image.Version; staged != "1.2.0" {
		t.Errorf("staged %s", staged)
	}
	d.mustCommand(d.Activate, hostapi.StateReady)
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	s.wantBoot(slot.B)
	d = s.start()
	if os, err := d.OS(t.Context()); err != nil || os.VersionID != "1.2.0" {
		t.Errorf("runs %+v, %v", os, err)
	}
}

// A host goes down to an older version when the one it runs is withdrawn, and when it is locked to it.
func TestAHostGoesDown(t *testing.T) {
	for name, cause := range map[string]func(*site){
		"the greatest version was lowered": func(s *site) {
			if _, _, err := release.SetMaxVersion(s.t.Context(), s.where(), semver.MustParse("1.0.0")); err != nil {
				s.t.Fatal(err)
			}
		},
		"locked to an older one": func(s *site) {
			path := filepath.Join(s.root, "etc/updog.toml")
			data, err := os.ReadFile(path)
			if err != nil {
				s.t.Fatal(err)
			}
			s.write("etc/updog.toml", strings.Replace(string(data), `"latest"`, `"v1.0.0"`, 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 1<<20, "1.1.0", "1.0.0") // runs the first of them
			s.wantBoot(slot.A)
			d := s.start()
			d.log.await(t, "boot marked successful")
			d.mustCommand(d.Refresh, hostapi.StateIdle)
			cause(s)
			status := d.mustCommand(d.Refresh, hostapi.StateAvailable)
			if status.ChosenUpdate.Version != "1.0.0" {
				t.Errorf("chose %+v of %v", status.ChosenUpdate, status.AvailableUpdates)
			}
			d.mustCommand(d.Prepare, hostapi.StateStaged)
			d.mustCommand(d.Activate, hostapi.StateReady)
			if err := d.stop(); err != nil {
				t.Fatal(err)
			}
			s.wantBoot(slot.B)
			d = s.start()
			d.log.await(t, `"boot marked successful","slot":"B","version":"1.0.0"`)
			d.mustCommand(d.Refresh, hostapi.StateIdle)
		})
	}
}

// Servers learn from the query of each request who asks, and for what.
func TestRequestsSayWhoAsksForWhat(t *testing.T) {
	s := newSite(t, 1<<20, "1.0.0", "1.1.0")
	s.wantBoot(slot.A)
	d := s.start()
	d.log.await(t, "boot marked successful")
	var mu sync.Mutex
	var queries []string
	s.setTamper(func(_ http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		queries = append(queries, filepath.Base(r.URL.Path)+" "+r.URL.RawQuery)
		return false
	})
	d.mustCommand(d.Refresh, hostapi.StateAvailable)
	d.mustCommand(d.Prepare, hostapi.StateStaged)
	mu.Lock()
	defer mu.Unlock()
	const who = " seed=17&version=1.0.0"
	const what = " migrations=manifest.json&seed=17&target=1.1.0&version=1.0.0" // once that is known
	images := 0
	for _, q := range queries {
		image := strings.Contains(q, ".lz4 ")
		if image {
			images++
		}
		if !strings.HasSuffix(q, what) && (image || !strings.HasSuffix(q, who)) {
			t.Errorf("asked for %s", q)
		}
	}
	if images != 3 {
		t.Errorf("%d images in %q", images, queries)
	}
}
