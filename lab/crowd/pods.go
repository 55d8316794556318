// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package crowd

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/drydock-os/drydock/internal/agentapi"
)

// Pauses before a pod is looked after again when something failed.
const (
	retryFirst = 50 * time.Millisecond
	retryMost  = 5 * time.Second
)

// lookAfterPods is one worker.
func (c *Crowd) lookAfterPods(ctx context.Context) {
	for {
		key, stop := c.queue.Get()
		if stop {
			return
		}
		wait, err := c.lookAfter(ctx, key)
		switch {
		case err != nil && ctx.Err() == nil:
			c.cfg.Log.Debug("pod not looked after, trying again", "pod", key, "error", err)
			c.queue.AddRateLimited(key)
		default:
			c.queue.Forget(key)
			if wait > 0 {
				c.queue.AddAfter(key, wait)
			}
		}
		c.queue.Done(key)
	}
}

// lookAfter brings one pod nearer to what its object says, as the kubelet of its node would. It returns after how
// long that should be done again, 0 for when something changes.
func (c *Crowd) lookAfter(ctx context.Context, key cache.ObjectName) (time.Duration, error) {
	o, exists, err := c.pods.GetStore().GetByKey(key.String())
	if err != nil {
		return 0, err
	}
	if !exists {
		for _, n := range c.nodes { // which one it was on is no longer known; this is rare
			n.podGone(key)
		}
		return 0, nil
	}
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return 0, nil
	}
	n := c.nodes[pod.Spec.NodeName]
	if n == nil || !n.isUp() {
		return 0, nil // looked at again when the node is up
	}
	isAgent := pod.Namespace == c.cfg.Namespace && pod.Spec.ServiceAccountName == agentapi.AgentServiceAccount
	if pod.DeletionTimestamp != nil {
		if isAgent { // asked to end, an agent ends
			n.podGone(key)
		} else if left := time.Until(pod.DeletionTimestamp.Time); left > 0 {
			return left, nil
		}
		return 0, c.remove(ctx, pod)
	}
	if !running(pod) {
		if isAgent && !c.trust.have.Load() {
			return 0, nil // its secret is not there yet; all are looked at again when it is
		}
		if err := c.report(ctx, pod); err != nil {
			return 0, err
		}
	}
	if isAgent {
		n.runAgent(pod)
	}
	return 0, nil
}

// remove ends a pod's object.
func (c *Crowd) remove(ctx context.Context, pod *corev1.Pod) error {
	err := c.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64(0)), Preconditions: metav1.NewUIDPreconditions(string(pod.UID)),
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("removing pod: %w", err)
	}
	return nil
}

func running(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodRunning && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// report says that all containers of the pod run and are ready.
func (c *Crowd) report(ctx context.Context, pod *corev1.Pod) error {
	now := metav1.Now()
	status := corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &now}
	if pod.Status.StartTime != nil {
		status.StartTime = pod.Status.StartTime
	}
	for _, t := range []corev1.PodConditionType{corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		status.Conditions = append(status.Conditions, corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
	for _, container := range pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, corev1.ContainerStatus{
			Name: container.Name, Image: container.Image, Ready: true, Started: new(true),
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		})
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": status})
	if err != nil {
		return fmt.Errorf("encoding pod status: %w", err)
	}
	_, err = c.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("reporting pod status: %w", err)
	}
	return nil
}
