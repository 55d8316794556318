// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
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
