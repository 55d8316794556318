// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/fleetview"
	"github.com/drydock-os/drydock/internal/plan"
)

// maxNote is the most bytes that the API takes as an event's note.
const maxNote = 1024

// announce tells of a move where people look: at the shadow and at the node.
func (r *reconciler) announce(brs *v2.BottlerocketShadow, m plan.Move) {
	kind := corev1.EventTypeNormal
	if m.Reason == plan.AttemptFailed || m.Reason == plan.SpecRepaired {
		kind = corev1.EventTypeWarning
	}
	shadow := &corev1.ObjectReference{
		APIVersion: v2.GroupVersion.String(), Kind: "BottlerocketShadow",
		Namespace: brs.Namespace, Name: brs.Name, UID: brs.UID,
	}
	node := &corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: m.Node, UID: types.UID(fleetview.OwnerUID(brs))}
	note := m.Detail
	if len(note) > maxNote {
		note = strings.ToValidUTF8(note[:maxNote-len("…")], "") + "…"
	}
	action := string(m.To)
	r.recorder.Eventf(shadow, node, kind, string(m.Reason), action, "%s", note)
	r.recorder.Eventf(node, shadow, kind, string(m.Reason), action, "%s", note)
}
