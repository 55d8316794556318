// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/fleetview"
	"github.com/drydock-os/drydock/internal/plan"
)

// maxNote is the most bytes that the API takes as an event's note.
const maxNote = 1024

// announce tells of a move at the shadow, and of one that went wrong at the node as well: each event is a request,
// and most moves are of no interest to who looks at a node.
func (r *reconciler) announce(brs *v2.BottlerocketShadow, m plan.Move) {
	bad := m.Reason == plan.AttemptFailed || m.Reason == plan.SpecRepaired || m.Reason == plan.StateTimedOut
	r.tell(brs, bad, string(m.Reason), string(m.To), m.Detail)
}

// refuse tells once why a node that is to be updated is not, and again only after another reason.
func (r *reconciler) refuse(shadows map[string]*v2.BottlerocketShadow, waiting []plan.Wait) {
	told := make(map[string]plan.WaitReason, len(r.told))
	for _, w := range waiting {
		brs := shadows[w.Node]
		if brs == nil || !isRefusal(w, brs) {
			continue
		}
		told[w.Node] = w.Reason
		if r.told[w.Node] == w.Reason {
			continue
		}
		bad := w.Reason == plan.InvalidData || w.Reason == plan.AgentSilent || w.Reason == plan.CheckFailing || w.Reason == plan.VersionBlocked
		r.tell(brs, bad, string(w.Reason), "Wait", w.Sentence())
		r.cfg.Log.Info("node waits", "node", w.Node, "reason", w.Reason, "detail", w.Sentence())
	}
	r.told = told
}

// isRefusal is whether a node is kept from what it could do. Waiting for others or for its own agent is the normal
// course; that a node under observation is not Ready yet is, too.
func isRefusal(w plan.Wait, brs *v2.BottlerocketShadow) bool {
	switch w.Reason {
	case plan.InvalidData, plan.AgentSilent, plan.BackOff, plan.OutsideWindow, plan.NodeCordoned, plan.StartsDisabled,
		plan.CheckFailing, plan.WaveNotReached, plan.VersionLocked, plan.VersionBlocked, plan.HeldBack:
		return true
	case plan.NodeNotReady:
		return brs.Spec.State == v2.Idle
	default:
		return false
	}
}

// tell writes an event about the shadow, and a bad one about the node, too; each names the other.
func (r *reconciler) tell(brs *v2.BottlerocketShadow, bad bool, reason, action, note string) {
	shadow := &corev1.ObjectReference{
		APIVersion: v2.GroupVersion.String(), Kind: "BottlerocketShadow",
		Namespace: brs.Namespace, Name: brs.Name, UID: brs.UID,
	}
	node := &corev1.ObjectReference{
		APIVersion: "v1", Kind: "Node", Name: fleetview.NodeName(brs), UID: types.UID(fleetview.OwnerUID(brs)),
	}
	if len(note) > maxNote {
		note = strings.ToValidUTF8(note[:maxNote-len("…")], "") + "…"
	}
	kind, about := corev1.EventTypeNormal, []runtime.Object{shadow, node}
	if bad {
		kind = corev1.EventTypeWarning
		r.recorder.Eventf(about[1], about[0], kind, reason, action, "%s", note)
	}
	r.recorder.Eventf(about[0], about[1], kind, reason, action, "%s", note)
}
