// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package template

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// helper computes a value from others. What it returns is written, or given to the helper round it.
type helper func(args []any) (any, error)

// extensions have the helpers by the name under which a head asks for them. Those of "" are always there.
var extensions = map[string]map[string]helper{
	"":    {"lookup": lookup},
	"std": standard,
	"aws": {"ecr-prefix": onString(ecrPrefix)},
	"updates": {
		"tuf-prefix":      onString(tufPrefix),
		"metadata-prefix": onString(metadataPrefix),
	},
	"kubernetes": {
		"join_node_taints":    joinNodeTaints,
		"kube_reserve_cpu":    kubeReserveCPU,
		"kube_reserve_memory": kubeReserveMemory,
	},
	"network": {
		"host":              onString(host),
		"localhost_aliases": localhostAliases,
		"etc_hosts_entries": etcHostsEntries,
	},
	"ecs": {"ecs_metadata_service_limits": ecsLimits},
}

var standard = map[string]helper{
	"any_enabled":        anyEnabled,
	"base64_decode":      onString(decodeBase64),
	"default":            fallback,
	"toml_encode":        encodeTOML,
	"join_array":         joinArray,
	"join_map":           joinMap,
	"goarch":             onString(goarch),
	"negate_or_else":     negateOrElse,
	"is_null":            test(isNull),
	"is_bool":            test(func(v any) bool { _, is := v.(bool); return is }),
	"is_number":          test(func(v any) bool { _, is := number(v); return is }),
	"is_string":          test(func(v any) bool { _, is := v.(string); return is }),
	"is_array":           test(func(v any) bool { _, is := v.([]any); return is }),
	"is_object":          test(func(v any) bool { _, is := v.(map[string]any); return is }),
	"is_ipv4":            test(func(v any) bool { a, ok := address(v); return ok && a.Is4() }),
	"is_ipv6":            test(func(v any) bool { a, ok := address(v); return ok && a.Is6() }),
	"cidr_to_ipaddr":     onString(cidrToAddress),
	"replace_ipv4_octet": replaceOctet,
}

func want(args []any, n int) error {
	if len(args) != n {
		return fmt.Errorf("wants %d values, got %d", n, len(args))
	}
	return nil
}

// stringAt returns a value that must be there and be a string.
func stringAt(args []any, i int) (string, error) {
	if m, is := args[i].(missing); is {
		return "", m
	}
	s, ok := args[i].(string)
	if !ok {
		return "", fmt.Errorf("value %d must be a string", i+1)
	}
	return s, nil
}

func onString(f func(string) (string, error)) helper {
	return func(args []any) (any, error) {
		if err := want(args, 1); err != nil {
			return nil, err
		}
		s, err := stringAt(args, 0)
		if err != nil {
			return nil, err
		}
		return f(s)
	}
}

func test(f func(any) bool) helper {
	return func(args []any) (any, error) {
		if err := want(args, 1); err != nil {
			return nil, err
		}
		return f(args[0]), nil
	}
}

func lookup(args []any) (any, error) {
	if err := want(args, 2); err != nil {
		return nil, err
	}
	key, err := text(args[1])
	if err != nil {
		return nil, err
	}
	switch in := args[0].(type) {
	case map[string]any:
		if v, ok := in[key]; ok {
			return v, nil
		}
	case []any:
		if i, err := strconv.Atoi(key); err == nil && i >= 0 && i < len(in) {
			return in[i], nil
		}
	}
	return missing{key}, nil
}

// anyEnabled tells whether one of the objects in a list or object has a true "enabled".
func anyEnabled(args []any) (any, error) {
	if err := want(args, 1); err != nil {
		return nil, err
	}
	enabled := func(v any) bool {
		o, _ := v.(map[string]any)
		on, _ := o["enabled"].(bool)
		return on
	}
	switch v := args[0].(type) {
	case []any:
		return slices.ContainsFunc(v, enabled), nil
	case map[string]any:
		for _, item := range v {
			if enabled(item) {
				return true, nil
			}
		}
	}
	return false, nil
}

func decodeBase64(s string) (string, error) {
	data, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "", fmt.Errorf("not base64") // the text may be a secret
	}
	return string(data), nil
}

// fallback returns the second value if it is there, else the first.
func fallback(args []any) (any, error) {
	if err := want(args, 2); err != nil {
		return nil, err
	}
	if isNull(args[1]) {
		return args[0], nil
	}
	return args[1], nil
}

// encodeTOML writes a value as it stands behind the equals sign of a TOML file.
func encodeTOML(args []any) (any, error) {
	if err := want(args, 1); err != nil {
		return nil, err
	}
	return tomlValue(args[0])
}

func tomlValue(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return tomlString(v), nil
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			var err error
			if items[i], err = tomlValue(item); err != nil {
				return "", err
			}
		}
		return "[" + strings.Join(items, ", ") + "]", nil
	case map[string]any:
		var items []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			name, err := tomlValue(key)
			if err != nil {
				return "", err
			}
			item, err := tomlValue(v[key])
			if err != nil {
				return "", err
			}
			items = append(items, name+" = "+item)
		}
		return "{ " + strings.Join(items, ", ") + " }", nil
	case nil:
		return "", fmt.Errorf("TOML knows no null")
	}
	return text(v)
}

// tomlString writes a basic string, which is what readers of the original's files have always been given.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, "\\u%04X", r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func joinArray(args []any) (any, error) {
	if err := want(args, 2); err != nil {
		return nil, err
	}
	separator, err := stringAt(args, 0)
	if err != nil {
		return nil, err
	}
	if m, is := args[1].(missing); is {
		return nil, m
	}
	items, ok := args[1].([]any)
	if !ok {
		return nil, fmt.Errorf("value 2 must be a list")
	}
	texts := make([]string, len(items))
	for i, item := range items {
		if texts[i], err = text(item); err != nil {
			return nil, err
		}
	}
	return strings.Join(texts, separator), nil
}

// joinMap writes an object with one text between key and value and another one between pairs, in order of the keys.
func joinMap(args []any) (any, error) {
	if err := want(args, 4); err != nil {
		return nil, err
	}
	var words [3]string
	for i := range words {
		var err error
		if words[i], err = stringAt(args, i); err != nil {
			return nil, err
		}
	}
	if words[2] != "fail-if-missing" && words[2] != "no-fail-if-missing" {
		return nil, fmt.Errorf("value 3 must be fail-if-missing or no-fail-if-missing")
	}
	if m, is := args[3].(missing); is && words[2] == "fail-if-missing" {
		return nil, m
	}
	if isNull(args[3]) {
		return "", nil
	}
	o, ok := args[3].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("value 4 must be an object")
	}
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(o)) {
		v, err := text(o[key])
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, key+words[0]+v)
	}
	return strings.Join(pairs, words[1]), nil
}

func goarch(arch string) (string, error) {
	switch arch {
	case "x86_64", "amd64":
		return "amd64", nil
	case "aarch64", "arm64":
		return "arm64", nil
	}
	return "", fmt.Errorf("architecture %q is not known", arch)
}

// negateOrElse returns the opposite of the second value, or, when it is not there, the first one as it is.
func negateOrElse(args []any) (any, error) {
	if err := want(args, 2); err != nil {
		return nil, err
	}
	otherwise, ok := args[0].(bool)
	if !ok {
		return nil, fmt.Errorf("value 1 must be true or false")
	}
	if isNull(args[1]) {
		return otherwise, nil
	}
	v, ok := args[1].(bool)
	if !ok {
		return nil, fmt.Errorf("value 2 must be true or false")
	}
	return !v, nil
}

func address(v any) (netip.Addr, bool) {
	s, _ := v.(string)
	a, err := netip.ParseAddr(s)
	return a, err == nil
}

func cidrToAddress(s string) (string, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return "", fmt.Errorf("%q is not an address with the length of its prefix", s)
	}
	return p.Addr().String(), nil
}

// replaceOctet returns an IPv4 address with one of its numbers, counted from 0, replaced.
func replaceOctet(args []any) (any, error) {
	if err := want(args, 3); err != nil {
		return nil, err
	}
	a, ok := address(args[0])
	if !ok || !a.Is4() {
		return nil, fmt.Errorf("value 1 must be an IPv4 address")
	}
	var n [2]int
	for i := range n {
		s, err := text(args[i+1])
		if err != nil {
			return nil, err
		}
		if n[i], err = strconv.Atoi(s); err != nil {
			return nil, fmt.Errorf("value %d must be a whole number", i+2)
		}
	}
	octets := a.As4()
	if n[0] < 0 || n[0] >= len(octets) || n[1] < 0 || n[1] > 255 {
		return nil, fmt.Errorf("there is no octet %d, or it cannot be %d", n[0], n[1])
	}
	octets[n[0]] = byte(n[1])
	return netip.AddrFrom4(octets).String(), nil
}
