// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agentapi

// State is a step of a node's update, spelled as in the BottlerocketShadow API.
type State string

// The states in the order a successful update passes them.
const (
	Idle                     State = "Idle"
	StagedAndPerformedUpdate State = "StagedAndPerformedUpdate"
	RebootedIntoUpdate       State = "RebootedIntoUpdate"
	MonitoringUpdate         State = "MonitoringUpdate"
	// ErrorReset is only ever a status: the agent gave up on this attempt.
	ErrorReset State = "ErrorReset"
)

// Known reports whether s is one of the five states.
func (s State) Known() bool {
	switch s {
	case Idle, StagedAndPerformedUpdate, RebootedIntoUpdate, MonitoringUpdate, ErrorReset:
		return true
	}
	return false
}

// Spec is what the controller wants of a node. Absent values are explicit nulls on the wire.
type Spec struct {
	State State `json:"state"`
	// StateTransitionTimestamp is when State was last changed, in RFC 3339.
	StateTransitionTimestamp *string `json:"state_transition_timestamp"`
	// Version is the wanted version, a semantic version without a leading v.
	Version *string `json:"version"`
}

// WantedVersion returns the wanted version, or "" when none is wanted.
func (s Spec) WantedVersion() string {
	if s.Version == nil {
		return ""
	}
	return *s.Version
}

// Status is what the agent reports: the body of PUT. The first five keys are the original contract and
// always present; the failure timestamp is null when there was no failure.
type Status struct {
	CurrentVersion string `json:"current_version"`
	TargetVersion  string `json:"target_version"`
	CurrentState   State  `json:"current_state"`
	CrashCount     uint32 `json:"crash_count"`
	// StateTransitionFailureTimestamp is when the last attempt failed, in RFC 3339.
	StateTransitionFailureTimestamp *string `json:"state_transition_failure_timestamp"`

	// Message says in one sentence what the node is doing or waiting for. Additive.
	Message string `json:"message,omitempty"`
	// LastError is the cause of the last failed attempt. Additive.
	LastError string `json:"last_error,omitempty"`
	// Slot is the slot the node runs from, A or B. Additive.
	Slot string `json:"slot,omitempty"`
	// BootID is the boot id of the running system; in state StagedAndPerformedUpdate the one under which
	// the update was staged. Additive.
	BootID string `json:"boot_id,omitempty"`
	// UpdateCheck is how the host's looks for updates go. Additive.
	UpdateCheck Check `json:"update_check,omitzero"`
	// HeldUpdate is an update that is published and that the host does not move to for now. Additive.
	HeldUpdate Held `json:"held_update,omitzero"`
}

// Check is how the host's looks for updates go. Times are in RFC 3339.
type Check struct {
	// Error is why the last look failed, "" if it did not.
	Error        string `json:"error,omitempty"`
	FailingSince string `json:"failing_since,omitempty"`
	// LastSuccess is "" if unknown. While all looks succeed it is renewed a few times per day only.
	LastSuccess string `json:"last_success,omitempty"`
}

// Held says what a host waits for: as reason "wave", until its turn comes, "lock", by which it is locked to another
// version, or "blocked", because the version fell back there.
type Held struct {
	Version  string `json:"version,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Until    string `json:"until,omitempty"`
	LockedTo string `json:"locked_to,omitempty"`
}

// Equal reports whether two statuses are the same, value for value.
func (s Status) Equal(o Status) bool {
	a, b := s.StateTransitionFailureTimestamp, o.StateTransitionFailureTimestamp
	if (a == nil) != (b == nil) || a != nil && *a != *b {
		return false
	}
	s.StateTransitionFailureTimestamp, o.StateTransitionFailureTimestamp = nil, nil
	return s == o
}

// EventType tells the lines of a stream apart.
type EventType string

const (
	// EventState carries the node's object, on connect and after each change.
	EventState EventType = "STATE"
	// EventAbsent says that the node has no object: the agent creates it.
	EventAbsent EventType = "ABSENT"
	// EventHeartbeat only says that the stream is alive.
	EventHeartbeat EventType = "HEARTBEAT"
)

// Event is one line of the stream.
type Event struct {
	Type EventType `json:"type"`
	// Spec is set with STATE.
	Spec *Spec `json:"spec,omitempty"`
	// Status is null until the agent has reported once.
	Status *Status `json:"status"`
	// UID identifies the object; another UID is another object under the same name.
	UID string `json:"uid,omitempty"`
	// Revision grows with each change of the object. 0 means unknown. Replicas of the apiserver may be
	// behind each other: a smaller revision than one already seen is old news.
	Revision uint64 `json:"revision,omitempty"`
}
