// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package v2

const (
	// DefaultNamespace is where the operator and its objects live unless told otherwise.
	DefaultNamespace = "brupop-bottlerocket-aws"
	// UpdaterInterfaceLabel on a Node opts it in when it has the value UpdaterInterfaceVersion.
	UpdaterInterfaceLabel = "bottlerocket.aws/updater-interface-version"
	// UpdaterInterfaceVersion is the one supported value of UpdaterInterfaceLabel.
	UpdaterInterfaceVersion = "2.0.0"
	// ComponentLabel tells the operator's pods apart: agent, apiserver or brupop-controller.
	ComponentLabel = "brupop.bottlerocket.aws/component"
	// ExcludeFromLBLabel on a Node takes it out of external load balancers (a Kubernetes well-known label).
	ExcludeFromLBLabel = "node.kubernetes.io/exclude-from-external-load-balancers"
	// CordonedByAnnotation on a Node marks a cordon as the operator's own; without it a cordon is
	// somebody else's and is never lifted.
	CordonedByAnnotation = "drydock.dev/cordoned-by"
	// ExcludedByAnnotation on a Node marks the label ExcludeFromLBLabel as the operator's own; without it the
	// label is somebody else's and is never removed.
	ExcludedByAnnotation = "drydock.dev/excluded-from-lb-by"
	// HeldByAnnotation on a Node lists the annotations against removal by autoscalers that the operator set for
	// the time of an update: a JSON object of their values before, null for absent.
	HeldByAnnotation = "drydock.dev/held-annotations"
	// CordonOwner is the value of CordonedByAnnotation and of ExcludedByAnnotation.
	CordonOwner = "drydock"
	// TimedOutAnnotation on a BottlerocketShadow remembers attempts that the controller called off because
	// a state took too long, as JSON: {"count":1,"at":"2026-03-01T12:00:00Z","state":"RebootedIntoUpdate"}.
	TimedOutAnnotation = "drydock.dev/timed-out"
	// MarkAnnotation on a BottlerocketShadow is a time, written by a controller that begins to lead and waits until its
	// watch shows that. It is of no use afterwards.
	MarkAnnotation = "drydock.dev/leader-mark"
	// ToldAnnotation on the Lease of the controller says up to which resource version of a BottlerocketShadow its holder
	// has told of transitions in events, and sums up of which refusals. Whoever leads next tells the rest.
	ToldAnnotation = "drydock.dev/told"
)

// ShadowName returns the name of the BottlerocketShadow that belongs to the node.
func ShadowName(node string) string { return "brs-" + node }
