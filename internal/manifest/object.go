// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/Masterminds/semver/v3"
)

// object is a JSON object whose keys were checked: encoding/json alone lets a second value for a key win silently
// and matches names without regard to case, and the original parser does neither.
type object struct {
	keys   []string // in the order of the text
	fields map[string]json.RawMessage
}

// parseObject reads one object and checks that no key comes twice and that all required keys are there.
func parseObject(data []byte, required ...string) (*object, error) {
	if len(data) == 0 {
		return nil, errors.New("empty")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil {
		return nil, err
	} else if t != json.Delim('{') {
		return nil, errors.New("want an object")
	}
	o := &object{fields: map[string]json.RawMessage{}}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		key, ok := t.(string)
		if !ok {
			return nil, fmt.Errorf("want a key, got %v", t)
		}
		if _, twice := o.fields[key]; twice {
			return nil, fmt.Errorf("duplicate key %q", key)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		o.keys = append(o.keys, key)
		o.fields[key] = value
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, err
	}
	if dec.More() {
		return nil, errors.New("something follows the object")
	}
	for _, key := range required {
		if _, ok := o.fields[key]; !ok {
			return nil, fmt.Errorf("missing field %q", key)
		}
	}
	return o, nil
}

// text returns a string field. An empty one is refused: no field of a manifest makes sense empty.
func (o *object) text(key string) (string, error) {
	var s string
	if err := json.Unmarshal(o.fields[key], &s); err != nil || s == "" {
		return "", fmt.Errorf("%s: want a text that is not empty", key)
	}
	return s, nil
}

func (o *object) version(key string) (*semver.Version, error) {
	s, err := o.text(key)
	if err != nil {
		return nil, err
	}
	v, err := ParseVersion(s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return v, nil
}

// objectWriter prints an object whose keys keep the order in which they were added.
type objectWriter struct{ buf bytes.Buffer }

func (w *objectWriter) add(key string, value []byte) {
	if w.buf.Len() == 0 {
		w.buf.WriteByte('{')
	} else {
		w.buf.WriteByte(',')
	}
	name, _ := json.Marshal(key) // a string always has a JSON form
	w.buf.Write(name)
	w.buf.WriteByte(':')
	w.buf.Write(value)
}

func (w *objectWriter) bytes() []byte {
	if w.buf.Len() == 0 {
		return []byte("{}")
	}
	return append(w.buf.Bytes(), '}')
}
