// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package settings

import (
	"slices"
	"strings"
)

// listOf is a list of values of one type. Lists are replaced as a whole.
func listOf(of Type) Type {
	return Type{item: &of, Name: "list of " + plural(of.Name), Rule: "a list, and each item " + of.Rule, parse: func(v any) (any, bool) {
		items, ok := v.([]any)
		if !ok {
			return nil, false
		}
		out := make([]any, len(items))
		for i, item := range items {
			if out[i], ok = of.parse(item); !ok {
				return nil, false
			}
		}
		return out, true
	}}
}

func plural(name string) string {
	first, rest, _ := strings.Cut(name, " ")
	switch {
	case first == "line":
		return "lines " + rest
	case strings.HasSuffix(name, "address"):
		return name + "es"
	case name == "text", strings.HasPrefix(name, "`"):
		return name
	}
	return name + "s"
}

// either accepts what one of two types accepts.
func either(a, b Type) Type {
	return Type{item: b.item, Name: a.Name + " or " + b.Name, Rule: a.Rule + ", or " + b.Rule, parse: func(v any) (any, bool) {
		if out, ok := a.parse(v); ok {
			return out, true
		}
		return b.parse(v)
	}}
}

// field is one key of an object inside a list.
type field struct {
	name     string
	of       Type
	required bool
}

// record is an object with fixed keys, others refused. It is only found inside lists: an object by itself is a group of
// settings.
func record(name string, fields ...field) Type {
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
	}
	return Type{Name: name, Rule: "an object with " + strings.Join(names, ", ") + " and no other keys", parse: func(v any) (any, bool) {
		o, ok := v.(object)
		if !ok {
			return nil, false
		}
		out := map[string]any{}
		for key, item := range o {
			i := slices.IndexFunc(fields, func(f field) bool { return f.name == key })
			if i < 0 {
				return nil, false
			}
			if item == nil {
				continue
			}
			if out[key], ok = fields[i].of.parse(item); !ok {
				return nil, false
			}
		}
		for _, f := range fields {
			if _, given := out[f.name]; f.required && !given {
				return nil, false
			}
		}
		return out, true
	}}
}

var (
	// taints is one taint or several; printed as a list. No taint at all is a mistake.
	taints = Type{item: &taint, Name: "taint or list of taints", Rule: "one or more of " + taint.Rule, parse: func(v any) (any, bool) {
		if s, is := v.(string); is {
			v = []any{s}
		}
		out, ok := listOf(taint).parse(v)
		return out, ok && len(out.([]any)) > 0
	}}

	// hostEntries are lines of /etc/hosts: an address and the names it has.
	hostEntries = Type{item: &hostEntry, Name: "list of `[address, [names]]`", Rule: "a list of pairs: an IP address and a list of host names",
		parse: listOf(hostEntry).parse}
	hostEntry = Type{Name: "`[address, [names]]`", Rule: "a pair: an IP address and a list of host names", parse: func(v any) (any, bool) {
		pair, ok := v.([]any)
		if !ok || len(pair) != 2 {
			return nil, false
		}
		ip, okIP := ipAddress.parse(pair[0])
		names, okNames := listOf(hostname).parse(pair[1])
		return []any{ip, names}, okIP && okNames
	}}

	mirrorList = listOf(record("`{registry, endpoint}`", field{"registry", singleLine, true}, field{"endpoint", listOf(urlText), true}))

	// mirrors is a list, or a map from registry to endpoints, which is stored as that list.
	mirrors = Type{item: mirrorList.item, Name: mirrorList.Name, Rule: mirrorList.Rule + ", or a map from registry to endpoints", parse: func(v any) (any, bool) {
		if o, is := v.(object); is {
			var items []any
			for _, registry := range o.keys() {
				items = append(items, object{"registry": registry, "endpoint": o[registry]})
			}
			v = items
		}
		if items, is := v.([]any); is && items == nil {
			return []any{}, true
		}
		return mirrorList.parse(v)
	}}

	credentials = listOf(record("`{registry, username, password, auth, identitytoken}`", field{"registry", singleLine, true},
		field{"username", singleLine, false}, field{"password", singleLine, false}, field{"auth", base64Text, false}, field{"identitytoken", singleLine, false}))
)
