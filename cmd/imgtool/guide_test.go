// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The guide is right: its commands do what it says, one block after the other, from an empty folder.
func TestPublishingGuide(t *testing.T) {
	guide, err := os.ReadFile(filepath.FromSlash("../../docs/host/publishing.md"))
	if err != nil {
		t.Fatal(err)
	}
	var script, files strings.Builder
	blocks := 0
	for _, block := range strings.Split(string(guide), "```sh\n")[1:] {
		text, _, _ := strings.Cut(block, "```")
		blocks++
		fmt.Fprintf(&script, "exec sh -eu block-%d.sh\n! stdout PRIVATE\n! stderr PRIVATE\n", blocks)
		fmt.Fprintf(&files, "-- block-%d.sh --\n%s", blocks, text)
	}
	if blocks < 10 {
		t.Fatalf("only %d blocks of commands found", blocks)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "guide.txt"), []byte(script.String()+files.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{Dir: dir, Setup: leaveAtOnce})
}
