// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package userdata reads settings that people have written as TOML: the user data of a host, the defaults of an image,
// and what is given to the API's client.
//
// What comes out is what JSON can say, number by number as it was written. What only TOML knows, such as dates, is a
// mistake here, never turned into something that looks right. Every mistake is told with its line and, as far as there
// is one, its key.
package userdata

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Error says where a text is wrong.
type Error struct {
	Line   int    // from 1; 0 where no line is at fault
	Key    string // from the outermost table on, as far as it is known
	Reason string
}

func (e *Error) Error() string {
	s := e.Reason
	if e.Key != "" {
		s = e.Key + ": " + s
	}
	if e.Line > 0 {
		s = fmt.Sprintf("line %d: %s", e.Line, s)
	}
	return s
}

// maxNesting bounds lists and tables inside each other; no setting needs more than a few.
const maxNesting = 32

// byteOrderMark is what some editors put before a text.
var byteOrderMark = []byte("\ufeff")

// Parse reads a text. The values are bool, string, json.Number, []any and map[string]any. It returns *Error.
func Parse(text []byte) (map[string]any, error) {
	text = bytes.TrimPrefix(text, byteOrderMark)
	file := map[string]any{}
	if err := toml.Unmarshal(text, &file); err != nil {
		reason := strings.TrimPrefix(err.Error(), "toml: ")
		if e, ok := errors.AsType[*toml.DecodeError](err); ok {
			row, _ := e.Position()
			return nil, &Error{Line: row, Key: spelled(keyAt(text, row)), Reason: reason}
		}
		return nil, &Error{Reason: reason}
	}
	c := converter{}
	if wrong := c.table(file, maxNesting); wrong != "" {
		if c.item > 0 {
			wrong = fmt.Sprintf("item %d: %s", c.item, wrong)
		}
		return nil, &Error{Line: LineOfItem(text, c.at[:len(c.at)-c.inList], c.item), Key: spelled(c.at), Reason: wrong}
	}
	return file, nil
}

// converter makes values of those that the TOML library makes, in place.
type converter struct {
	at     []string // the key of the value
	inList int      // how many names of it are inside of a list, which may have others of that key
	item   int      // of that list, from 1; 0: the value is in none
}

// value returns v as it is to be, or what is wrong with it.
func (c *converter) value(v any, left int) (any, string) {
	switch v := v.(type) {
	case bool, string:
		return v, ""
	case int64:
		return json.Number(strconv.FormatInt(v, 10)), ""
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return nil, fmt.Sprintf("%v is not valid: no setting can be that number", v)
		}
		return fraction(v), ""
	case []any:
		if left == 0 {
			return nil, tooDeep
		}
		for i := range v {
			outer := len(c.at)
			var wrong string
			if v[i], wrong = c.value(v[i], left-1); wrong != "" {
				c.inList, c.item = len(c.at)-outer, i+1
				return nil, wrong
			}
		}
		return v, ""
	case map[string]any:
		return v, c.table(v, left)
	}
	return nil, fmt.Sprintf("%v is not valid: no setting is a date or a time; text is written in quotes", v)
}

const tooDeep = "nested too deeply"

// table converts all values of a table.
func (c *converter) table(table map[string]any, left int) string {
	if left == 0 {
		return tooDeep
	}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		c.at = append(c.at, name)
		var wrong string
		if table[name], wrong = c.value(table[name], left-1); wrong != "" {
			return wrong
		}
		c.at = c.at[:len(c.at)-1]
	}
	return ""
}

// fraction writes a number so that it stays one with a fraction: 1.0 is not the whole number 1.
func fraction(v float64) json.Number {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return json.Number(s)
}

// spelled writes a key as people do: names with dots inside in quotes.
func spelled(key []string) string {
	parts := slices.Clone(key)
	for i, name := range parts {
		if name == "" || strings.Contains(name, ".") {
			parts[i] = strconv.Quote(name)
		}
	}
	return strings.Join(parts, ".")
}

// LineOf returns the line of a text, which Parse has read, that says most about a key; 0 when none does.
func LineOf(text []byte, key []string) int { return LineOfItem(text, key, 0) }

// LineOfItem is LineOf for one item, from 1, of the list that a key names; 0 is the list.
func LineOfItem(text []byte, key []string, item int) int {
	line, most, found := 0, -1, false
	tables := 0
	expressions(text, func(e expression) {
		// The value that holds the key, or else the first line inside of the key.
		same := common(e.key, key)
		if found || same < min(len(e.key), len(key)) {
			return
		}
		if same > most {
			line, most = e.line, same
		}
		if item == 0 || len(e.key) != len(key) {
			return
		}
		if e.kind == unstable.ArrayTable { // [[key]], once for each item
			tables++
			if tables == item {
				line, found = e.line, true
			}
		}
		if item <= len(e.items) {
			line, found = max(line, e.items[item-1]), true
		}
	})
	return line
}

// keyAt returns the key of what begins in a line; nil when that cannot be read.
func keyAt(text []byte, line int) (key []string) {
	expressions(text, func(e expression) {
		if e.line == line {
			key = e.key
		}
	})
	return key
}

// expression is a table or a value in a text.
type expression struct {
	kind  unstable.Kind
	line  int
	key   []string // the whole
	items []int    // the lines of what a value that is a list holds; 0 where it is not known
}

// expressions visits all tables and values, as far as the text can be read.
func expressions(text []byte, visit func(expression)) {
	p := unstable.Parser{}
	p.Reset(bytes.TrimPrefix(text, byteOrderMark))
	var table []string
	for p.NextExpression() {
		n := p.Expression()
		var names []string
		line := 0
		for it := n.Key(); it.Next(); {
			names = append(names, string(it.Node().Data))
			if line == 0 {
				line = p.Shape(it.Node().Raw).Start.Line
			}
		}
		switch n.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = names
		case unstable.KeyValue:
			names = slices.Concat(table, names)
		default:
			continue
		}
		e := expression{kind: n.Kind, line: line, key: names}
		if n.Kind == unstable.KeyValue && n.Value().Kind == unstable.Array {
			for it := n.Value().Children(); it.Next(); {
				e.items = append(e.items, firstLine(&p, it.Node()))
			}
		}
		visit(e)
	}
}

// firstLine returns the line of a value, or of the first one in it whose place the parser knows; 0 when there is none.
func firstLine(p *unstable.Parser, n *unstable.Node) int {
	if n.Raw.Length > 0 {
		return p.Shape(n.Raw).Start.Line
	}
	for it := n.Children(); it.Next(); {
		if line := firstLine(p, it.Node()); line > 0 {
			return line
		}
	}
	return 0
}

func common(a, b []string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
