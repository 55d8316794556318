// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package template

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// host returns the host name in a URL.
func host(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return "", fmt.Errorf("the URL has no host") // it may have a password
	}
	return u.Hostname(), nil
}

// The addresses by which a host talks to itself.
var loopback = map[string]string{"ipv4": "127.0.0.1", "ipv6": "::1"}

// entry is one pair of the setting network.hosts.
type entry struct {
	address string
	names   []string
}

func entries(v any) ([]entry, error) {
	if isNull(v) {
		return nil, nil
	}
	items, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("hosts must be a list")
	}
	list := make([]entry, 0, len(items))
	for _, item := range items {
		pair, _ := item.([]any)
		if len(pair) != 2 {
			return nil, fmt.Errorf("hosts must be a list of pairs")
		}
		address, _ := pair[0].(string)
		names, ok := pair[1].([]any)
		if address == "" || !ok {
			return nil, fmt.Errorf("hosts must be pairs of an address and a list of names")
		}
		e := entry{address: address}
		for _, v := range names {
			name, err := text(v)
			if err != nil {
				return nil, err
			}
			e.names = append(e.names, name)
		}
		list = append(list, e)
	}
	return list, nil
}

// localhostAliases returns the further names of the loopback address: the host's own, and those that the hosts give it.
// The original leaves the host's name out when DNS knows it; ours has it always, as rendering asks no network.
func localhostAliases(args []any) (any, error) {
	if err := want(args, 3); err != nil {
		return nil, err
	}
	version, err := stringAt(args, 0)
	if err != nil {
		return nil, err
	}
	address, ok := loopback[version]
	if !ok {
		return nil, fmt.Errorf("value 1 must be ipv4 or ipv6")
	}
	var names []string
	if !isNull(args[1]) {
		name, err := stringAt(args, 1)
		if err != nil {
			return nil, err
		}
		if name != "localhost" {
			names = append(names, name)
		}
	}
	list, err := entries(args[2])
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		if e.address != address {
			continue
		}
		for _, name := range e.names {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return strings.Join(names, " "), nil
}

// etcHostsEntries returns a line for each of the hosts but those of the loopback addresses.
func etcHostsEntries(args []any) (any, error) {
	if err := want(args, 1); err != nil {
		return nil, err
	}
	list, err := entries(args[0])
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, e := range list {
		if e.address != loopback["ipv4"] && e.address != loopback["ipv6"] {
			lines = append(lines, e.address+" "+strings.Join(e.names, " "))
		}
	}
	return strings.Join(lines, "\n"), nil
}
