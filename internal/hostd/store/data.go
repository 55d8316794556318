// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package store

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Value is the JSON form of one scalar or one list, without white space round it.
type Value = json.RawMessage

// The names of metadata that the host uses.
const (
	AffectedServices = "affected-services" // list of names
	SettingGenerator = "setting-generator" // command line
	Template         = "template"          // of the original's first generator
)

// Data is a set of values and what is known about keys. Metadata may be there for keys without a value.
type Data struct {
	Values   map[Key]Value
	Metadata map[Key]map[string]Value

	// Generation tells what an open store returned at different times apart: a higher one is newer.
	Generation uint64
}

// NewData returns an empty set.
func NewData() Data {
	return Data{Values: map[Key]Value{}, Metadata: map[Key]map[string]Value{}}
}

// SetMetadata says something about a key.
func (d Data) SetMetadata(k Key, name string, v Value) {
	if d.Metadata[k] == nil {
		d.Metadata[k] = map[string]Value{}
	}
	d.Metadata[k][name] = v
}

// Keys returns the keys with a value whose canonical name starts with prefix, sorted. The prefix is plain text: it may
// end inside a segment.
func (d Data) Keys(prefix string) []Key {
	var keys []Key
	for k := range d.Values {
		if strings.HasPrefix(k.name, prefix) {
			keys = append(keys, k)
		}
	}
	return SortKeys(keys)
}

// Inherited returns the metadata called name of the innermost of k and the keys round it that has it.
func (d Data) Inherited(k Key, name string) (Value, bool) {
	for segments := k.Segments(); len(segments) > 0; segments = segments[:len(segments)-1] {
		outer, err := NewKey(segments...)
		if err != nil {
			return nil, false
		}
		if v, ok := d.Metadata[outer][name]; ok {
			return v, true
		}
	}
	return nil, false
}

// with returns a copy of d in which the values and metadata of changes replace those of d.
func (d Data) with(changes Data) Data {
	merged := Data{Values: maps.Clone(d.Values), Metadata: make(map[Key]map[string]Value, len(d.Metadata)), Generation: d.Generation + 1}
	maps.Copy(merged.Values, changes.Values)
	for k, m := range d.Metadata {
		merged.Metadata[k] = maps.Clone(m)
	}
	for k, m := range changes.Metadata {
		for name, v := range m {
			merged.SetMetadata(k, name, v)
		}
	}
	return merged
}

func (d Data) empty() bool { return len(d.Values) == 0 && len(d.Metadata) == 0 }

// files returns the content of d as paths, relative to the live directory or one of a transaction.
func (d Data) files() map[string][]byte {
	files := make(map[string][]byte, len(d.Values)+len(d.Metadata))
	for k, v := range d.Values {
		files[path(k)] = v
	}
	for k, m := range d.Metadata {
		for name, v := range m {
			files[path(k)+"."+encode(name)] = v
		}
	}
	return files
}

func path(k Key) string {
	segments := k.Segments()
	for i, s := range segments {
		segments[i] = encode(s)
	}
	return strings.Join(segments, "/")
}

// parsePath is the reverse: the key of a file and, if it is one of metadata, which.
func parsePath(file string) (k Key, metadata string, ok bool) {
	segments := strings.Split(file, "/")
	last := len(segments) - 1
	if name, meta, is := strings.Cut(segments[last], "."); is {
		if metadata, ok = decode(meta); !ok {
			return Key{}, "", false
		}
		if _, err := NewKey(metadata); err != nil || strings.Contains(metadata, ".") {
			return Key{}, "", false // the name of metadata is a key of one segment
		}
		segments[last] = name
	}
	for i, s := range segments {
		if segments[i], ok = decode(s); !ok {
			return Key{}, "", false
		}
	}
	k, err := NewKey(segments...)
	return k, metadata, err == nil
}

// parseValue checks that data is one scalar other than null, or one list.
func parseValue(data []byte) (Value, bool) {
	trimmed := strings.TrimSpace(string(data))
	if trimmed == "" || trimmed[0] == '{' || trimmed == "null" || !json.Valid([]byte(trimmed)) {
		return nil, false
	}
	return Value(trimmed), true
}

func sortedPaths(files map[string][]byte) []string { return slices.Sorted(maps.Keys(files)) }
