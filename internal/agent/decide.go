// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agent

import "github.com/drydock-os/drydock/internal/agentapi"

// move is what the agent does next about its node.
type move int

const (
	// rest: wanted and reached state agree, or only somebody else can go on.
	rest move = iota
	// goIdle: whatever was going on is over; undo what it left and say so.
	goIdle
	// stage: write the wanted version to the idle slot and arm it.
	stage
	// reboot: boot the wanted version, emptying the node before.
	reboot
	// observe: report that the new version is under observation.
	observe
)

// decide compares what the controller wants with what the agent has reported. It looks at nothing else.
func decide(want agentapi.State, reached agentapi.State) move {
	switch {
	case want == reached:
		return rest
	case want == agentapi.Idle:
		return goIdle
	case reached == agentapi.ErrorReset:
		return rest // the attempt is over; trying again is the controller's decision
	}
	switch want {
	case agentapi.StagedAndPerformedUpdate:
		return stage
	case agentapi.RebootedIntoUpdate:
		return reboot
	case agentapi.MonitoringUpdate:
		return observe
	}
	return rest // ErrorReset or an unknown word, written by hand
}
