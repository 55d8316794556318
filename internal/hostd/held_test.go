// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/manifest"
	"github.com/drydock-os/drydock/internal/tuf/release"
)

// A host that stays where it is says why: its wave, or its lock. Agents bring that to the cluster.
func TestAHostThatStaysSaysWhy(t *testing.T) {
	s := newSite(t, 8<<20, "1.0.0", "1.1.0")
	version, err := manifest.ParseVersion("1.1.0")
	if err != nil {
		t.Fatal(err)
	}
	turn := time.Now().Add(30 * time.Hour).Truncate(time.Second)
	waves := func(w manifest.Waves) {
		t.Helper()
		where := release.Where{Dir: s.repo, KeysDir: s.keys, Variant: variant, Arch: arch(), Now: time.Now()}
		if _, err := release.SetWaves(t.Context(), where, version, w); err != nil {
			t.Fatal(err)
		}
	}
	lock := func(to string) {
		t.Helper()
		path := filepath.Join(s.root, "etc/updog.toml")
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(line, "version_lock") {
				line = "version_lock = \"" + to + "\"\n"
			}
			lines = append(lines, line)
		}
		s.write("etc/updog.toml", strings.Join(lines, ""))
	}
	s.bootLoader()
	d := s.start()

	waves(manifest.Waves{0: turn})
	status := d.mustCommand(d.Refresh, hostapi.StateIdle)
	if diff := cmp.Diff(&hostapi.HeldUpdate{Version: "1.1.0", Reason: hostapi.HeldByWave, Until: turn.UTC().Format(time.RFC3339)}, status.HeldUpdate); diff != "" {
		t.Errorf("before its wave (-want +got):\n%s", diff)
	}
	waves(nil)
	lock("1.0.0")
	status = d.mustCommand(d.Refresh, hostapi.StateIdle)
	if diff := cmp.Diff(&hostapi.HeldUpdate{Version: "1.1.0", Reason: hostapi.HeldByLock, LockedTo: "1.0.0"}, status.HeldUpdate); diff != "" {
		t.Errorf("locked (-want +got):\n%s", diff)
	}
	lock("latest")
	if status = d.mustCommand(d.Refresh, hostapi.StateAvailable); status.HeldUpdate != nil {
		t.Errorf("chosen, and yet held: %+v", status.HeldUpdate)
	}
}
