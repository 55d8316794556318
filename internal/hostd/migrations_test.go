// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostd/migrate"
	"github.com/drydock-os/drydock/internal/manifest"
	"github.com/drydock-os/drydock/internal/slot"
	"github.com/drydock-os/drydock/internal/tuf/release"
)

func (s *site) where() release.Where {
	return release.Where{Dir: s.repo, KeysDir: s.keys, Variant: variant, Arch: arch(), Now: time.Now()}
}

// prepareFails prepares the newest version and returns what went wrong.
func (s *site) prepareFails() string {
	s.t.Helper()
	d := s.start()
	d.log.await(s.t, "boot marked successful")
	d.mustCommand(d.Refresh, hostapi.StateAvailable)
	status := d.command(d.Prepare)
	if c := status.MostRecentCommand; c.Status != hostapi.StatusFailed || status.UpdateState != hostapi.StateAvailable {
		s.t.Errorf("%s: %s, state %s", c.Type, c.Status, status.UpdateState)
	}
	if _, b := s.flags(); b != (slot.Flags{}) {
		s.t.Errorf("the idle slot was touched: %+v", b)
	}
	return status.MostRecentCommand.Stderr
}

// A system that could not take over the settings is not even downloaded.
func TestUpdateThatNoMigrationsLeadTo(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0", "1.21.0")
	// A publisher that does not know the version that runs here.
	if _, err := release.RemoveUpdate(t.Context(), s.where(), semver.MustParse("1.20.0")); err != nil {
		t.Fatal(err)
	}
	if _, err := release.SetMigrations(t.Context(), s.where(), nil, ""); err != nil {
		t.Fatal(err)
	}
	s.wantBoot(slot.A)
	if text := s.prepareFails(); !strings.Contains(text, "from version 1.20.0 towards 1.21.0: no migrations lead there") {
		t.Errorf("prepare said %q", text)
	}
}

// An update whose migrations cannot be had is not written.
func TestUpdateWhoseMigrationsAreBroken(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0")
	const name = "migrate_v1.21.0_a.lz4"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("good"), 0o600); err != nil {
		t.Fatal(err)
	}
	way := manifest.Migration{From: semver.MustParse("1.20.0"), To: semver.MustParse("1.21.0"), Names: []string{name}}
	if _, err := release.SetMigrations(t.Context(), s.where(), []manifest.Migration{way}, dir); err != nil {
		t.Fatal(err)
	}
	s.publish("1.21.0")
	s.setTamper(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, name) {
			if got := r.URL.Query().Get("migrations"); got != name+",manifest.json" {
				t.Errorf("asked with migrations=%q", got)
			}
			_, _ = w.Write([]byte("evil"))
			return true
		}
		return false
	})
	s.wantBoot(slot.A)
	if text := s.prepareFails(); !strings.Contains(text, name) {
		t.Errorf("prepare said %q", text)
	}
	if left, _ := filepath.Glob(filepath.Join(s.root, migrate.TargetsDir, "*"+name)); len(left) > 0 {
		t.Errorf("kept what was not signed: %q", left)
	}
}
