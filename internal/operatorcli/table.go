// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"cmp"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// colour is a foreground colour of ECMA-48's SGR; zero is none.
type colour string

const (
	plain  colour = ""
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
)

// cell is one field of a table. Its text may come from a node, so that control characters are taken out when
// it is written: nobody's terminal is steered by a status message.
type cell struct {
	text   string
	colour colour
}

// grid is a table: a header and rows of as many cells. Columns are as wide as their widest text, but for the
// last one, which is not padded.
type grid struct {
	header []string
	rows   [][]cell
}

func (g *grid) add(cells ...cell) { g.rows = append(g.rows, cells) }

// narrow leaves out the named columns, one after the other, until the last column has as much room as it needs, or least.
// Without a width all stay.
func (g *grid) narrow(width, least int, names ...string) {
	for _, name := range names {
		if width == 0 {
			return
		}
		longest, before := 0, 0
		for i, w := range g.widths() {
			if i == len(g.header)-1 {
				longest = w
			} else {
				before += w + gap
			}
		}
		if width-before >= min(longest, least) {
			return
		}
		i := slices.Index(g.header, name)
		if i < 0 {
			continue
		}
		g.header = slices.Delete(g.header, i, i+1)
		for r := range g.rows {
			g.rows[r] = slices.Delete(g.rows[r], i, i+1)
		}
	}
}

// gap is between two columns.
const gap = 2

// widths are those of the widest text of each column.
func (g *grid) widths() []int {
	var all []int
	see := func(i int, text string) {
		if i == len(all) {
			all = append(all, 0)
		}
		all[i] = max(all[i], utf8.RuneCountInString(text))
	}
	for i, h := range g.header {
		see(i, h)
	}
	for _, r := range g.rows {
		for i, c := range r {
			see(i, c.shown())
		}
	}
	return all
}

// shown is the text as it is printed.
func (c cell) shown() string { return cmp.Or(printable(c.text), "-") }

// write prints the table. Lines longer than width are cut, unless width is 0.
func (g *grid) write(w io.Writer, width int, colours bool) error {
	rows := make([][]cell, 0, len(g.rows)+1)
	if g.header != nil {
		head := make([]cell, len(g.header))
		for i, h := range g.header {
			head[i].text = h
		}
		rows = append(rows, head)
	}
	for _, r := range g.rows {
		clean := make([]cell, len(r))
		for i, c := range r {
			clean[i] = cell{c.shown(), c.colour}
		}
		rows = append(rows, clean)
	}
	widths := g.widths()
	var out strings.Builder
	for _, r := range rows {
		writeLine(&out, r, widths, width, colours)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func writeLine(out *strings.Builder, row []cell, widths []int, width int, colours bool) {
	left := width
	for i, c := range row {
		text := c.text
		if i < len(row)-1 {
			text += strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)+gap)
		}
		cut := false
		if n := utf8.RuneCountInString(text); width > 0 && n > left {
			text, cut = string([]rune(text)[:max(left-1, 0)])+"…", true
		} else {
			left -= n
		}
		if colours && c.colour != plain {
			text = "\x1b[" + string(c.colour) + "m" + text + "\x1b[0m"
		}
		out.WriteString(text)
		if cut {
			break
		}
	}
	out.WriteByte('\n')
}

// longest is how many characters of a text are printed at most, longestWord how many of what should be a word: somebody may
// have written anything into a record by hand, and a table is as wide as its widest word.
const (
	longest     = 2048
	longestWord = 50
)

func word(s string) string { return cutTo(s, longestWord) }

// cutTo cuts a text behind so many characters.
func cutTo(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

// printable is s on one line, without characters that a terminal would obey, and not without an end.
func printable(s string) string {
	return cutTo(strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\r':
			return ' '
		case unicode.IsControl(r), unicode.In(r, unicode.Cf):
			return -1
		}
		return r
	}, s), longest)
}
