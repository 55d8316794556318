// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package fleetview turns Nodes and BottlerocketShadows into what package plan decides on.
//
// Whoever shows a plan sees the fleet as the controller does, because both look through here. Nothing is
// judged on the way: texts pass as they were stored, and plan copes with whatever they hold.
package fleetview

import (
	"encoding/json"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/plan"
)

// Node is a Node as the plan sees it. One without a Ready condition counts as Ready: nothing says otherwise.
func Node(node *corev1.Node) plan.Node {
	n := plan.Node{
		Name:     node.Name,
		UID:      string(node.UID),
		OptedIn:  OptedIn(node),
		Cordoned: node.Spec.Unschedulable,
	}
	n.CordonedByUs = n.Cordoned && node.Annotations[v2.CordonedByAnnotation] == v2.CordonOwner
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			n.NotReady = c.Status != corev1.ConditionTrue
		}
	}
	return n
}

// OptedIn is whether a node carries the label that puts it under the operator's care.
func OptedIn(node metav1.Object) bool {
	return node.GetLabels()[v2.UpdaterInterfaceLabel] == v2.UpdaterInterfaceVersion
}

// Shadow is a BottlerocketShadow as the plan sees it.
func Shadow(brs *v2.BottlerocketShadow) plan.Shadow {
	s := plan.Shadow{
		Node:     NodeName(brs),
		OwnerUID: OwnerUID(brs),
		Spec: plan.Spec{
			State:   plan.State(brs.Spec.State),
			Since:   Text(brs.Spec.StateTransitionTimestamp),
			Version: Text(brs.Spec.Version),
		},
	}
	if st := brs.Status; st != nil {
		s.Status = &plan.Status{
			CurrentVersion: string(st.CurrentVersion),
			TargetVersion:  string(st.TargetVersion),
			CurrentState:   plan.State(st.CurrentState),
			CrashCount:     st.CrashCount,
			FailedAt:       Text(st.StateTransitionFailureTimestamp),
			LastError:      st.LastError,
		}
		for _, c := range st.Conditions {
			if c.Type == v2.ConditionUpdated && c.Status == metav1.ConditionFalse && !c.LastTransitionTime.IsZero() {
				s.Status.OfferedSince = c.LastTransitionTime.UTC().Format(time.RFC3339)
			}
		}
		if c := st.UpdateCheck; c != nil && c.Error != "" { // one that succeeds is nothing to decide on
			s.Status.Check = plan.Check{Error: c.Error, FailingSince: c.FailingSince, LastSuccess: c.LastSuccess}
		}
		if h := st.HeldUpdate; h != nil {
			s.Status.Held = plan.Held(*h)
		}
	}
	var mark timedOut
	if text := brs.Annotations[v2.TimedOutAnnotation]; text != "" && json.Unmarshal([]byte(text), &mark) == nil {
		s.TimedOut = plan.TimedOut(mark)
	}
	return s
}

// timedOut is how plan.TimedOut is stored. What cannot be read counts as absent: it was not written by us.
type timedOut struct {
	Count uint32     `json:"count"`
	At    string     `json:"at"`
	State plan.State `json:"state"`
}

// TimedOutMark is the value of the annotation v2.TimedOutAnnotation; empty for none.
func TimedOutMark(t plan.TimedOut) string {
	if t == (plan.TimedOut{}) {
		return ""
	}
	text, err := json.Marshal(timedOut(t))
	if err != nil {
		return "" // a number and two texts always have a JSON form
	}
	return string(text)
}

// NodeName is the name of the node that a BottlerocketShadow belongs to; empty for one
// that is not named as one of ours: such are left alone.
func NodeName(brs *v2.BottlerocketShadow) string {
	name, ok := strings.CutPrefix(brs.Name, v2.ShadowName(""))
	if !ok {
		return ""
	}
	return name
}

// OwnerUID is the UID of the node that the shadow was made for; empty if it names none.
func OwnerUID(brs *v2.BottlerocketShadow) string {
	for _, o := range brs.OwnerReferences {
		if o.Kind == "Node" && o.APIVersion == "v1" {
			return string(o.UID)
		}
	}
	return ""
}

// Text is the value of an optional field; empty if it is not set.
func Text[S ~string](s *S) string {
	if s == nil {
		return ""
	}
	return string(*s)
}

// Stale is whether what a node has said of itself belongs to the state that it is about to leave: an agent at work speaks
// up only when that takes longer than some seconds, and what it has said before would be read as what it does now.
func Stale(state, wanted v2.State, message string) bool {
	return state != wanted && (strings.HasSuffix(message, " is available") || strings.HasSuffix(message, " is staged, waiting for the reboot"))
}
