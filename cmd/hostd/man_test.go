// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command that the help shows has a page that names each of its flags, and every tool has one.
func TestManualPagesAreComplete(t *testing.T) {
	dir := t.TempDir()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"man", dir}, &stdout, &stderr); code != 0 {
		t.Fatalf("code %d: %s", code, &stderr)
	}
	var check func(c *cobra.Command)
	check = func(c *cobra.Command) {
		name := strings.ReplaceAll(c.CommandPath(), " ", "-")
		if tools[c.Name()].run != nil {
			name = c.Name()
		}
		page, err := os.ReadFile(filepath.Join(dir, name+".1"))
		if err != nil && c.Name() != "completion" {
			t.Error(err)
			return
		}
		for line := range strings.Lines(c.LocalFlags().FlagUsages()) {
			flag, _, _ := strings.Cut(line[strings.Index(line, "--")+2:], " ")
			if flag != "help" && c.Name() != "completion" && !strings.Contains(string(page), `\-\-`+strings.ReplaceAll(flag, "-", `\-`)) {
				t.Errorf("%s does not name --%s", name, flag)
			}
		}
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				check(sub)
			}
		}
	}
	check(newRoot(&stdout, &stderr))
}
