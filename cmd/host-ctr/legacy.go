// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import "strings"

// legacy are the flags of the first generation, which had no subcommands and one dash before long names.
var legacy = map[string]string{
	"ctr-id": "--container-id", "source": "--source", "superpowered": "--superpowered",
	"containerd-socket": "--containerd-socket", "namespace": "--namespace",
}

// modern rewrites a command line of the first generation, as old units have it. Others stay as they are.
func modern(args []string) []string {
	command := "run"
	var out []string
	for i := 0; i < len(args); i++ {
		name, found := strings.CutPrefix(args[i], "-")
		if !found {
			return args // a subcommand or something unknown
		}
		name = strings.TrimPrefix(name, "-")
		name, value, given := strings.Cut(name, "=")
		if name == "pull-image-only" {
			if value != "false" {
				command = "pull-image"
			}
			continue
		}
		flag, known := legacy[name]
		switch {
		case !known:
			return args
		case given:
			out = append(out, flag+"="+value)
		case name == "superpowered":
			out = append(out, flag) // needs no value
		case i+1 < len(args):
			i++
			out = append(out, flag+"="+args[i])
		default:
			return args
		}
	}
	if len(out) == 0 {
		return args
	}
	if command == "pull-image" { // which knows no container
		kept := out[:0]
		for _, a := range out {
			if !strings.HasPrefix(a, "--container-id") && !strings.HasPrefix(a, "--superpowered") {
				kept = append(kept, a)
			}
		}
		out = kept
	}
	return append([]string{command}, out...)
}
