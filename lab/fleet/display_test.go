// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleet

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	brupopv2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/slot"
	"github.com/drydock-os/drydock/lab/machine"
)

// terminal is a display on a screen of that size, and what was written to it.
func terminal(columns, lines int) (*display, *strings.Builder) {
	var out strings.Builder
	size := func() (int, int) { return columns, lines }
	return newDisplay(Console{Out: &out, Live: true, Size: size}, time.Now()), &out
}

func TestTheTableSaysWhatNodesDoOn80Columns(t *testing.T) {
	s := newStory(1, 0, "node-10", "node-11", "node-12")
	s.shadow("node-10", brupopv2.StagedAndPerformedUpdate, brupopv2.Idle, "1.20.0")
	s.host("node-10", machine.CommandStarted, "prepare", 0)
	s.shadow("node-11", brupopv2.StagedAndPerformedUpdate, brupopv2.StagedAndPerformedUpdate, "1.20.0")
	s.shadow("node-11", brupopv2.RebootedIntoUpdate, brupopv2.StagedAndPerformedUpdate, "1.20.0")
	s.node("node-11", "boot-1", true, false)
	s.host("node-11", machine.RebootRequested, "", 0)
	s.boot("node-11", 2, "1.21.0", slot.B)
	d, _ := terminal(80, 24)
	d.rows = s.rows(s.now)
	for i := range d.rows {
		d.rows[i].elapsed = 0 // of no interest here
	}
	want := []string{
		"NODE     STATE                       VERSION  SLOT  ELAPSED  DOING",
		"node-10  → StagedAndPerformedUpdate  1.20.0   A     -        writing the image",
		"node-11  → RebootedIntoUpdate        1.21.0   B     -        rebooting",
		"node-12  Idle                        1.20.0   A     -",
	}
	if diff := cmp.Diff(want, d.table()); diff != "" {
		t.Error(diff)
	}
}

func TestTheColumnsKeepTheirPlaces(t *testing.T) {
	d, _ := terminal(80, 24)
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var heads []string
	for _, state := range []string{"", "Idle", stateOf(brupopv2.Idle, brupopv2.StagedAndPerformedUpdate)} {
		d.rows = []row{{name: "node-1", state: state}}
		heads = append(heads, d.table()[0])
	}
	if heads[0] != heads[1] || heads[1] != heads[2] {
		t.Errorf("the heads differ:\n%s", strings.Join(heads, "\n"))
	}
	if !strings.Contains(string(readme), heads[0]+"\n") {
		t.Errorf("README.md shows another head than %q", heads[0])
	}
}

// A table that scrolls out of the screen cannot be drawn over, and would be written again and again.
func TestALargeFleetStaysOnTheScreen(t *testing.T) {
	d, _ := terminal(80, 10)
	for i := range 40 {
		d.rows = append(d.rows, row{name: fmt.Sprintf("node-%d", i+1), state: "Idle", moving: i == 20 || i == 39})
	}
	lines := d.table()
	names := make([]string, 0, len(lines))
	for _, l := range lines {
		name, _, _ := strings.Cut(l, "  ")
		names = append(names, name)
	}
	want := []string{"NODE", "node-1", "node-2", "node-3", "node-4", "node-5", "node-21", "node-40", "… and 33 more at rest"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}

func TestATableIsDrawnOverTheOneBefore(t *testing.T) {
	d, out := terminal(80, 24)
	d.show([]row{{name: "node-1"}, {name: "node-2"}})
	out.Reset()
	d.say("news")
	if got := out.String(); !strings.HasPrefix(got, "\x1b[3A\x1b[J") || strings.Count(got, "\n") != 4 || !strings.Contains(got, "  news\nNODE ") {
		t.Errorf("wrote %q, want the three lines cleared, the news, and the table again", got)
	}
}

func TestLinesSayOnlyWhatIsKnown(t *testing.T) {
	for want, r := range map[string]row{
		"node-1  off":                     {name: "node-1"},
		"node-1  1.20.0  slot A":          {name: "node-1", version: "1.20.0", slot: "A"},
		"node-1  Idle  1.20.0  slot A":    {name: "node-1", state: "Idle", version: "1.20.0", slot: "A"},
		"node-1  → X  1.2.0  slot B  y z": {name: "node-1", state: "→ X", version: "1.2.0", slot: "B", doing: "y z"},
	} {
		if got := r.line(); got != want {
			t.Errorf("%+v is %q, want %q", r, got, want)
		}
	}
}
