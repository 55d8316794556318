// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package crowd

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/osimage"
	"github.com/drydock-os/drydock/internal/slot"
	"github.com/drydock-os/drydock/internal/testutil/fakehost"
	"github.com/drydock-os/drydock/lab/kubelet"
	"github.com/drydock-os/drydock/lab/machine"
)

// As a kubelet does by default.
const (
	leaseSeconds = 40
	leaseRenewal = 10 * time.Second
)

// node is one node and the host that it imagines.
type node struct {
	Node
	crowd *Crowd
	host  *fakehost.Host // set by run

	reboot chan struct{} // holds one token after the host was asked to reboot

	mu    sync.Mutex
	up    context.Context // ends when the node goes down; nil while it is
	agent *agentRun       // of the pod that runs here, nil without one
	work  sync.WaitGroup  // agents of this boot
}

func newNode(c *Crowd, n Node) *node {
	return &node{Node: n, crowd: c, reboot: make(chan struct{}, 1)}
}

// run is the node's life, boot after boot, until ctx ends.
func (n *node) run(ctx context.Context) error {
	var err error
	n.host, err = fakehost.Start(fakehost.Config{
		Version: n.crowd.cfg.Version, Offer: n.crowd.cfg.Offer, Quiet: true,
		Socket:    filepath.Join(n.crowd.cfg.Dir, n.Name+".sock"),
		Takes:     map[hostapi.Command]time.Duration{hostapi.CommandPrepare: n.crowd.cfg.StageTime},
		OnCommand: n.commandEvent,
	})
	if err != nil {
		return err
	}
	defer n.host.Close()
	n.host.OnReboot(func() {
		select {
		case n.reboot <- struct{}{}:
		default: // it is on its way down
		}
	})
	for number := 1; ctx.Err() == nil; number++ {
		n.boot(ctx, number)
		if agentapi.Wait(ctx, n.crowd.cfg.RebootTime) != nil {
			return nil
		}
		n.host.Boot()
	}
	return nil
}

// boot is one boot, until the host is asked for the next or ctx ends.
func (n *node) boot(ctx context.Context, number int) {
	ctx, down := context.WithCancel(ctx)
	defer n.work.Wait()
	defer down()
	now := n.bootRecord(number)
	n.notify(machine.Event{Kind: machine.Booted, Boot: now})
	n.notify(machine.Event{Kind: machine.MarkedGood, Boot: now})
	if kubelet.Retry(ctx, func() error { return n.register(ctx) }) != nil {
		return
	}
	n.mu.Lock()
	n.up = ctx
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		n.up, n.agent = nil, nil
		n.mu.Unlock()
	}()
	n.crowd.enqueueAll(n.Name)

	// Spread over the period, as in a cluster whose nodes were not started by one hand.
	first := time.NewTimer(time.Duration(rand.Int64N(int64(leaseRenewal))))
	defer first.Stop()
	var tick <-chan time.Time
	n.renew(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.reboot:
			n.notify(machine.Event{Kind: machine.RebootRequested, Boot: now})
			return
		case <-first.C:
			t := time.NewTicker(leaseRenewal)
			defer t.Stop()
			tick = t.C
			n.renew(ctx)
		case <-tick:
			n.renew(ctx)
		}
	}
}

// bootRecord is the present boot as the lab tells of it.
func (n *node) bootRecord(number int) machine.Boot {
	id := n.host.OS()
	b := machine.Boot{Number: number, ID: id.BootID, Slot: slot.A, Release: osimage.Release{Version: id.VersionID, PrettyName: id.PrettyName}}
	if id.Slot == slot.B.String() {
		b.Slot = slot.B
	}
	return b
}

func (n *node) notify(e machine.Event) {
	e.Host, e.Time = n.Name, time.Now()
	n.crowd.cfg.Notify(e)
}

// commandEvent passes on what the host does.
func (n *node) commandEvent(cmd hostapi.Command, done bool, result string, took time.Duration) {
	e := machine.Event{Kind: machine.CommandStarted, Command: string(cmd)}
	if done {
		e.Kind, e.Status, e.Duration = machine.CommandFinished, result, took
	}
	n.notify(e)
}

func (n *node) isUp() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.up != nil
}

// register makes the Node object say what this boot is.
func (n *node) register(ctx context.Context) error {
	nodes := n.crowd.client.CoreV1().Nodes()
	id := n.host.OS()
	status := kubelet.NodeStatus(kubelet.NodeFacts{
		Name: n.Name, Address: n.Address, BootID: id.BootID, OSImage: id.PrettyName, MachineID: n.Name, KernelVersion: "simulated",
	}, metav1.Now())
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return fmt.Errorf("encoding node status: %w", err)
	}
	_, err = nodes.PatchStatus(ctx, n.Name, patch)
	if !apierrors.IsNotFound(err) {
		return err
	}
	labels := kubelet.NodeLabels(n.Name)
	labels[Mark] = "true"
	_, err = nodes.Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: labels},
		Spec:       corev1.NodeSpec{Taints: []corev1.Taint{{Key: Mark, Effect: corev1.TaintEffectNoSchedule}}},
		Status:     status,
	}, metav1.CreateOptions{})
	return err
}

// renew renews the node's Lease. One that fails is made up for by the next.
func (n *node) renew(ctx context.Context) {
	leases := n.crowd.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	spec := coordinationv1.LeaseSpec{HolderIdentity: &n.Name, LeaseDurationSeconds: new(int32(leaseSeconds)), RenewTime: new(metav1.NowMicro())}
	patch, err := json.Marshal(map[string]any{"spec": spec})
	if err == nil {
		_, err = leases.Patch(ctx, n.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	}
	if apierrors.IsNotFound(err) {
		_, err = leases.Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: n.Name}, Spec: spec}, metav1.CreateOptions{})
	}
	if err != nil && ctx.Err() == nil {
		n.crowd.cfg.Log.Debug("lease not renewed", "node", n.Name, "error", err)
	}
}

// podGone ends the agent if it is of that pod.
func (n *node) podGone(key cache.ObjectName) {
	n.mu.Lock()
	run := n.agent
	if run != nil && run.pod == key {
		n.agent = nil
	} else {
		run = nil
	}
	n.mu.Unlock()
	if run != nil {
		run.stop()
	}
}
