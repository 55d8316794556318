// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleet

import (
	"context"
	"os"
	"strings"

	brupopv2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/lab/kubelet"
	"github.com/drydock-os/drydock/lab/machine"
)

// injectFaults carries out the faults whose moment this change of a node is.
func (l *Lab) injectFaults(ctx context.Context, s *brupopv2.BottlerocketShadow) {
	for i, f := range l.cfg.Faults {
		// A node is asked to be Idle at the end of an update; at its start it just is.
		ended := s.Status != nil && s.Status.CurrentState == brupopv2.MonitoringUpdate
		if s.Spec.State != f.State || f.State == brupopv2.Idle && !ended {
			continue
		}
		l.mu.Lock()
		first := !l.injected[i]
		l.injected[i] = true
		l.mu.Unlock()
		if first {
			l.inject(ctx, f, strings.TrimPrefix(s.Name, "brs-"), s)
		}
	}
}

func (l *Lab) inject(ctx context.Context, f Fault, node string, s *brupopv2.BottlerocketShadow) {
	host := l.machine(node)
	switch {
	case f.Action == PowerCut:
		host.CutPower()
		l.display.say("fault: cut the power of %s when it was asked for %s", node, f.State)
	case f.Action == DeleteShadow:
		if err := l.client.Delete(ctx, s); err != nil {
			l.display.say("fault: deleting the shadow of %s failed: %v", node, err)
			return
		}
		l.display.say("fault: deleted the shadow of %s when it was asked for %s", node, f.State)
	case f.Component == hostd:
		l.display.say("fault: killed %d processes of the hostd when %s was asked for %s", host.KillDaemon(), node, f.State)
	default:
		on := ""
		if f.Component == "agent" {
			on = node
		}
		l.display.say("fault: killed %d processes of the %s when %s was asked for %s", l.kill(f.Component, on), f.Component, node, f.State)
	}
}

// kill sends SIGKILL to the component's processes on the node, on all nodes if none is named.
func (l *Lab) kill(component, node string) (killed int) {
	return l.killWhere(func(of string, p kubelet.Process) bool {
		return (node == "" || of == node) && strings.HasPrefix(p.Pod, "brupop-"+component)
	})
}

// killWhere kills the operator's processes for which which is true.
func (l *Lab) killWhere(which func(node string, p kubelet.Process) bool) (killed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, k := range l.kubelets {
		for _, p := range k.Processes() {
			if p.Namespace != brupopv2.DefaultNamespace || !which(name, p) {
				continue
			}
			if proc, err := os.FindProcess(p.PID); err == nil && proc.Kill() == nil {
				killed++
			}
		}
	}
	return killed
}

func (l *Lab) machine(node string) *machine.Machine {
	for i, name := range l.nodeNames() {
		if name == node {
			return l.machines[i]
		}
	}
	return nil
}
