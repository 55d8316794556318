// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package drydock_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTutorial runs the commands of docs/host/tutorial.md one after the other in an empty folder, with the real
// programs, and looks at where the host ends up.
func TestTutorial(t *testing.T) {
	bin := os.Getenv("DRYDOCK_BIN")
	if testing.Short() {
		t.Skip("boots a host twice")
	}
	if bin == "" {
		t.Fatal("DRYDOCK_BIN is not set: run this test through `make test`, which builds the programs and sets it, or leave it out with -short")
	}
	page, err := os.ReadFile(filepath.FromSlash("docs/host/tutorial.md"))
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for _, block := range strings.Split(string(page), "```sh\n")[1:] {
		commands, _, _ := strings.Cut(block, "```")
		fmt.Fprintf(&script, "%s\necho ==\n", commands)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-eu", "-c", script.String())
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, 5*time.Second
	// What the commands leave running when one of them fails goes with them.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(cmd.Dir, "hostd.log"))
		t.Fatalf("%v\n%s\n%s", err, out.String(), log)
	}
	steps := strings.Split(out.String(), "==\n")
	for _, want := range []struct {
		block int
		text  string
	}{
		{3, `"version_id": "1.0.0"`},
		{3, "Active:  Set A"},
		{5, `"version_id": "1.1.0"`},
		{5, "Active:  Set B"},
	} {
		if !strings.Contains(steps[want.block], want.text) {
			t.Errorf("block %d did not print %q:\n%s", want.block+1, want.text, steps[want.block])
		}
	}
}
