// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package settings

import (
	"github.com/drydock-os/drydock/internal/hostd/store"
)

// Tree returns values as objects inside each other, one per segment of their keys: what clients and templates see.
// Leaves are as encoding/json decodes them, numbers as json.Number. Where one key lies inside of another with a value,
// which no model has, the inner one counts.
func Tree(values map[store.Key]store.Value) (map[string]any, error) {
	root := map[string]any{}
	for k, v := range values {
		leaf, err := decode(v)
		if err != nil {
			return nil, &Error{Key: k.String(), Reason: err.Error()}
		}
		place(root, k.Segments(), plain(leaf))
	}
	return root, nil
}

// Nest is Tree for replies: leaves stay the JSON they are.
func Nest(values map[store.Key]store.Value) map[string]any {
	root := map[string]any{}
	for k, v := range values {
		place(root, k.Segments(), v)
	}
	return root
}

func place(root map[string]any, segments []string, leaf any) {
	at := root
	for _, name := range segments[:len(segments)-1] {
		below, ok := at[name].(map[string]any)
		if !ok {
			below = map[string]any{}
			at[name] = below
		}
		at = below
	}
	last := segments[len(segments)-1]
	if _, inner := at[last].(map[string]any); !inner {
		at[last] = leaf
	}
}

// plain replaces this package's objects by ordinary maps.
func plain(v any) any {
	switch v := v.(type) {
	case object:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[key] = plain(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = plain(item)
		}
		return out
	}
	return v
}
