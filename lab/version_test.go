// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package lab

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

func TestEveryProgramTellsItsVersion(t *testing.T) {
	t.Parallel()
	bin := binDir(t)
	for _, program := range []string{"drydock", "drydock-agent", "hostd", "host-ctr", "imgtool", "lab"} {
		out, err := exec.CommandContext(t.Context(), filepath.Join(bin, program), "--version").CombinedOutput()
		if err != nil || !regexp.MustCompile(`^`+program+` \d+\.\d+\.\d+\S* \(go\S+\)\n$`).Match(out) {
			t.Errorf("%s says %q, %v", program, out, err)
		}
	}
}
