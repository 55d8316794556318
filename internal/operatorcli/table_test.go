// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// Whatever somebody has written into a record by hand, the table stays one that people can read.
func TestAHugeWordDoesNotBlowUpTheTable(t *testing.T) {
	never := strings.Repeat("∞", 100<<10)
	report := []nodeReport{
		{Name: "node-1", State: never, WantedState: never, Version: never, TargetVersion: never + "x", Slot: never, BootID: never, Message: never},
		{Name: "node-2", State: "Idle", WantedState: "Idle", Version: "1.21.0", Slot: "A"},
	}
	for _, wide := range []bool{false, true} {
		var out strings.Builder
		if err := statusTable(report, time.Now(), wide).write(&out, 0, false); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(line); n > 8*longestWord+longest {
				t.Errorf("wide %v: a line of %d characters", wide, n)
			}
		}
	}
}

// On a narrow screen the sentence about a node is what people look for: columns that can be looked up make room for it.
func TestANarrowTableKeepsWhatANodeDoes(t *testing.T) {
	busy := nodeReport{Name: "node-1", State: "Idle", WantedState: "StagedAndPerformedUpdate", Version: "1.20.0", TargetVersion: "1.21.0", Slot: "A",
		Message: "downloads, verifies and writes 1.21.0"}
	text := format("")
	for name, tt := range map[string]struct {
		width    int
		failures uint32
		want     string
	}{
		"room for all":         {120, 0, "NODE STATE VERSION TARGET SLOT FAILURES SINCE DOING"},
		"no failures to show":  {106, 0, "NODE STATE VERSION TARGET SLOT SINCE DOING"},
		"failures stay":        {106, 1, "NODE STATE VERSION TARGET FAILURES SINCE DOING"},
		"the usual 80 columns": {80, 0, "NODE STATE VERSION DOING"},
		"not known":            {0, 0, "NODE STATE VERSION TARGET SLOT FAILURES SINCE DOING"},
	} {
		t.Run(name, func(t *testing.T) {
			r := busy
			r.Failures = tt.failures
			g := (&shower{format: &text}).table([]nodeReport{r}, time.Now(), tt.width)
			if got := strings.Join(g.header, " "); got != tt.want || len(g.rows[0]) != len(g.header) {
				t.Errorf("columns %s with %d cells, want %s", got, len(g.rows[0]), tt.want)
			}
		})
	}
}

// What the page about the command line shows as printed has the columns and the first words of what is printed.
func TestTheDocumentShowsWhatIsPrinted(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "operator", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		shown[strings.Join(strings.Fields(line), " ")] = true
	}
	w := fleetOfFive(t)
	if err := w.cluster.client.Create(t.Context(), event("1", "Node", "b", time.Minute, "drydock-controller", "UpdateStaged", "staged")); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"status", "plan", "node b"} {
		heads := 0
		for out := range strings.Lines(w.run(t, strings.Fields(line)...).stdout) {
			if head := strings.Join(strings.Fields(out), " "); head != "" && head == strings.ToUpper(head) && len(strings.Fields(head)) > 3 {
				heads++
				if !shown[head] {
					t.Errorf("drydock %s prints the columns %s, which docs/operator/cli.md does not show", line, head)
				}
			}
		}
		if heads == 0 {
			t.Errorf("drydock %s printed no table", line)
		}
	}
}
