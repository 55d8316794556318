// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package plan

import (
	"fmt"
	"testing"
)

func TestParseLimit(t *testing.T) {
	for in, want := range map[string]Limit{
		"0": 0, "1": 1, "25": 25, "unlimited": Unlimited, "Unlimited": Unlimited, "UNLIMITED": Unlimited,
		"1%": Percent(1), "25%": Percent(25), "100%": Percent(100),
	} {
		got, err := ParseLimit(in)
		if err != nil || got != want || !got.Valid() {
			t.Errorf("ParseLimit(%q) = %v, %v, want %v", in, got, err, want)
		}
		if again, err := ParseLimit(got.String()); err != nil || again != got {
			t.Errorf("%v is printed as %q, which reads as %v, %v", got, got.String(), again, err)
		}
	}
	for _, in := range []string{"", "-1", "1.5", "0%", "101%", "%", "-5%", "5 %", "1.5%", "300%", "all", " 1", "99999999999999999999"} {
		if got, err := ParseLimit(in); err == nil {
			t.Errorf("ParseLimit(%q) = %v, want an error", in, got)
		}
	}
}

func TestAShareIsRoundedDownToAtLeastOneNode(t *testing.T) {
	tests := []struct {
		share, nodes int
		want         Limit
	}{{25, 0, 1}, {25, 1, 1}, {25, 7, 1}, {25, 8, 2}, {25, 100, 25}, {10, 99, 9}, {100, 5, 5}, {1, 1000, 10}}
	for _, tt := range tests {
		s := Snapshot{MaxConcurrent: Percent(tt.share)}
		for i := range tt.nodes {
			name := fmt.Sprint(i)
			s.Nodes = append(s.Nodes, Node{Name: name, OptedIn: true}, Node{Name: "not-ours-" + name})
			s.Shadows = append(s.Shadows, Shadow{Node: name, Spec: Spec{State: Idle}, Status: reports(Idle)})
		}
		d := Next(s, now)
		if d.Limit != tt.want || len(d.Moves) != min(tt.nodes, int(tt.want)) {
			t.Errorf("%d%% of %d nodes: limit %v and %d starts, want %v", tt.share, tt.nodes, d.Limit, len(d.Moves), tt.want)
		}
	}
}
