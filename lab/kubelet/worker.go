// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/drydock-os/drydock/lab/network"
)

// ExitSecondsAnnotation on a simulated pod says after how many seconds of its deletion it is gone, if that is
// sooner than its grace period.
const ExitSecondsAnnotation = "drydock.dev/lab-exit-seconds"

// worker is responsible for one pod, from the moment it is bound to the node until its object is gone.
type worker struct {
	k         *Kubelet
	log       *slog.Logger
	key       types.NamespacedName
	uid       types.UID
	simulated bool          // none of its images is known
	wake      chan struct{} // something below changed
	stopping  chan struct{} // closed when the pod shall end

	mu             sync.Mutex
	pod            *corev1.Pod // newest version, from the watch or from an own patch
	vanished       bool        // the object is gone
	deadline       time.Time   // when what still runs is killed; valid once stopping is closed
	ip             netip.Addr
	reserved       bool // ip was reserved for a simulated pod
	started        metav1.Time
	inits, mains   []*container
	sent           string // version and patch of the last report
	finished       bool   // no container will be started again
	podNetwork     *network.Pod
	volumes        map[string]*corev1.Volume
	projectedNudge []chan struct{}
}

func newWorker(k *Kubelet, pod *corev1.Pod) *worker {
	w := &worker{
		k:        k,
		log:      k.log.With("namespace", pod.Namespace, "pod", pod.Name),
		key:      types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name},
		uid:      pod.UID,
		wake:     make(chan struct{}, 1),
		stopping: make(chan struct{}),
		pod:      pod,
		started:  now(),
		volumes:  map[string]*corev1.Volume{},
	}
	if pod.Status.StartTime != nil {
		w.started = *pod.Status.StartTime
	}
	w.simulated = true
	for i := range pod.Spec.InitContainers {
		c := newContainer(w, &pod.Spec.InitContainers[i], pod.Status.InitContainerStatuses)
		w.inits = append(w.inits, c)
		w.simulated = w.simulated && c.image == ""
	}
	for i := range pod.Spec.Containers {
		c := newContainer(w, &pod.Spec.Containers[i], pod.Status.ContainerStatuses)
		w.mains = append(w.mains, c)
		w.simulated = w.simulated && c.image == ""
	}
	for i := range pod.Spec.Volumes {
		w.volumes[pod.Spec.Volumes[i].Name] = &pod.Spec.Volumes[i]
	}
	return w
}

func (w *worker) dir() string { return filepath.Join(w.k.podsDir(), string(w.uid)) }

func (w *worker) current() *corev1.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pod
}

// podWithAddresses is the pod as its own processes see it: addresses may not have reached the API yet.
func (w *worker) podWithAddresses() *corev1.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	pod := w.pod.DeepCopy()
	pod.Status.HostIP = w.k.cfg.NodeIP.String()
	if w.ip.IsValid() {
		pod.Status.PodIP = w.ip.String()
	}
	return pod
}

// update takes a version of the pod, unless it is older than what is known.
func (w *worker) update(pod *corev1.Pod) {
	w.mu.Lock()
	order, err := resourceversion.CompareResourceVersion(pod.ResourceVersion, w.pod.ResourceVersion)
	if err != nil || order > 0 {
		w.pod = pod
	}
	nudge := w.projectedNudge
	w.mu.Unlock()
	w.signal()
	for _, n := range nudge { // labels and annotations may have changed
		select {
		case n <- struct{}{}:
		default:
		}
	}
}

func (w *worker) vanish() {
	w.mu.Lock()
	w.vanished = true
	w.mu.Unlock()
	w.signal()
}

func (w *worker) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run returns when the object is gone and nothing of the pod is left, or soon after ctx ended.
func (w *worker) run(ctx context.Context) {
	pod := w.current()
	ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	lifeCtx, kill := context.WithCancel(ctx)
	defer kill()
	var life chan struct{} // closed when nothing runs and nothing will
	switch {
	case ended:
	case pod.DeletionTimestamp != nil: // it ended with the power, or before it began
		w.mu.Lock()
		w.finished = true
		for _, c := range slices.Concat(w.inits, w.mains) {
			c.lost()
		}
		w.mu.Unlock()
	default:
		life = make(chan struct{})
		go func() {
			defer close(life)
			w.live(lifeCtx)
		}()
	}
	defer func() {
		kill()
		if life != nil {
			<-life
		}
		w.teardown()
	}()

	reported, deleted := ended, false
	delay := firstRetry
	var retry <-chan time.Time
	for {
		w.mu.Lock()
		vanished, deleting := w.vanished, w.pod.DeletionTimestamp != nil
		if deleting && life != nil {
			w.stop(w.pod.DeletionGracePeriodSeconds)
		}
		w.mu.Unlock()
		if vanished {
			kill()
			if life == nil {
				w.removeState()
				return
			}
		}
		var err error
		switch {
		case vanished || deleted:
		case !reported || life != nil:
			if err = w.report(ctx); err == nil {
				reported = true
			}
		}
		if err == nil && deleting && life == nil && !vanished && !deleted {
			w.teardown()
			if err = w.delete(ctx); err == nil {
				deleted = true
			}
		}
		if err != nil && ctx.Err() == nil {
			w.log.Debug("pod not reported, trying again", "error", err)
			retry = time.After(delay)
			delay = min(2*delay, lastRetry)
		} else {
			delay, retry = firstRetry, nil
		}
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-retry:
		case <-life:
			life = nil
			w.teardown()
			reported = false // the last word is still to be said
		}
	}
}

// stop asks the pod to end, and again to end sooner. The caller holds w.mu.
func (w *worker) stop(graceSeconds *int64) {
	grace := 30 * time.Second // the API's default
	if graceSeconds != nil {
		grace = time.Duration(*graceSeconds) * time.Second
	}
	at := time.Now().Add(grace)
	select {
	case <-w.stopping:
		// The grace period counts from the first request; a shorter one from now.
		if at.Before(w.deadline) {
			w.deadline = at
			for _, c := range slices.Concat(w.inits, w.mains) {
				c.hurry()
			}
		}
	default:
		w.deadline = at
		w.log.Debug("pod ending", "grace", grace)
		close(w.stopping)
	}
}

// ending reports whether the pod was asked to end.
func (w *worker) ending() bool {
	select {
	case <-w.stopping:
		return true
	default:
		return false
	}
}

// teardown gives back what the pod holds besides its processes, which have ended.
func (w *worker) teardown() {
	w.mu.Lock()
	ip, pn, reserved := w.ip, w.podNetwork, w.reserved
	w.podNetwork, w.reserved = nil, false
	w.mu.Unlock()
	if pn != nil {
		if err := pn.Close(); err != nil {
			w.log.Warn("closing pod network", "error", err)
		}
	} else if reserved {
		w.k.cfg.Network.ReleaseIP(ip)
	}
}

// removeState deletes the pod's volumes.
func (w *worker) removeState() {
	if err := os.RemoveAll(w.dir()); err != nil {
		w.log.Warn("removing pod's volumes", "error", err)
	}
}

// report patches the pod's status if what the API server has differs.
func (w *worker) report(ctx context.Context) error {
	w.mu.Lock()
	pod, sent := w.pod, w.sent
	view := podView{
		pod: pod, hostIP: w.k.cfg.NodeIP, podIP: w.ip, started: w.started, finished: w.finished,
		inits: statuses(w.inits), mains: statuses(w.mains),
	}
	w.mu.Unlock()
	status := podStatus(view, now())
	if equality.Semantic.DeepEqual(status, pod.Status) {
		return nil
	}
	patch, err := statusPatch(pod, status)
	if err != nil {
		return fmt.Errorf("comparing pod status: %w", err)
	}
	if sent == pod.ResourceVersion+string(patch) {
		return nil // an API server that does not know one of the fields answered this very patch
	}
	answer, err := w.k.client.CoreV1().Pods(w.key.Namespace).Patch(ctx, w.key.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	switch {
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
		return nil // another pod has the name by now, or none; the watch will say so
	case err != nil:
		return fmt.Errorf("reporting pod status: %w", err)
	}
	w.mu.Lock()
	w.sent = answer.ResourceVersion + string(patch)
	w.mu.Unlock()
	if pod.Status.Phase != status.Phase {
		w.log.Debug("pod phase", "phase", status.Phase)
	}
	w.update(answer)
	return nil
}

// statusPatch contains only what changed, and the UID, so that a pod of the same name is not touched.
func statusPatch(pod *corev1.Pod, status corev1.PodStatus) ([]byte, error) {
	before, err := json.Marshal(corev1.Pod{Status: pod.Status})
	if err != nil {
		return nil, err
	}
	after, err := json.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: pod.UID}, Status: status})
	if err != nil {
		return nil, err
	}
	return strategicpatch.CreateTwoWayMergePatch(before, after, corev1.Pod{})
}

// delete removes the object of a pod that has ended.
func (w *worker) delete(ctx context.Context) error {
	err := w.k.client.CoreV1().Pods(w.key.Namespace).Delete(ctx, w.key.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64(0)), Preconditions: metav1.NewUIDPreconditions(string(w.uid)),
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("deleting pod: %w", err)
	}
	w.log.Debug("pod gone")
	return nil
}

// now is the present time as the API stores it: in whole seconds. Finer times would differ from what comes back.
func now() metav1.Time { return metav1.Time{Time: time.Now().UTC().Truncate(time.Second)} }

// processes lists the pod's running containers.
func (w *worker) processes() []Process {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Process
	for _, c := range slices.Concat(w.inits, w.mains) {
		if c.proc != nil {
			all = append(all, Process{Namespace: w.key.Namespace, Pod: w.key.Name, UID: w.uid, Container: c.spec.Name, PID: c.proc.cmd.Process.Pid})
		}
	}
	return all
}

// event records something that a person who looks at the pod should see.
func (w *worker) event(kind, reason, message string) {
	w.k.events.Event(w.current(), kind, reason, message)
}

// exitDelay is how long after its deletion a simulated pod is gone.
func (w *worker) exitDelay() time.Duration {
	pod := w.current()
	delay := time.Until(w.killTime())
	if text, ok := pod.Annotations[ExitSecondsAnnotation]; ok {
		if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds >= 0 {
			delay = min(delay, time.Duration(seconds*float64(time.Second)))
		} else {
			w.log.Warn("annotation is not a number of seconds", "annotation", ExitSecondsAnnotation, "value", text)
		}
	}
	return delay
}

// killTime is when what still runs is killed; stopping must be closed.
func (w *worker) killTime() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.deadline
}
