// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// object is a JSON object. Values are nil, bool, json.Number, string, []any and object.
type object map[string]any

func (o object) keys() []string { return slices.Sorted(maps.Keys(o)) }

// SyntaxError is about JSON that is wrong before anyone looks at settings.
type SyntaxError struct {
	Reason       string
	Line, Column int // from 1
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s at line %d column %d", e.Reason, e.Line, e.Column)
}

// maxNesting bounds objects and lists inside each other; no setting needs more than a few.
const maxNesting = 64

// decode reads one JSON value. Unlike encoding/json it refuses what is ambiguous, or would not be stored as it was sent:
// keys given twice, bytes that are no UTF-8, and escapes of half a character.
func decode(data []byte) (any, error) {
	fail := func(offset int64, reason string) error {
		line, column := position(data, offset)
		return &SyntaxError{reason, line, column}
	}
	if !utf8.Valid(data) {
		return nil, fail(0, "invalid UTF-8")
	}
	var raw json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		if len(bytes.TrimSpace(data)) == 0 {
			return nil, fail(0, "EOF while parsing a value")
		}
		if e, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, fail(e.Offset, e.Error())
		}
		return nil, fail(0, err.Error())
	}
	if half := loneSurrogate(data); half >= 0 {
		return nil, fail(int64(half), "lone surrogate in an escape")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := decodeValue(d, maxNesting)
	if err != nil {
		return nil, fail(d.InputOffset(), err.Error())
	}
	return v, nil
}

// loneSurrogate returns the offset behind the first escape, in valid JSON, of one half of a character that needs two, or -1.
func loneSurrogate(data []byte) int {
	escaped := func(at int) rune {
		if at+6 > len(data) || data[at] != '\\' || data[at+1] != 'u' {
			return 0
		}
		code, err := strconv.ParseUint(string(data[at+2:at+6]), 16, 16)
		if err != nil {
			return 0
		}
		return rune(code)
	}
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		switch first := escaped(i); {
		case !utf16.IsSurrogate(first):
			i++ // what is escaped may be a backslash
		case utf16.DecodeRune(first, escaped(i+6)) == utf8.RuneError:
			return i + 6
		default:
			i += 11
		}
	}
	return -1
}

func decodeValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth == 0 {
		return nil, errors.New("nested too deeply")
	}
	if delim == '[' {
		list := []any{}
		for d.More() {
			v, err := decodeValue(d, depth-1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	o := object{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, ok := t.(string)
		if !ok {
			return nil, io.ErrUnexpectedEOF
		}
		if _, twice := o[key]; twice {
			return nil, fmt.Errorf("duplicate field `%s`", key)
		}
		if o[key], err = decodeValue(d, depth-1); err != nil {
			return nil, err
		}
	}
	_, err = d.Token()
	return o, err
}

// position tells where an offset is, for people.
func position(data []byte, offset int64) (line, column int) {
	before := data[:min(max(offset, 0), int64(len(data)))]
	return bytes.Count(before, []byte("\n")) + 1, len(before) - bytes.LastIndexByte(before, '\n') - 1
}

// locate returns the offset behind the value at path in data, which is valid, or as far as it gets.
func locate(data []byte, path []string) int64 {
	d := json.NewDecoder(bytes.NewReader(data))
	if _, err := d.Token(); err != nil {
		return 0
	}
	for len(path) > 0 && d.More() {
		key, err := d.Token()
		if err != nil {
			break
		}
		if key == path[0] && len(path) > 1 {
			path = path[1:]
			_, err = d.Token() // an object opens here, or the path would end
		} else {
			var passed json.RawMessage
			err = d.Decode(&passed)
			if key == path[0] {
				break
			}
		}
		if err != nil {
			break
		}
	}
	return d.InputOffset()
}

// encode writes a value as it is stored: compact, and with <, > and & as they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
