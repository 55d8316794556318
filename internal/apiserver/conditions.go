// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"context"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/agentapi"
)

// conditionsOf says in conditions what an agent has reported, with the times of those before that still hold. They
// travel in the same request as the report.
func conditionsOf(before []metav1.Condition, s agentapi.Status) []metav1.Condition {
	now := slices.Clone(before)
	set := func(kind string, status metav1.ConditionStatus, reason, message string) {
		meta.SetStatusCondition(&now, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message})
	}
	switch {
	case s.CurrentState == agentapi.ErrorReset:
		set(v2.ConditionUpdated, metav1.ConditionFalse, "AttemptFailed", s.LastError)
	case s.CurrentState != agentapi.Idle:
		set(v2.ConditionUpdated, metav1.ConditionFalse, "Updating", "the node is on its way to another version")
	case s.CurrentVersion != s.TargetVersion:
		set(v2.ConditionUpdated, metav1.ConditionFalse, "UpdateAvailable", s.TargetVersion+" is available")
	case s.UpdateCheck.Error != "":
		set(v2.ConditionUpdated, metav1.ConditionUnknown, "CheckFailed", "the host cannot look for updates")
	default:
		set(v2.ConditionUpdated, metav1.ConditionTrue, heldReason(s.HeldUpdate), s.Message)
	}
	if check := s.UpdateCheck; check.Error != "" {
		message := check.Error
		if check.LastSuccess != "" {
			message += "; last success at " + check.LastSuccess
		}
		set(v2.ConditionUpdateCheck, metav1.ConditionFalse, "CheckFailed", message)
	} else {
		message := ""
		if check.LastSuccess != "" {
			message = "last success at " + check.LastSuccess + " or later"
		}
		set(v2.ConditionUpdateCheck, metav1.ConditionTrue, "CheckSucceeded", message)
	}
	if s.CurrentState != agentapi.StagedAndPerformedUpdate && meta.IsStatusConditionTrue(now, v2.ConditionDraining) {
		set(v2.ConditionDraining, metav1.ConditionFalse, "NotDraining", "")
	}
	return now
}

// heldReason is why a node is as new as it can be: nothing else is published, or the host stays for now.
func heldReason(h agentapi.Held) string {
	switch h.Reason {
	case "":
		return "UpToDate"
	case "wave":
		return "WaveNotReached"
	case "lock":
		return "VersionLocked"
	case "blocked":
		return "VersionBlocked"
	default:
		return "HeldBack"
	}
}

// conditions returns the present conditions of a node's shadow, from our own last write where the cache is behind it.
func (c *cluster) conditions(ctx context.Context, node string) []metav1.Condition {
	var s v2.BottlerocketShadow
	name := v2.ShadowName(node)
	if err := c.cache.Get(ctx, types.NamespacedName{Namespace: c.namespace, Name: name}, &s); err != nil {
		return nil
	}
	if own, ok := c.written.get(name); ok && own.uid == s.UID && own.revision > revision(s.ResourceVersion) {
		return own.conditions
	}
	if s.Status == nil {
		return nil
	}
	return s.Status.Conditions
}

// written holds the conditions of each shadow as this replica last wrote them.
type written struct {
	mu   sync.Mutex
	last map[string]writtenConditions
}

type writtenConditions struct {
	uid        types.UID
	revision   uint64
	conditions []metav1.Condition
}

func (w *written) note(s *v2.BottlerocketShadow) {
	if s.Status == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil {
		w.last = map[string]writtenConditions{}
	}
	w.last[s.Name] = writtenConditions{s.UID, revision(s.ResourceVersion), s.Status.Conditions}
}

func (w *written) get(shadow string) (writtenConditions, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, ok := w.last[shadow]
	return c, ok
}

func (w *written) forget(shadow string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.last, shadow)
}
