// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleet

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	brupopv2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/fleetview"
)

// redrawPause keeps a live table from being drawn more often than an eye can follow; elapsed is how
// often it is drawn when nothing changes, for the clock in it.
const (
	redrawPause  = 100 * time.Millisecond
	redrawAtRest = time.Second
	tallyPause   = 2 * time.Second // between two tallies in plain lines
)

// display shows a person what goes on: on a terminal one table that is kept current, with lines of
// news above it; elsewhere plain lines, one for each change.
type display struct {
	out   io.Writer
	live  bool
	size  func() (columns, lines int)
	began time.Time

	mu    sync.Mutex
	drawn int               // lines of the table on the screen
	said  map[string]string // the last line about each node, when not live
	told  time.Time         // when the last tally was
	rows  []row
}

// row is one node as it is shown. What is not known yet is empty.
type row struct {
	name, state, version, slot, doing string
	moving                            bool          // an update of the node is under way
	elapsed                           time.Duration // since the node left Idle; 0 when it has not
	count                             int           // nodes that the row stands for, when it is a tally
}

func newDisplay(c Console, began time.Time) *display {
	return &display{out: c.Out, live: c.Live, size: c.Size, began: began, said: map[string]string{}}
}

// say writes one line of news.
func (d *display) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.write(fmt.Sprintf("%6.1fs  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...)))
}

// show takes in how the nodes are now.
func (d *display) show(rows []row) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.live {
		d.rows = rows
		d.write("")
		return
	}
	if len(rows) > 0 && rows[0].count > 0 {
		d.tell(rows)
		return
	}
	for _, r := range rows {
		if line := r.line(); d.said[r.name] != line {
			d.said[r.name] = line
			fmt.Fprintf(d.out, "%6.1fs  %s\n", time.Since(d.began).Seconds(), line)
		}
	}
}

// line is the node where there is no table.
func (r row) line() string {
	if r.slot == "" {
		return r.name + "  off"
	}
	parts := []string{r.name}
	for _, p := range []string{r.state, r.version, "slot " + r.slot, r.doing} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, "  ")
}

// tell writes a tally as one line, at most once per tallyPause.
func (d *display) tell(rows []row) {
	parts := make([]string, len(rows))
	for i, r := range rows {
		parts[i] = strings.TrimSpace(fmt.Sprintf("%d %s %s", r.count, cmp.Or(r.state, "joining"), r.version))
	}
	slices.Sort(parts)
	line, now := strings.Join(parts, ", "), time.Now()
	if d.said[""] == line || now.Sub(d.told) < tallyPause {
		return
	}
	d.said[""], d.told = line, now
	fmt.Fprintf(d.out, "%6.1fs  %s\n", now.Sub(d.began).Seconds(), line)
}

// finish leaves the last table on the screen and goes below it.
func (d *display) finish() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drawn, d.rows = 0, nil
}

// write puts news in the place of the table, and the table below them, at once: what is cleared and drawn again by two
// writes flickers. The sequences are ECMA-48's CUU and ED.
func (d *display) write(news string) {
	var out strings.Builder
	if d.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA\x1b[J", d.drawn)
		d.drawn = 0
	}
	out.WriteString(news)
	if d.live && len(d.rows) > 0 {
		lines := d.table()
		out.WriteString(strings.Join(lines, "\n") + "\n")
		d.drawn = len(lines)
	}
	_, _ = io.WriteString(d.out, out.String())
}

// table is what is kept on the screen. A line that wraps, or a table that is higher than the screen, could not be drawn
// over.
func (d *display) table() []string {
	columns, lines := d.size()
	shown, hidden := fit(d.rows, lines-3)
	var text strings.Builder
	tw := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	// The column of states is as wide as it will ever be, so that the others keep their places.
	fmt.Fprintf(tw, "NODE\t%-*s\tVERSION\tSLOT\tELAPSED\tDOING\n", widestState, "STATE")
	for _, r := range shown {
		elapsed := ""
		if r.elapsed > 0 {
			elapsed = fmt.Sprintf("%.1fs", r.elapsed.Seconds())
		}
		fields := []string{r.name, r.state, r.version, r.slot, elapsed}
		for i, f := range fields {
			fields[i] = cmp.Or(f, "-")
		}
		fmt.Fprintln(tw, strings.Join(append(fields, r.doing), "\t"))
	}
	tw.Flush()
	if hidden > 0 {
		fmt.Fprintf(&text, "… and %d more at rest\n", hidden)
	}
	var all []string
	for line := range strings.Lines(text.String()) {
		line = strings.TrimRight(line, " \n")
		if r := []rune(line); columns > 1 && len(r) >= columns {
			line = string(r[:columns-2]) + "…"
		}
		all = append(all, line)
	}
	return all
}

// fit chooses at most room rows to show, those of nodes that move before others. Without a known room all are.
func fit(rows []row, room int) (shown []row, hidden int) {
	if room < 1 || len(rows) <= room {
		return rows, 0
	}
	var at []int
	for _, moving := range []bool{true, false} {
		for i, r := range rows {
			if r.moving == moving && len(at) < room {
				at = append(at, i)
			}
		}
	}
	slices.Sort(at)
	for _, i := range at {
		shown = append(shown, rows[i])
	}
	return shown, len(rows) - room
}

// stateOf is where a node is, or behind an arrow where it is on its way to, as 'drydock status' shows it.
func stateOf(current, wanted brupopv2.State) string {
	if current == wanted || current == brupopv2.ErrorReset {
		return string(current)
	}
	return "→ " + string(wanted)
}

var widestState = utf8.RuneCountInString(stateOf(brupopv2.Idle, brupopv2.StagedAndPerformedUpdate))

// doing says what the node is at: what the lab sees of it, else what its agent says, which is not written
// for every step.
func (n *nodeTrack) doing() string {
	status := n.shadow.Status
	a := n.attempt()
	switch {
	case a == nil:
	case !a.rebootAsked.IsZero() && a.back.IsZero():
		return "rebooting"
	case a.back.IsZero() && !a.cordoned.IsZero():
		return "draining"
	case n.command == "prepare":
		return "writing the image"
	case n.command != "":
		return n.command
	}
	if fleetview.Stale(status.CurrentState, n.shadow.Spec.State, status.Message) {
		return ""
	}
	return status.Message
}

// rows returns the nodes as they are to be shown.
func (t *tracker) rows(now time.Time) []row {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows := make([]row, 0, len(t.nodes))
	for _, n := range t.sorted() {
		r := row{name: n.name, version: n.machine.Release.Version}
		if n.machine.Number > 0 {
			r.slot = n.machine.Slot.String()
		}
		if n.shadow != nil {
			r.state = string(n.shadow.Spec.State)
			if s := n.shadow.Status; s != nil {
				r.state, r.doing = stateOf(s.CurrentState, n.shadow.Spec.State), n.doing()
				r.moving = s.CurrentState != brupopv2.Idle || n.shadow.Spec.State != brupopv2.Idle
			}
		}
		if len(n.attempts) > 0 {
			a := n.attempts[len(n.attempts)-1]
			end := now
			if !a.end.IsZero() {
				end = a.end
			}
			r.elapsed = end.Sub(a.start)
		}
		rows = append(rows, r)
	}
	return rows
}
