// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/plan"
	"github.com/drydock-os/drydock/internal/program"
)

func (t *tool) planCommand() *cobra.Command {
	var out format
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show which node would move next, and why each of the others waits",
		Long: `Show which node would move next, and why each of the others waits.

The plan is made by the code that the controller runs, with the settings of the controller that is deployed. Nothing
is changed. The controller carries a move out as soon as it sees it, so that moves are rarely seen here while one runs.`,
		Args: program.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := t.connect()
			if err != nil {
				return err
			}
			ctx, cancel := t.bounded(cmd.Context(), readTimeout)
			defer cancel()
			return t.plan(ctx, c, &out)
		},
	}
	out.addFlag(cmd)
	return cmd
}

// planReport is what plan prints for programs.
type planReport struct {
	// MaxConcurrent is how many nodes may be updated at once, InProgress how many hold a slot once the moves are
	// made.
	MaxConcurrent string `json:"maxConcurrent"`
	InProgress    int    `json:"inProgress"`
	// OwnNode is the node of the controller, which goes last.
	OwnNode string `json:"ownNode,omitempty"`
	// Closed is whether the schedule lets no node start now; Opens and Closes are when that changes.
	Closed bool       `json:"closed,omitempty"`
	Opens  *time.Time `json:"opens,omitempty"`
	Closes *time.Time `json:"closes,omitempty"`
	// NextChange is when the plan changes although nothing else does.
	NextChange *time.Time `json:"nextChange,omitempty"`
	Moves      []planned  `json:"moves"`
	Waiting    []planned  `json:"waiting"`
	Removals   []planned  `json:"removals"`
}

// planned is one node of the plan.
type planned struct {
	Node string `json:"node"`
	From string `json:"from,omitempty"`
	next
}

func (t *tool) plan(ctx context.Context, c *cluster, out *format) error {
	f, err := t.load(ctx, c)
	if err != nil {
		return err
	}
	if p := f.settings.problem; p != nil {
		return fmt.Errorf("there is no plan: %w", p)
	}
	for _, w := range f.warnings() {
		t.warn("%s", w)
	}
	now := t.Now()
	p := f.plan(now)
	if out.data() {
		err = out.encode(t.Stdout, p)
	} else {
		err = p.print(t.Stdout, now, t.screen().colour)
	}
	if err != nil {
		return fmt.Errorf("printing the plan: %w", err)
	}
	return nil
}

// plan is the decision in the form that is printed.
func (f *fleet) plan(now time.Time) planReport {
	reports := map[string]*nodeReport{}
	s, d := f.decide(now, func(name string) *nodeReport {
		if reports[name] == nil {
			reports[name] = &nodeReport{Name: name}
		}
		return reports[name]
	})
	p := planReport{
		MaxConcurrent: s.MaxConcurrent.String(), InProgress: d.Slots, OwnNode: s.OwnNode, Closed: s.Window.Closed,
		Opens: known(s.Window.Opens), Closes: known(s.Window.Closes), NextChange: known(d.NextWake), Moves: []planned{}, Waiting: []planned{}, Removals: []planned{},
	}
	for _, m := range d.Moves {
		p.Moves = append(p.Moves, planned{m.Node, string(m.From), *reports[m.Node].Next})
	}
	for _, w := range d.Waiting {
		p.Waiting = append(p.Waiting, planned{Node: w.Node, next: *reports[w.Node].Next})
	}
	for _, r := range d.Removals {
		p.Removals = append(p.Removals, planned{Node: r.Node, next: *reports[r.Node].Next})
	}
	// Those in line first, in the order in which they get a slot; then the others by name.
	slices.SortStableFunc(p.Waiting, func(a, b planned) int { return cmp.Compare(place(a), place(b)) })
	return p
}

func place(p planned) int {
	if p.Ahead == nil || p.Reason != string(plan.NoSlot) {
		return int(^uint(0) >> 1)
	}
	return *p.Ahead
}

func (p *planReport) print(w io.Writer, now time.Time, colours bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "At most %s at once; %d in an update or unavailable.", p.MaxConcurrent, p.InProgress)
	if p.OwnNode != "" {
		fmt.Fprintf(&b, " %s goes last: the controller runs there.", printable(p.OwnNode))
	}
	b.WriteString("\n")
	switch {
	case p.Closed && p.Opens != nil:
		fmt.Fprintf(&b, "The schedule lets no node start before %s (in %v).\n", p.Opens.Format(time.RFC3339), p.Opens.Sub(now).Round(time.Second))
	case p.Closed:
		b.WriteString("The schedule lets no node start.\n")
	case p.Closes != nil:
		fmt.Fprintf(&b, "The schedule lets nodes start until %s (in %v).\n", p.Closes.Format(time.RFC3339), p.Closes.Sub(now).Round(time.Second))
	}
	if at := p.NextChange; at != nil && !same(at, p.Opens) && !same(at, p.Closes) {
		fmt.Fprintf(&b, "The plan changes by itself at %s (in %v).\n", p.NextChange.Format(time.RFC3339), p.NextChange.Sub(now).Round(time.Second))
	}
	none := "No node moves now."
	if len(p.Moves)+len(p.Waiting)+len(p.Removals) == 0 {
		none = nobody
	}
	for _, part := range []struct {
		title string
		none  string
		rows  []planned
		grid  grid
		cells func(planned) []cell
	}{
		{"Moves", none, p.Moves, grid{header: []string{"NODE", "FROM", "TO", "REASON", "WHY"}}, func(m planned) []cell {
			return []cell{{text: m.Node}, {text: m.From}, {m.To, yellow}, {text: m.Reason}, {text: m.Text}}
		}},
		{"Waiting", "", p.Waiting, grid{header: []string{"NODE", "REASON", "WAITS-FOR", "SINCE", "WHY"}}, func(m planned) []cell {
			return []cell{{text: m.Node}, {m.Reason, waitColour(m.Reason)}, {text: m.Who}, {text: age(m.Since, now)}, {text: m.Text}}
		}},
		{"To be removed", "", p.Removals, grid{header: []string{"NODE", "REASON", "WHY"}}, func(m planned) []cell {
			return []cell{{text: m.Node}, {text: m.Reason}, {text: m.Text}}
		}},
	} {
		if len(part.rows) == 0 {
			if part.none != "" {
				fmt.Fprintf(&b, "\n%s\n", part.none)
			}
			continue
		}
		fmt.Fprintf(&b, "\n%s:\n", part.title)
		for _, r := range part.rows {
			part.grid.add(part.cells(r)...)
		}
		if err := part.grid.write(&b, 0, colours); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func same(a, b *time.Time) bool { return a != nil && b != nil && a.Equal(*b) }

func waitColour(reason string) colour {
	switch plan.WaitReason(reason) {
	case plan.InvalidData, plan.BackOff, plan.Recovering, plan.AgentSilent, plan.CheckFailing, plan.VersionBlocked:
		return red
	case plan.UpToDate:
		return green
	}
	return plain
}
