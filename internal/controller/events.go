// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/fleetview"
	"github.com/drydock-os/drydock/internal/notice"
	"github.com/drydock-os/drydock/internal/plan"
)

// teller writes events; *notice.Writer is one.
type teller interface{ Tell(notice.Notice) }

// announce tells of a move, unless it only tidies up, and then closes its entry in the ledger. The time of a transition
// makes it one of its own: when it is told again, by whomever, that is no second event.
func (r *reconciler) announce(brs *v2.BottlerocketShadow, m plan.Move, e *entry) {
	if m.From == m.To && m.Reason != plan.ClockStarted { // that one means that somebody wrote by hand
		r.ledger.close(e)
		return
	}
	bad := m.Reason == plan.AttemptFailed || m.Reason == plan.SpecRepaired || m.Reason == plan.StateTimedOut
	at, err := time.Parse(time.RFC3339Nano, m.Spec.Since)
	if err != nil {
		at = r.cfg.Now()
	}
	r.events.Tell(notice.Notice{
		Subject: subject(brs), Warning: bad, Reason: string(m.Reason), Action: string(m.To), Note: m.Detail,
		Same: m.Spec.Since, Known: true, At: at, Written: func() { r.ledger.close(e) },
	})
}

// announceOpen tells of moves whose answer was lost and which, as is known by now, were made.
func (r *reconciler) announceOpen(shadows map[string]*v2.BottlerocketShadow) {
	for _, m := range r.open {
		if brs := shadows[m.Node]; brs != nil && fleetview.Shadow(brs).Spec == m.Spec {
			r.announce(brs, m.Move, m.entry)
		} else {
			r.ledger.close(m.entry)
		}
	}
	r.open = nil
}

// longAgo is when a transition has its event, or it is too late for one: the leader before was not there for so long, and
// people would take it for news.
const longAgo = 10 * time.Minute

// announceInherited tells, on the first look, of the transitions that the leader before may not have told.
func (r *reconciler) announceInherited(now time.Time) {
	if r.told != nil {
		return
	}
	upTo := r.ledger.inherited().upTo
	for _, brs := range r.mirror.specsAfter(upTo) {
		m, ok := plan.Last(fleetview.Shadow(brs), r.cfg.Timeouts)
		if at, err := time.Parse(time.RFC3339Nano, m.Spec.Since); !ok || err != nil || now.Sub(at).Abs() > longAgo {
			continue
		}
		r.announce(brs, m, r.ledger.beginAfter(upTo))
	}
	r.mirror.lead()
}

// announceRemoval tells that a node that still exists is not looked after any more.
func (r *reconciler) announceRemoval(brs *v2.BottlerocketShadow, node types.UID, reason plan.RemoveReason) {
	n := notice.Notice{Subject: subject(brs), Reason: string(reason), Action: "Remove"}
	n.NodeUID = node
	switch reason {
	case plan.NodeOptedOut:
		n.Note = "is not updated any more: the label " + v2.UpdaterInterfaceLabel + "=" + v2.UpdaterInterfaceVersion + " is gone"
	case plan.NodeReplaced:
		n.Note = "the record of an earlier node of this name is removed"
	default:
		return // neither is there any more
	}
	r.events.Tell(n)
}

// refuse tells once why a node that is to be updated is not, and again only after another reason or for another version.
// What the first look of a leader finds is told as what may be known, save where the leader before says that it is.
func (r *reconciler) refuse(shadows map[string]*v2.BottlerocketShadow, d *plan.Decision) {
	first := r.told == nil
	told := make(map[string]refusal, len(r.told))
	var sum digest
	var news []plan.Wait
	for _, w := range d.Waiting {
		brs := shadows[w.Node]
		if brs == nil || !isRefusal(w, brs, d.Active) {
			continue
		}
		now := refusal{w.Reason, w.Version}
		told[w.Node] = now
		sum.add(w.Node, now)
		if r.told[w.Node] != now {
			news = append(news, w)
		}
	}
	if before := r.ledger.inherited(); first && before.known {
		news = slices.DeleteFunc(news, func(w plan.Wait) bool { p := part(w.Node); return before.refusals[p] == sum[p] })
	}
	r.ledger.tellRefusals(sum, len(news))
	for _, w := range news {
		bad := w.Reason == plan.InvalidData || w.Reason == plan.AgentSilent || w.Reason == plan.CheckFailing || w.Reason == plan.VersionBlocked
		r.events.Tell(notice.Notice{
			Subject: subject(shadows[w.Node]), Warning: bad, Reason: string(w.Reason), Action: "Wait", Note: w.Sentence(), Same: sameWait(w),
			Known: first, Written: r.ledger.toldRefusal,
		})
		r.cfg.Log.Info("node waits", "node", w.Node, "reason", w.Reason, "detail", w.Sentence())
	}
	r.told = told
}

// refusal is what a node was last told of why it is not updated.
type refusal struct {
	reason  plan.WaitReason
	version string
}

// sameWait is what makes two refusals of one reason the same: texts of hosts in their sentence may differ each time.
func sameWait(w plan.Wait) string {
	parts := []string{w.Version, stamp(w.Since), stamp(w.Until)}
	if w.Reason == plan.InvalidData {
		parts = append(parts, w.Detail)
	}
	return strings.Join(parts, " ")
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// isRefusal is whether a node is kept from what it could do, while so many are in an update. Waiting for these or for its
// own agent is the normal course; that a node under observation is not Ready yet is, too. But if all slots are taken by
// nodes that are only unavailable, nothing will change by itself.
func isRefusal(w plan.Wait, brs *v2.BottlerocketShadow, active int) bool {
	switch w.Reason {
	case plan.InvalidData, plan.AgentSilent, plan.BackOff, plan.OutsideWindow, plan.NodeCordoned, plan.StartsDisabled,
		plan.CheckFailing, plan.WaveNotReached, plan.VersionLocked, plan.VersionBlocked, plan.HeldBack:
		return true
	case plan.NodeNotReady:
		return brs.Spec.State == v2.Idle
	case plan.NoSlot:
		return active == 0
	default:
		return false
	}
}

// subject is a shadow and its node.
func subject(brs *v2.BottlerocketShadow) notice.Subject {
	return notice.Subject{
		Node: fleetview.NodeName(brs), NodeUID: types.UID(fleetview.OwnerUID(brs)), Namespace: brs.Namespace, ShadowUID: brs.UID,
	}
}
