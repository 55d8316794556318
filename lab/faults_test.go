// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package lab

import (
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/drydock-os/drydock/lab/fleet"
)

// TestAnyPartMayDieAtAnyState ends each part once at each state of an update, in a lab of its own. The
// roll must still end, with every node updated and no limit exceeded.
//
// There is no workload: its budget speaks of evictions, and a power cut asks nobody.
func TestAnyPartMayDieAtAnyState(t *testing.T) {
	bin := binDir(t)
	for _, what := range []string{"kill=agent", "kill=apiserver", "kill=controller", "kill=hostd", "power-cut", "delete-shadow"} {
		for _, state := range []string{"StagedAndPerformedUpdate", "RebootedIntoUpdate", "MonitoringUpdate", "Idle"} {
			fault := what + "@" + state
			t.Run(fault, func(t *testing.T) {
				t.Parallel()
				cmd := exec.Command(filepath.Join(bin, "lab"), "run", "--nodes", "2", "--workload-replicas", "0",
					"--reboot-time", "300ms", "--timeout", "3m", "--output", "json", "--fault", fault)
				var progress strings.Builder
				cmd.Stderr = &progress
				out, err := cmd.Output()
				if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
					t.Fatal(err)
				}
				var r fleet.Report
				if err := json.Unmarshal(out, &r); err != nil {
					t.Fatalf("no report: %v\n%s", err, progress.String())
				}
				if r.Updated != 2 || r.Reason != "" || r.MaxUnavailableSeen > 1 {
					t.Errorf("updated %d of 2, %d unavailable at once, reason %q\n%s", r.Updated, r.MaxUnavailableSeen, r.Reason, progress.String())
				}
				if !strings.Contains(progress.String(), "fault: ") {
					t.Errorf("the fault never happened\n%s", progress.String())
				}
			})
		}
	}
}
