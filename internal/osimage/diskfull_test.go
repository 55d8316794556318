// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package osimage

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const fullDiskDir = "OSIMAGE_TEST_FULL_DISK"

// A full disk is made of a small tmpfs, in namespaces of its own so that no privilege is needed: the test
// starts itself there again.
func TestDiskFull(t *testing.T) {
	if dir := os.Getenv(fullDiskDir); dir != "" {
		onFullDisk(t, dir)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestDiskFull$", "-test.v")
	cmd.Env = append(os.Environ(), fullDiskDir+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if exit, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran {
		t.Skipf("no user namespaces here: %v", err)
	} else if ran {
		t.Errorf("%v:\n%s", exit, out)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("%s", out)
	}
}

func onFullDisk(t *testing.T, dir string) {
	im := mustBuild(t, testSpec())
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=900k"); err != nil {
		t.Skipf("cannot mount a small tmpfs: %v", err)
	}
	_, buildErr := Build(t.Context(), testSpec(), dir)
	_, targetsErr := im.WriteTargets(t.Context(), dir)
	for doing, err := range map[string]error{
		"Build": buildErr, "WriteTargets": targetsErr,
		"WriteDisk": WriteDisk(t.Context(), filepath.Join(dir, "disk.img"), LayoutFor(mib), im),
	} {
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "no space left on device") {
			t.Errorf("%s on a full disk: %v", doing, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left on the full disk: %v (%v)", entries, err)
	}
}
