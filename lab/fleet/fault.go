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
	Action Action
	// Component is what Kill ends: agent, apiserver, controller or hostd.
	Component string
	// State is the moment: when the first node is asked for it. FlipByte happens before anything runs.
	State brupopv2.State
}

// Action is what a Fault does.
type Action string

// The actions, as they are spelled in a fault.
const (
	// FlipByte damages one byte of the published root image of the new version.
	FlipByte Action = "flip-byte"
	// Kill sends SIGKILL: to the agent or host daemon of that node, or to all replicas of the others.
	Kill Action = "kill"
	// PowerCut ends every process of that node at once; it starts again after the reboot time.
	PowerCut Action = "power-cut"
	// DeleteShadow deletes that node's BottlerocketShadow, as a person may who wants to reset it.
	DeleteShadow Action = "delete-shadow"
)

// hostd is the component of Kill that is no pod.
const hostd = "hostd"

var (
	faultComponents = []string{"agent", "apiserver", "controller", hostd}
	faultStates     = []brupopv2.State{brupopv2.StagedAndPerformedUpdate, brupopv2.RebootedIntoUpdate, brupopv2.MonitoringUpdate, brupopv2.Idle}
)

// ParseFault reads flip-byte, kill=COMPONENT@STATE, power-cut@STATE or delete-shadow@STATE.
func ParseFault(s string) (Fault, error) {
	what, state, timed := strings.Cut(s, "@")
	action, component, _ := strings.Cut(what, "=")
	f := Fault{Action: Action(action), Component: component, State: brupopv2.State(state)}
	switch {
	case f.Action == FlipByte && component == "" && !timed:
		return f, nil
	case f.Action == FlipByte || !slices.Contains([]Action{Kill, PowerCut, DeleteShadow}, f.Action) || f.Action != Kill && component != "":
		return Fault{}, fmt.Errorf("%q is none of flip-byte, kill=COMPONENT@STATE, power-cut@STATE and delete-shadow@STATE", s)
	case f.Action == Kill && !slices.Contains(faultComponents, component):
		return Fault{}, fmt.Errorf("%q names no component: one of %v", s, faultComponents)
	case !slices.Contains(faultStates, f.State):
		return Fault{}, fmt.Errorf("%q names no state: one of %v", s, faultStates)
	}
	return f, nil
}

// String is the form that ParseFault reads.
func (f Fault) String() string {
	s := string(f.Action)
	if f.Component != "" {
		s += "=" + f.Component
	}
	if f.State != "" {
		s += "@" + string(f.State)
	}
	return s
}
