// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/apiserver/drain"
)

// progressInterval is the least time between two reports of one drain, and before the first: most drains are over
// by then and cost nothing.
const progressInterval = 3 * time.Second

// teller writes the progress of one drain into the node's status, apart from the drain, which waits for nobody.
type teller struct {
	latest chan drain.Progress // holds the newest one that is not written
	stop   func()              // ends the writing; what was written is cleared by the agent's next report
}

func (s *Server) tellProgress(ctx context.Context, node string) *teller {
	ctx, cancel := context.WithCancel(ctx)
	t := &teller{latest: make(chan drain.Progress, 1)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for agentapi.Wait(ctx, s.cfg.drainReport) == nil {
			select {
			case <-ctx.Done():
				return
			case p := <-t.latest:
				if _, err := s.cluster.patchStatus(ctx, node, s.cluster.draining(ctx, node, p)); err != nil && ctx.Err() == nil {
					s.log.Debug("progress of the drain not written", "node", node, "error", err)
				}
			}
		}
	})
	t.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	return t
}

// tell replaces what is not written yet. Only the drain calls it.
func (t *teller) tell(p drain.Progress) {
	select {
	case <-t.latest:
	default:
	}
	t.latest <- p
}

// leaving says how many pods a drain waits for.
func leaving(left int) string {
	if left == 1 {
		return "1 pod is to leave"
	}
	return fmt.Sprintf("%d pods are to leave", left)
}

// forced says which pods are deleted at the limit of a drain.
func forced(left []drain.Blocked) string {
	if len(left) == 1 {
		return fmt.Sprintf("the limit is over: one pod is deleted past its budget, %s", left[0])
	}
	return fmt.Sprintf("the limit is over: %d pods are deleted past their budgets, the first is %s", len(left), left[0])
}

// draining is the part of the status that a drain writes.
func (c *cluster) draining(ctx context.Context, node string, p drain.Progress) map[string]any {
	conditions := slices.Clone(c.conditions(ctx, node))
	condition := metav1.Condition{
		Type: v2.ConditionDraining, Status: metav1.ConditionTrue, Reason: "Evicting",
		Message: leaving(p.Left),
	}
	progress := map[string]any{"pods_left": p.Left, "blocking_pod": nil, "blocking_pdb": nil}
	if b := p.Blocking; b != nil {
		progress["blocking_pod"] = b.Pod.String()
		if b.Budget != "" {
			progress["blocking_pdb"] = b.Budget
		}
		condition.Reason, condition.Message = "Blocked", "waiting for "+b.String()
	}
	meta.SetStatusCondition(&conditions, condition)
	return map[string]any{"drain": progress, "conditions": conditions}
}
