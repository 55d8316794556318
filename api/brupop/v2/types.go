// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package v2

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// State is a step of a node's update. The controller writes the wanted state into the spec, the node's
// agent reports the reached one in the status; the spellings are part of the contract.
//
// +kubebuilder:validation:Enum=Idle;StagedAndPerformedUpdate;RebootedIntoUpdate;MonitoringUpdate;ErrorReset
type State string

// The states in the order a successful update passes them; ErrorReset leads back to Idle.
const (
	// Idle means that nothing is going on: the start, the end and the recovery state.
	Idle State = "Idle"
	// StagedAndPerformedUpdate means the image is in the idle slot, verified and armed for the next boot.
	StagedAndPerformedUpdate State = "StagedAndPerformedUpdate"
	// RebootedIntoUpdate means the node was drained, booted the wanted version and is schedulable again.
	RebootedIntoUpdate State = "RebootedIntoUpdate"
	// MonitoringUpdate means the new version is under observation.
	MonitoringUpdate State = "MonitoringUpdate"
	// ErrorReset means the agent gave up on this attempt. It is only ever a status, never a spec.
	ErrorReset State = "ErrorReset"
)

// Version is a semantic version without a leading v (semver.org).
//
// +kubebuilder:validation:Pattern=`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$`
type Version string

// BottlerocketShadowSpec is what the controller wants of one node. Only the controller writes it.
type BottlerocketShadowSpec struct {
	// State is the state the node should reach next.
	State State `json:"state"`
	// StateTransitionTimestamp is when the controller last changed State, in RFC 3339.
	// +nullable
	// +optional
	StateTransitionTimestamp *string `json:"state_transition_timestamp,omitempty"`
	// Version is the version the node should update to, absent while no update is wanted.
	// +nullable
	// +optional
	Version *Version `json:"version,omitempty"`
}

// BottlerocketShadowStatus is what one node's agent reports through the apiserver.
type BottlerocketShadowStatus struct {
	// CurrentVersion is the version of the running system.
	CurrentVersion Version `json:"current_version"`
	// TargetVersion is the version the host would update to, or the running one if there is none.
	TargetVersion Version `json:"target_version"`
	// CurrentState is the last state the node reached.
	CurrentState State `json:"current_state"`
	// CrashCount counts the failed attempts since the last completed update.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	// +kubebuilder:validation:Format=uint32
	CrashCount uint32 `json:"crash_count"`
	// StateTransitionFailureTimestamp is when the last attempt failed, in RFC 3339.
	// +nullable
	// +optional
	StateTransitionFailureTimestamp *string `json:"state_transition_failure_timestamp,omitempty"`

	// Message says in one sentence what the node is doing or waiting for. Additive to the original contract.
	// +optional
	Message string `json:"message,omitempty"`
	// LastError is the cause of the last failed attempt; cleared by a completed update. Additive.
	// +optional
	LastError string `json:"last_error,omitempty"`
	// Slot is the slot the node runs from, A or B. Additive.
	// +optional
	Slot string `json:"slot,omitempty"`
	// BootID is the kernel's boot id of the running system. Additive.
	// +optional
	BootID string `json:"boot_id,omitempty"`
	// Conditions say in a form for tools how the node is: Updated, UpdateCheck and Draining. Additive.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Drain is how far a drain is; absent when there is none, or when it was over in seconds. Additive.
	// +optional
	Drain *DrainProgress `json:"drain,omitempty"`
	// UpdateCheck is how the host's looks for updates go. Additive.
	// +optional
	UpdateCheck *UpdateCheck `json:"update_check,omitempty"`
	// HeldUpdate is an update that is published and that the host does not move to for now. Additive.
	// +optional
	HeldUpdate *HeldUpdate `json:"held_update,omitempty"`
}

// DrainProgress is how far a node's drain is.
type DrainProgress struct {
	// PodsLeft is how many pods must still leave the node.
	// +kubebuilder:validation:Minimum=0
	PodsLeft int32 `json:"pods_left"`
	// BlockingPod is a pod whose eviction keeps being refused, as namespace/name.
	// +optional
	BlockingPod string `json:"blocking_pod,omitempty"`
	// BlockingPDB is the PodDisruptionBudget that refuses it, in the pod's namespace; absent if it is something else.
	// +optional
	BlockingPDB string `json:"blocking_pdb,omitempty"`
}

// UpdateCheck is how the host's looks for updates go.
type UpdateCheck struct {
	// Error is why the last look failed; absent if it did not.
	// +optional
	Error string `json:"error,omitempty"`
	// FailingSince is when the first look in a row failed, in RFC 3339; absent while looks succeed.
	// +optional
	FailingSince string `json:"failing_since,omitempty"`
	// LastSuccess is when a look last succeeded, in RFC 3339; absent if unknown. While all looks succeed it is renewed
	// a few times per day only.
	// +optional
	LastSuccess string `json:"last_success,omitempty"`
}

// HeldUpdate is an update that a host does not move to for now.
type HeldUpdate struct {
	// Version is the version of the update.
	// +optional
	Version string `json:"version,omitempty"`
	// Reason is wave (the turn of the host comes at Until), lock (the host is locked to LockedTo) or blocked (the
	// version fell back on this host).
	// +optional
	Reason string `json:"reason,omitempty"`
	// Until is when the turn of the host comes, in RFC 3339.
	// +optional
	Until string `json:"until,omitempty"`
	// LockedTo is the version that the host is locked to.
	// +optional
	LockedTo string `json:"locked_to,omitempty"`
}

// Types of the conditions.
const (
	// ConditionUpdated is True when the node runs the newest version that its host is offered.
	ConditionUpdated = "Updated"
	// ConditionUpdateCheck is False when the host cannot look for updates.
	ConditionUpdateCheck = "UpdateCheck"
	// ConditionDraining is True while a drain of the node takes more than a moment.
	ConditionDraining = "Draining"
)

// BottlerocketShadow is the update state of one node, named "brs-" and the node's name.
//
// +kubebuilder:object:root=true
// +kubebuilder:metadata:annotations="helm.sh/resource-policy=keep"
// +kubebuilder:title=BottlerocketShadow
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:resource:path=bottlerocketshadows,singular=bottlerocketshadow,shortName=brs,scope=Namespaced
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.current_state`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.current_version`
// +kubebuilder:printcolumn:name="Target State",type=string,JSONPath=`.spec.state`
// +kubebuilder:printcolumn:name="Target Version",type=string,JSONPath=`.spec.version`
// +kubebuilder:printcolumn:name="Crash Count",type=string,JSONPath=`.status.crash_count`
type BottlerocketShadow struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec BottlerocketShadowSpec `json:"spec"`
	// Status is absent until the agent has reported once.
	// +nullable
	// +optional
	Status *BottlerocketShadowStatus `json:"status,omitempty"`
}

// BottlerocketShadowList is a list of BottlerocketShadow objects.
//
// +kubebuilder:object:root=true
type BottlerocketShadowList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BottlerocketShadow `json:"items"`
}
