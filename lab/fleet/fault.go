// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleet

import (
	"fmt"
	"slices"
	"strings"

	brupopv2 "github.com/drydock-os/drydock/api/brupop/v2"
)

// Fault is one thing that goes wrong on purpose, once in a run.
type Fault struct {
	// FlipByte damages one byte of the published root image of the new version.
	FlipByte bool
	// Kill names a component, whose processes get SIGKILL when the first node is asked for State: the
	// agent of that node, or every replica of the controller or apiserver.
	Kill  string
	State brupopv2.State
}

// components maps what people call the operator's parts to the value of their component label.
var components = map[string]string{
	"agent":      "agent",
	"apiserver":  "apiserver",
	"controller": "brupop-controller",
}

// ParseFault reads flip-byte or kill=COMPONENT@STATE.
func ParseFault(s string) (Fault, error) {
	if s == "flip-byte" {
		return Fault{FlipByte: true}, nil
	}
	what, ok := strings.CutPrefix(s, "kill=")
	if !ok {
		return Fault{}, fmt.Errorf("%q is neither flip-byte nor kill=COMPONENT@STATE", s)
	}
	component, state, _ := strings.Cut(what, "@")
	if components[component] == "" {
		return Fault{}, fmt.Errorf("%q names no component: agent, apiserver or controller", s)
	}
	states := []brupopv2.State{brupopv2.StagedAndPerformedUpdate, brupopv2.RebootedIntoUpdate, brupopv2.MonitoringUpdate, brupopv2.Idle}
	if !slices.Contains(states, brupopv2.State(state)) {
		return Fault{}, fmt.Errorf("%q names no state: one of %v", s, states)
	}
	return Fault{Kill: component, State: brupopv2.State(state)}, nil
}

// String is the form that ParseFault reads.
func (f Fault) String() string {
	if f.FlipByte {
		return "flip-byte"
	}
	return "kill=" + f.Kill + "@" + string(f.State)
}
