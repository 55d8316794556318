// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// State is a step of a node's update.
//
// +kubebuilder:validation:Enum=Idle;StagedUpdate;PerformedUpdate;RebootedIntoUpdate;MonitoringUpdate
type State string

// The states in the order a successful update passes them. There is none for a failed attempt.
const (
	Idle               State = "Idle"
	StagedUpdate       State = "StagedUpdate"
	PerformedUpdate    State = "PerformedUpdate"
	RebootedIntoUpdate State = "RebootedIntoUpdate"
	MonitoringUpdate   State = "MonitoringUpdate"
)

// Version is a semantic version without a leading v (semver.org).
//
// +kubebuilder:validation:Pattern=`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$`
type Version string

// BottlerocketShadowSpec is what the controller wants of one node.
type BottlerocketShadowSpec struct {
	// State is the state the node should reach next.
	State State `json:"state"`
	// StateTransitionTimestamp is when State was last changed, in RFC 3339.
	// +nullable
	// +optional
	StateTransitionTimestamp *string `json:"state_transition_timestamp,omitempty"`
	// Version is the version the node should update to, absent while no update is wanted.
	// +nullable
	// +optional
	Version *Version `json:"version,omitempty"`
}

// BottlerocketShadowStatus is what one node's agent reports.
type BottlerocketShadowStatus struct {
	// CurrentVersion is the version of the running system.
	CurrentVersion Version `json:"current_version"`
	// TargetVersion is the version the host would update to, or the running one if there is none.
	TargetVersion Version `json:"target_version"`
	// CurrentState is the last state the node reached.
	CurrentState State `json:"current_state"`
}

// BottlerocketShadow is the update state of one node, named "brs-" and the node's name.
//
// +kubebuilder:object:root=true
// +kubebuilder:title=BottlerocketShadow
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=bottlerocketshadows,singular=bottlerocketshadow,shortName=brs,scope=Namespaced
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.current_state`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.current_version`
// +kubebuilder:printcolumn:name="Target State",type=string,JSONPath=`.spec.state`
// +kubebuilder:printcolumn:name="Target Version",type=string,JSONPath=`.spec.version`
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
