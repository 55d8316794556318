// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package signpost

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/slot"
)

// On a disk with one set of partitions, all that asks for nothing more works, and the rest is refused and changes
// nothing.
func TestADiskWithOneSet(t *testing.T) {
	const mib = 1 << 20
	root := t.TempDir()
	disk := filepath.Join(root, "disk")
	boot := gpt.GUID{0: 1}
	if err := os.WriteFile(disk, make([]byte, 8*mib), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := gpt.OpenFile(disk, true)
	if err != nil {
		t.Fatal(err)
	}
	_, err = gpt.Create(d, d.Size(), []gpt.NewPartition{
		{Type: slot.TypeBoot, UUID: boot, Offset: mib, Size: mib, Attributes: slot.Flags{Priority: 1, Tries: 1}.Attributes(0)},
		{Type: slot.TypeRoot, UUID: gpt.GUID{0: 2}, Offset: 2 * mib, Size: mib},
		{Type: slot.TypeHash, UUID: gpt.GUID{0: 3}, Offset: 3 * mib, Size: mib},
		{Type: slot.TypePrivate, UUID: gpt.GUID{0: 4}, Offset: 4 * mib, Size: mib},
	})
	if closeErr := d.Close(); err != nil || closeErr != nil {
		t.Fatal(err, closeErr)
	}
	if err := os.Mkdir(filepath.Join(root, "proc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "proc/cmdline"), []byte("drydock.boot_uuid="+boot.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	call := func(command string) (code int, stdout, stderr string) {
		var out, errs bytes.Buffer
		code = Run(Config{&out, &errs}, []string{command, "--root", root, "--disk", disk})
		return code, out.String(), errs.String()
	}
	if code, _, stderr := call("mark-successful-boot"); code != 0 {
		t.Errorf("marking: %s", stderr)
	}
	before, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	for command := range changes {
		if command == "mark-successful-boot" || command == "rewrite-table" {
			continue
		}
		if code, stdout, stderr := call(command); code != 1 || stdout != "" || !strings.Contains(stderr, "disk has only one system slot") {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", command, code, stdout, stderr)
		}
	}
	if after, err := os.ReadFile(disk); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a refused command changed the disk (%v)", err)
	}
	if code, stdout, _ := call("has-boot-ever-succeeded"); code != 0 || stdout != "true\n" {
		t.Errorf("has-boot-ever-succeeded: exit code %d, %q", code, stdout)
	}
	want := "OS disk: D\nSet A:   boot=D1 root=D2 hash=D3 priority=1 tries_left=1 successful=true\nActive:  Set A\nNext:    Set A\n"
	code, stdout, _ := call("status")
	if diff := cmp.Diff(want, strings.ReplaceAll(stdout, disk, "D")); code != 0 || diff != "" {
		t.Errorf("status: exit code %d\n%s", code, diff)
	}
}
