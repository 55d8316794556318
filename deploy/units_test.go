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
	for _, program := range []string{ // of an image
		"bootstrap-containers", "containerd", "early-boot-config", "host-ctr", "hostd", "settings-committer", "sundog", "systemctl", "thar-be-settings",
	} {
		write(t, filepath.Join(root, "usr/bin", program), nil, 0o755)
	}
	for _, target := range []string{"basic", "local-fs", "multi-user", "network-online", "shutdown", "sockets", "sysinit"} { // of any system
		write(t, filepath.Join(root, "etc/systemd/system", target+".target"), []byte("[Unit]\nDescription="+target+"\n"), 0o644)
	}
	if err := os.CopyFS(filepath.Join(root, "etc/systemd/system"), os.DirFS("systemd")); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("systemd/*.*")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d units: %v", len(files), err)
	}
	args := []string{"verify", "--man=no", "--root=" + root}
	for _, file := range files {
		name := strings.Replace(filepath.Base(file), "@.", "@admin.", 1)
		args = append(args, strings.TrimSuffix(name, ".d")) // what is added to a unit is read with that
	}
	// What it finds is in its words more often than in its exit code.
	if out, err := exec.CommandContext(t.Context(), "systemd-analyze", args...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// A unit that the page about the boot does not name would surprise whoever builds an image.
func TestThePageAboutTheBootNamesTheUnits(t *testing.T) {
	page, err := os.ReadFile("../docs/host/boot.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("systemd/*.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(strings.Replace(filepath.Base(file), "@.", "@NAME.", 1), ".d"); !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("it does not name %s", name)
		}
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
