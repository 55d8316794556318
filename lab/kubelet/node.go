// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Version is what the node reports as its kubelet version: the one of the lab's control plane, so that no
// tool complains about skew.
const Version = "v1.36.3"

// As the kubelet's defaults: the node controller gives up on a node after the lease's duration.
const (
	leaseSeconds = 40
	leaseRenewal = 10 * time.Second
)

// registerNode makes the Node object say what this boot is, and retries until it does or ctx ends.
func (k *Kubelet) registerNode(ctx context.Context) error {
	return Retry(ctx, func() error {
		err := k.tryRegisterNode(ctx)
		if err != nil && ctx.Err() == nil {
			k.log.Warn("node not registered, trying again", "error", err)
		}
		return err
	})
}

func (k *Kubelet) tryRegisterNode(ctx context.Context) error {
	nodes := k.client.CoreV1().Nodes()
	labels, status := k.nodeLabels(), NodeStatus(k.facts(), metav1.Now())
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	if err != nil {
		return fmt.Errorf("encoding node labels: %w", err)
	}
	_, err = nodes.Patch(ctx, k.cfg.NodeName, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: k.cfg.NodeName, Labels: labels}, Status: status}
		_, err = nodes.Create(ctx, node, metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("registering node: %w", err)
	}
	// Conditions are merged by type, the rest is replaced: what earlier boots said does not survive.
	patch, err = json.Marshal(map[string]any{"status": status})
	if err != nil {
		return fmt.Errorf("encoding node status: %w", err)
	}
	if _, err := nodes.PatchStatus(ctx, k.cfg.NodeName, patch); err != nil {
		return fmt.Errorf("reporting node status: %w", err)
	}
	return nil
}

func (k *Kubelet) nodeLabels() map[string]string {
	labels := NodeLabels(k.cfg.NodeName)
	maps.Copy(labels, k.cfg.Labels)
	return labels
}

func (k *Kubelet) facts() NodeFacts {
	return NodeFacts{
		Name: k.cfg.NodeName, Address: k.cfg.NodeIP, BootID: k.cfg.BootID, OSImage: k.cfg.OSImage,
		KernelVersion: k.cfg.KernelVersion, MachineID: k.cfg.MachineID, Serves: k.cfg.Serving != nil,
	}
}

// NodeFacts is what differs between the nodes of a lab.
type NodeFacts struct {
	Name          string
	Address       netip.Addr
	BootID        string
	OSImage       string
	KernelVersion string
	MachineID     string
	Serves        bool // whether the kubelet answers at Port
}

// NodeLabels returns the labels that every node of a lab has.
func NodeLabels(name string) map[string]string {
	return map[string]string{
		corev1.LabelHostname:   name,
		corev1.LabelOSStable:   runtime.GOOS,
		corev1.LabelArchStable: runtime.GOARCH,
	}
}

// NodeStatus is what the node of a lab reports while it is up.
func NodeStatus(f NodeFacts, now metav1.Time) corev1.NodeStatus {
	// Fixed figures: a lab schedules by count, not by the size of the machine it happens to run on.
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("8"),
		corev1.ResourceMemory:           resource.MustParse("32Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
		corev1.ResourcePods:             resource.MustParse("110"),
	}
	condition := func(t corev1.NodeConditionType, s corev1.ConditionStatus, reason, message string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: t, Status: s, Reason: reason, Message: message, LastHeartbeatTime: now, LastTransitionTime: now}
	}
	var endpoints corev1.NodeDaemonEndpoints
	if f.Serves {
		endpoints.KubeletEndpoint.Port = Port
	}
	return corev1.NodeStatus{
		Capacity:        capacity,
		Allocatable:     capacity,
		DaemonEndpoints: endpoints,
		Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: f.Address.String()},
			{Type: corev1.NodeHostName, Address: f.Name},
		},
		Conditions: []corev1.NodeCondition{
			condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory", "the lab does not measure memory"),
			condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure", "the lab does not measure disks"),
			condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID", "the lab does not count processes"),
			condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady", "the lab's kubelet runs pods"),
		},
		NodeInfo: corev1.NodeSystemInfo{
			MachineID:               f.MachineID,
			SystemUUID:              f.MachineID,
			BootID:                  f.BootID,
			KernelVersion:           f.KernelVersion,
			OSImage:                 f.OSImage,
			ContainerRuntimeVersion: "drydock-lab://1",
			KubeletVersion:          Version,
			OperatingSystem:         runtime.GOOS,
			Architecture:            runtime.GOARCH,
		},
	}
}

// renewLease keeps the node's Lease fresh until ctx ends.
func (k *Kubelet) renewLease(ctx context.Context) {
	tick := time.NewTicker(leaseRenewal)
	defer tick.Stop()
	for {
		if err := Retry(ctx, func() error { return k.renewLeaseOnce(ctx) }); err != nil {
			return // only the end of ctx ends retry
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (k *Kubelet) renewLeaseOnce(ctx context.Context) error {
	leases := k.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	spec := coordinationv1.LeaseSpec{
		HolderIdentity:       &k.cfg.NodeName,
		LeaseDurationSeconds: new(int32(leaseSeconds)),
		RenewTime:            new(metav1.NowMicro()),
	}
	patch, err := json.Marshal(map[string]any{"spec": spec})
	if err != nil {
		return fmt.Errorf("encoding lease: %w", err)
	}
	_, err = leases.Patch(ctx, k.cfg.NodeName, types.MergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: k.cfg.NodeName}, Spec: spec}
		_, err = leases.Create(ctx, lease, metav1.CreateOptions{})
	}
	if err != nil && ctx.Err() == nil {
		k.log.Debug("lease not renewed, trying again", "error", err)
	}
	return err
}

// machineKernel is the release of the running kernel.
func machineKernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}
