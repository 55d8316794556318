// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package lab

import (
	"bytes"
	"os"
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
		if err != nil || !regexp.MustCompile(`^`+program+` version \d+\.\d+\.\d+\S* \(go\S+\)\n$`).Match(out) {
			t.Errorf("%s says %q, %v", program, out, err)
		}
	}
}

// A program that holds the interpreter of templates holds every exported method too, since a template might call it:
// drydock was half as large again, in memory as well.
func TestNoProgramHoldsWhatOnlyATemplateCouldCall(t *testing.T) {
	t.Parallel()
	bin := binDir(t)
	for _, program := range []string{"drydock", "drydock-agent", "hostd", "imgtool", "lab"} { // host-ctr: its libraries need templates
		content, err := os.ReadFile(filepath.Join(bin, program))
		if err != nil {
			t.Error(err)
		}
		if bytes.Contains(content, []byte("text/template.(*state).evalCall")) {
			t.Errorf("%s runs templates; which of its packages does so? cobra does after a call of Set…Template", program)
		}
	}
}
