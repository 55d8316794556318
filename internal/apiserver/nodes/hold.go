// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package nodes

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
)

// What keeps autoscalers from removing a node that is empty because it is being updated.
const (
	// karpenterHold is from Karpenter's documentation of disruption.
	karpenterHold = "karpenter.sh/do-not-disrupt"
	// clusterAutoscalerHold is from the FAQ of the cluster autoscaler.
	clusterAutoscalerHold = "cluster-autoscaler.kubernetes.io/scale-down-disabled"

	holdValue = "true"
)

var holds = []string{clusterAutoscalerHold, karpenterHold}

// heldNothing is the value of v2.HeldByAnnotation on a node that carried none of the holds before.
const heldNothing = `{"` + clusterAutoscalerHold + `":null,"` + karpenterHold + `":null}`

// hold makes the patch that sets the annotations and notes what was there before. One that somebody else has set
// is theirs, and one that we set before is noted already.
func hold(node *corev1.Node) *patch {
	p := newPatch()
	if _, held := node.Annotations[v2.HeldByAnnotation]; held {
		return p
	}
	before := map[string]*string{}
	for _, key := range holds {
		value, there := node.Annotations[key]
		switch {
		case value == holdValue:
			continue
		case there:
			before[key] = &value
		default:
			before[key] = nil
		}
		p.annotations[key] = holdValue
	}
	if len(before) == 0 {
		return p
	}
	note, err := json.Marshal(before)
	if err != nil { // strings always encode; without the note there must be no mark
		return newPatch()
	}
	p.annotations[v2.HeldByAnnotation] = string(note)
	return p
}

// letGo gives the annotations the values they had before, where they still have ours. A note that somebody
// damaged is removed, and what it may have been about stays.
func (p *patch) letGo(node *corev1.Node) {
	note, held := node.Annotations[v2.HeldByAnnotation]
	if !held {
		return
	}
	p.annotations[v2.HeldByAnnotation] = nil
	var before map[string]*string
	if json.Unmarshal([]byte(note), &before) != nil {
		return
	}
	for _, key := range holds { // and no other key, whatever the note says
		value, ours := before[key]
		if !ours || node.Annotations[key] != holdValue {
			continue
		}
		p.annotations[key] = nil
		if value != nil {
			p.annotations[key] = *value
		}
	}
}
