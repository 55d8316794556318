// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A unit with a word that systemd does not know works, but not as it was meant.
func TestSystemdUnderstandsTheUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed: on Debian, apt-get install systemd")
	}
	root := t.TempDir()
	for _, program := range []string{"bootstrap-containers", "containerd", "host-ctr"} { // of an image
		write(t, filepath.Join(root, "usr/bin", program), nil, 0o755)
	}
	for _, target := range []string{"basic", "sysinit"} { // of any system
		write(t, filepath.Join(root, "etc/systemd/system", target+".target"), []byte("[Unit]\nDescription="+target+"\n"), 0o644)
	}
	files, err := filepath.Glob("systemd/*.service")
	if err != nil || len(files) == 0 {
		t.Fatalf("no units: %v", err)
	}
	args := []string{"verify", "--man=no", "--root=" + root}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		write(t, filepath.Join(root, "etc/systemd/system", name), text, 0o644)
		args = append(args, strings.Replace(name, "@.", "@admin.", 1))
	}
	// What it finds is in its words more often than in its exit code.
	if out, err := exec.CommandContext(t.Context(), "systemd-analyze", args...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

func write(t *testing.T, name string, text []byte, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, text, mode); err != nil {
		t.Fatal(err)
	}
}
