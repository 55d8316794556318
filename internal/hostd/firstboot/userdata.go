// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package firstboot

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/drydock-os/drydock/internal/hostd/settings"
	"github.com/drydock-os/drydock/internal/hostd/store"
)

// MaxUserData is the largest user data that is read, unpacked, in bytes.
const MaxUserData = 1 << 20

// Error says where user data is wrong.
type Error struct {
	Line   int    // from 1, of the text unpacked; 0 where no line is at fault
	Key    string // with settings in front, as far as it is known
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

// unpack undoes base64 and gzip, in whatever order somebody has packed it. Text with a table is never taken for base64.
func unpack(data []byte) ([]byte, error) {
	for range 3 {
		if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
			z, err := gzip.NewReader(bytes.NewReader(data))
			if err == nil {
				data, err = io.ReadAll(io.LimitReader(z, MaxUserData+1))
			}
			if err != nil {
				return nil, &Error{Reason: "unpacking gzip: " + err.Error()}
			}
		} else {
			text := bytes.Join(bytes.Fields(data), nil)
			decoded, err := base64.StdEncoding.DecodeString(string(text))
			if err != nil || len(text) == 0 {
				return data, nil
			}
			data = decoded
		}
		if len(data) > MaxUserData {
			return nil, &Error{Reason: fmt.Sprintf("larger than %d bytes", MaxUserData)}
		}
	}
	return data, nil
}

// Parse reads user data, TOML with the table settings and nothing else, packed or not, and returns the settings as
// JSON. It returns *Error.
func Parse(data []byte, model *settings.Model) ([]byte, error) {
	if len(data) > MaxUserData {
		return nil, &Error{Reason: fmt.Sprintf("larger than %d bytes", MaxUserData)}
	}
	text, err := unpack(data)
	if err != nil {
		return nil, err
	}
	var file map[string]any
	if err := toml.Unmarshal(text, &file); err != nil {
		if e, ok := errors.AsType[*toml.DecodeError](err); ok {
			row, _ := e.Position()
			return nil, &Error{Line: row, Reason: e.Error()}
		}
		return nil, &Error{Reason: err.Error()}
	}
	for name := range file {
		if name != store.Settings {
			return nil, &Error{Line: lineOf(text, []string{name}), Key: name, Reason: "unknown table: everything is in the table settings"}
		}
	}
	table, ok := file[store.Settings].(map[string]any)
	if !ok {
		return nil, &Error{Reason: "there is no table settings"}
	}
	out, err := json.Marshal(table)
	if err != nil {
		return nil, &Error{Reason: err.Error()}
	}
	if _, err := model.Parse(out); err != nil {
		e, ok := errors.AsType[*settings.Error](err)
		if !ok {
			return nil, &Error{Reason: err.Error()}
		}
		wrong := &Error{Key: e.Key, Reason: e.Reason}
		if key, err := store.ParseKey(e.Key); err == nil {
			wrong.Line = lineOf(text, key.Segments())
		}
		return nil, wrong
	}
	return out, nil
}

// lineOf returns the line of a TOML text, which has been read without error, that says most about a key.
func lineOf(text []byte, key []string) int {
	p := unstable.Parser{}
	p.Reset(text)
	var table []string
	line, most := 0, -1
	for p.NextExpression() {
		n := p.Expression()
		var names []string
		first := 0
		for it := n.Key(); it.Next(); {
			names = append(names, string(it.Node().Data))
			if first == 0 {
				first = p.Shape(it.Node().Raw).Start.Line
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
		// The value that holds the key, or else the first line inside of the key.
		if same := common(names, key); same == min(len(names), len(key)) && same > most {
			line, most = first, same
		}
	}
	return line
}

func common(a, b []string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
