// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleet

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
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
	width func() int
	began time.Time

	mu    sync.Mutex
	drawn int               // lines of the table on the screen
	said  map[string]string // the last line about each node, when not live
	told  time.Time         // when the last tally was
	rows  []row
}

// row is one node as it is shown.
type row struct {
	name, state, version, slot, doing string
	elapsed                           time.Duration // since the node left Idle; 0 when it has not
	count                             int           // nodes that the row stands for, when it is a tally
}

func newDisplay(c Console, began time.Time) *display {
	return &display{out: c.Out, live: c.Live, width: c.Width, began: began, said: map[string]string{}}
}

// say writes one line of news.
func (d *display) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.erase()
	fmt.Fprintf(d.out, "%6.1fs  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
	d.draw()
}

// show takes in how the nodes are now.
func (d *display) show(rows []row) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.live {
		d.erase()
		d.rows = rows
		d.draw()
		return
	}
	if len(rows) > 0 && rows[0].count > 0 {
		d.tell(rows)
		return
	}
	for _, r := range rows {
		line := fmt.Sprintf("%s  %s  %s  slot %s", r.name, r.state, r.version, r.slot)
		if r.doing != "" {
			line += "  " + r.doing
		}
		if d.said[r.name] != line {
			d.said[r.name] = line
			fmt.Fprintf(d.out, "%6.1fs  %s\n", time.Since(d.began).Seconds(), line)
		}
	}
}

// tell writes a tally as one line, at most once per tallyPause.
func (d *display) tell(rows []row) {
	parts := make([]string, len(rows))
	for i, r := range rows {
		parts[i] = fmt.Sprintf("%d %s %s", r.count, r.state, r.version)
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

// erase moves the cursor to the table's first line and clears from there; the sequences are ECMA-48's
// CUU and ED.
func (d *display) erase() {
	if d.drawn > 0 {
		fmt.Fprintf(d.out, "\x1b[%dA\x1b[J", d.drawn)
		d.drawn = 0
	}
}

func (d *display) draw() {
	if !d.live || len(d.rows) == 0 {
		return
	}
	var table strings.Builder
	tw := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NODE\tSTATE\tVERSION\tSLOT\tELAPSED\tDOING")
	for _, r := range d.rows {
		elapsed := "-"
		if r.elapsed > 0 {
			elapsed = fmt.Sprintf("%.1fs", r.elapsed.Seconds())
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", r.name, r.state, r.version, r.slot, elapsed, r.doing)
	}
	tw.Flush()
	width := d.width()
	for line := range strings.Lines(table.String()) {
		// A line that wraps would make the next erase stop short.
		if text := []rune(strings.TrimRight(line, "\n")); width > 1 && len(text) >= width {
			line = string(text[:width-2]) + "…\n"
		}
		_, _ = io.WriteString(d.out, line)
		d.drawn++
	}
}

// doing says what the node is at: what the lab sees of it, else what its agent says, which is not written
// for every step.
func (n *nodeTrack) doing() string {
	a := n.attempt()
	version := ""
	if v := n.shadow.Spec.Version; v != nil {
		version = string(*v)
	}
	switch {
	case a == nil:
		return n.shadow.Status.Message
	case !a.rebootAsked.IsZero() && a.back.IsZero():
		return "rebooting into " + version
	case a.back.IsZero() && !a.cordoned.IsZero():
		return "draining"
	case n.command == "prepare":
		return "downloading and writing " + version
	case n.command != "":
		return n.command
	default:
		return n.shadow.Status.Message
	}
}

// rows returns the nodes as they are to be shown.
func (t *tracker) rows(now time.Time) []row {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows := make([]row, 0, len(t.nodes))
	for _, n := range t.sorted() {
		r := row{name: n.name, state: "-", version: n.machine.Release.Version, slot: slotName(n.machine)}
		if n.shadow != nil {
			r.state = string(n.shadow.Spec.State)
			if s := n.shadow.Status; s != nil {
				r.doing = n.doing()
				if s.CurrentState != n.shadow.Spec.State {
					r.state = string(s.CurrentState) + " → " + r.state
				}
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
