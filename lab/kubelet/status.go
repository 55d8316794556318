// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// podView is everything a pod's status is made from.
type podView struct {
	pod           *corev1.Pod // newest known
	hostIP, podIP netip.Addr  // podIP: invalid until the pod has one
	started       metav1.Time
	inits, mains  []corev1.ContainerStatus
	finished      bool // no container will be started again
}

// podStatus says what the node reports about a pod. It starts from the status that the API server has, because
// others own parts of it, and keeps times of what did not change.
func podStatus(v podView, now metav1.Time) corev1.PodStatus {
	s := *v.pod.Status.DeepCopy()
	s.ObservedGeneration = v.pod.Generation
	s.Phase = phase(v)
	s.StartTime = &v.started
	s.HostIP = v.hostIP.String()
	s.HostIPs = []corev1.HostIP{{IP: s.HostIP}}
	s.PodIP, s.PodIPs = "", nil
	if v.podIP.IsValid() {
		s.PodIP = v.podIP.String()
		s.PodIPs = []corev1.PodIP{{IP: s.PodIP}}
	}
	s.InitContainerStatuses, s.ContainerStatuses = v.inits, v.mains

	done := s.Phase == corev1.PodSucceeded || s.Phase == corev1.PodFailed
	initialized := waitingFor(v.inits, func(c corev1.ContainerStatus) bool {
		return c.State.Terminated != nil && c.State.Terminated.ExitCode == 0
	})
	unready := waitingFor(v.mains, func(c corev1.ContainerStatus) bool { return c.Ready })
	set := func(t corev1.PodConditionType, waiting []string, reason, text string) {
		c := corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, ObservedGeneration: v.pod.Generation}
		if len(waiting) > 0 {
			c.Status, c.Reason, c.Message = corev1.ConditionFalse, reason, text+": ["+strings.Join(waiting, " ")+"]"
		}
		if done && s.Phase == corev1.PodSucceeded {
			c.Reason, c.Message = "PodCompleted", ""
		} else if done && c.Status == corev1.ConditionFalse {
			c.Reason, c.Message = "PodFailed", ""
		}
		setCondition(&s, c, now)
	}
	set(corev1.PodInitialized, initialized, "ContainersNotInitialized", "containers with incomplete status")
	set(corev1.ContainersReady, unready, "ContainersNotReady", "containers with unready status")
	if gates := unmetGates(v.pod, s.Conditions); len(unready) == 0 && len(gates) > 0 {
		set(corev1.PodReady, gates, "ReadinessGatesNotReady", "readiness gates not met")
	} else {
		set(corev1.PodReady, unready, "ContainersNotReady", "containers with unready status")
	}
	if !slices.ContainsFunc(s.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodScheduled }) {
		set(corev1.PodScheduled, nil, "", "")
	}
	return s
}

// phase follows the API's definition: Pending until all init containers are done and one container was
// started; terminal only when nothing will be started again.
func phase(v podView) corev1.PodPhase {
	failed, ran := false, false
	for _, c := range v.inits {
		switch t := c.State.Terminated; {
		case t == nil && !v.finished:
			return corev1.PodPending
		case t == nil || t.ExitCode != 0:
			failed = true
		}
	}
	for _, c := range v.mains {
		switch {
		case c.State.Running != nil || c.LastTerminationState.Terminated != nil:
			ran = true
		case c.State.Terminated != nil:
			ran = true
		}
		if c.State.Running == nil && (c.State.Terminated == nil || c.State.Terminated.ExitCode != 0) {
			failed = true
		}
	}
	switch {
	case v.finished && failed:
		return corev1.PodFailed
	case v.finished:
		return corev1.PodSucceeded
	case ran:
		return corev1.PodRunning
	}
	return corev1.PodPending
}

// waitingFor names the containers that are not ok.
func waitingFor(all []corev1.ContainerStatus, ok func(corev1.ContainerStatus) bool) []string {
	var names []string
	for _, c := range all {
		if !ok(c) {
			names = append(names, c.Name)
		}
	}
	return names
}

// unmetGates names the conditions that others must set before the pod counts as ready.
func unmetGates(pod *corev1.Pod, have []corev1.PodCondition) []string {
	var names []string
	for _, g := range pod.Spec.ReadinessGates {
		met := slices.ContainsFunc(have, func(c corev1.PodCondition) bool {
			return c.Type == g.ConditionType && c.Status == corev1.ConditionTrue
		})
		if !met {
			names = append(names, string(g.ConditionType))
		}
	}
	return names
}

func setCondition(s *corev1.PodStatus, c corev1.PodCondition, now metav1.Time) {
	i := slices.IndexFunc(s.Conditions, func(have corev1.PodCondition) bool { return have.Type == c.Type })
	if i < 0 {
		c.LastTransitionTime = now
		s.Conditions = append(s.Conditions, c)
		return
	}
	have := s.Conditions[i]
	c.LastProbeTime, c.LastTransitionTime = have.LastProbeTime, have.LastTransitionTime
	if have.Status != c.Status {
		c.LastTransitionTime = now
	}
	s.Conditions[i] = c
}
