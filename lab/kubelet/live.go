// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/drydock-os/drydock/lab/network"
)

// Reasons of waiting containers, as a real kubelet gives them.
const (
	reasonCreating    = "ContainerCreating"
	reasonConfig      = "CreateContainerConfigError"
	reasonBackOff     = "CrashLoopBackOff"
	reasonStart       = "StartError"
	reasonUnsupported = "Unsupported"
)

// live sets the pod up, runs its containers and returns when all have ended for good. ctx is the pod's life:
// when it ends, everything is killed at once.
func (w *worker) live(ctx context.Context) {
	// Whatever the pod waits for before its containers run ends as well when it is deleted.
	setup, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		select {
		case <-w.stopping:
			cancel()
		case <-setup.Done():
		}
	})

	ok := w.supported(setup) && w.setUpNetwork(setup)
	volumes, stopVolumes := context.WithCancel(ctx) // files keep following while the containers end
	defer stopVolumes()
	ok = ok && w.setUpVolumes(setup, volumes, &wg)
	for i, c := range w.inits {
		ok = ok && c.run(ctx, setup)
		if ok && i == len(w.inits)-1 {
			w.waitAll(reasonCreating, "")
		}
	}
	if ok {
		var mains sync.WaitGroup
		for _, c := range w.mains {
			mains.Go(func() { c.run(ctx, setup) })
		}
		mains.Wait()
	}
	if ctx.Err() != nil {
		return // killed: there is nobody to tell
	}
	w.mu.Lock()
	w.finished = true
	w.mu.Unlock()
}

// supported waits for the end of a pod that needs something the lab does not have, and says what.
func (w *worker) supported(setup context.Context) bool {
	text := ""
	pod := w.current()
	for _, c := range pod.Spec.InitContainers {
		if c.RestartPolicy != nil {
			text = fmt.Sprintf("init container %q has a restart policy of its own", c.Name)
		}
	}
	for _, v := range pod.Spec.Volumes {
		_, _, projected := asProjections(v)
		if !projected && v.EmptyDir == nil && v.HostPath == nil {
			text = fmt.Sprintf("volume %q is of a kind that the lab does not have", v.Name)
		}
	}
	if text == "" || w.simulated {
		return true
	}
	w.log.Warn("pod cannot run in the lab", "reason", text)
	w.event(corev1.EventTypeWarning, "FailedMount", text)
	w.waitAll(reasonUnsupported, text)
	<-setup.Done()
	return false
}

// setUpNetwork gives the pod its address.
func (w *worker) setUpNetwork(ctx context.Context) bool {
	pod := w.current()
	if pod.Spec.HostNetwork {
		w.setIP(w.k.cfg.NodeIP, nil, false)
		return true
	}
	told := false
	return Retry(ctx, func() error {
		var ip netip.Addr
		var pn *network.Pod
		var err error
		if w.simulated {
			ip, err = w.k.cfg.Network.ReserveIP()
		} else if pn, err = w.k.cfg.Network.NewPod(); err == nil {
			ip = pn.IP
		}
		if err != nil {
			w.waitAll(reasonCreating, err.Error())
			if !told {
				told = true
				w.log.Warn("pod has no network, trying again", "error", err)
				w.event(corev1.EventTypeWarning, "FailedCreatePodSandBox", err.Error())
			}
			return err
		}
		w.setIP(ip, pn, w.simulated)
		return nil
	}) == nil
}

func (w *worker) setIP(ip netip.Addr, pn *network.Pod, reserved bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ip, w.podNetwork, w.reserved = ip, pn, reserved
}

// inNetwork runs f on a throw-away thread in the pod's network.
func (w *worker) inNetwork(f func() error) error {
	w.mu.Lock()
	pn := w.podNetwork
	w.mu.Unlock()
	if pn == nil { // host network
		return network.Thread(f)
	}
	return pn.Enter(f)
}

// setUpVolumes returns once all volumes that the node makes are complete. They follow their sources until
// life ends. Host paths are looked at by each start of a container.
func (w *worker) setUpVolumes(setup, life context.Context, wg *sync.WaitGroup) bool {
	if w.simulated {
		return true
	}
	var pending []chan struct{}
	for _, v := range w.current().Spec.Volumes {
		dir := w.volumeDir(v.Name)
		_, _, projected := asProjections(v)
		switch {
		case projected:
			p := newProjectedVolume(w, v, dir)
			w.mu.Lock()
			w.projectedNudge = append(w.projectedNudge, p.notify)
			w.mu.Unlock()
			ready := make(chan struct{})
			pending = append(pending, ready)
			wg.Go(func() { p.run(life, sync.OnceFunc(func() { close(ready) }), w.volumeWaits()) })
		case v.EmptyDir != nil:
			if err := makeEmptyDir(dir, v.EmptyDir.Medium == corev1.StorageMediumMemory); err != nil {
				w.log.Warn("volume not made", "volume", v.Name, "error", err)
				w.waitAll(reasonCreating, err.Error())
				<-setup.Done()
				return false
			}
		}
	}
	for _, ready := range pending {
		select {
		case <-ready:
		case <-setup.Done():
			return false
		}
	}
	return true
}

// volumeWaits returns a function that tells why a volume is not complete, each reason once.
func (w *worker) volumeWaits() func(string) {
	told := ""
	return func(reason string) {
		w.waitAll(reasonCreating, reason)
		// Looking up is what every volume does first: no news.
		if reason != told && !strings.HasSuffix(reason, lookingUp) {
			w.event(corev1.EventTypeWarning, "FailedMount", reason)
		}
		told = reason
	}
}

func (w *worker) volumeDir(name string) string { return filepath.Join(w.dir(), "volumes", name) }

// makeEmptyDir keeps what an earlier boot left on disk, but not what was in memory.
func makeEmptyDir(dir string, memory bool) error {
	if memory {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("emptying volume: %w", err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("creating volume: %w", err)
	}
	if err := os.Chmod(dir, 0o777); err != nil { // whatever user the container believes to be
		return fmt.Errorf("creating volume: %w", err)
	}
	return nil
}

// waitAll gives all containers that have not started in this boot a reason.
func (w *worker) waitAll(reason, message string) {
	w.mu.Lock()
	changed := false
	for _, c := range slices.Concat(w.inits, w.mains) {
		if c.state.Waiting != nil && (c.state.Waiting.Reason != reason || c.state.Waiting.Message != message) {
			c.state.Waiting = &corev1.ContainerStateWaiting{Reason: reason, Message: message}
			changed = true
		}
	}
	w.mu.Unlock()
	if changed {
		w.signal()
	}
}

// containerMounts resolves a container's volume mounts. It waits for host paths until ctx ends.
func (w *worker) containerMounts(ctx context.Context, c *container, values map[string]string) ([]mount, error) {
	var mounts []mount
	for _, m := range c.spec.VolumeMounts {
		v, ok := w.volumes[m.Name]
		if !ok {
			return nil, fmt.Errorf("no volume %q", m.Name)
		}
		source := w.volumeDir(m.Name)
		if v.HostPath != nil {
			var err error
			source, err = hostPath(ctx, w.k.cfg.Root, v.HostPath, func(reason string) {
				c.wait(reasonCreating, reason)
				w.event(corev1.EventTypeWarning, "FailedMount", reason)
			})
			if err != nil {
				return nil, err
			}
		}
		sub := m.SubPath
		if m.SubPathExpr != "" {
			sub = expand(m.SubPathExpr, values)
		}
		if sub != "" {
			if !filepath.IsLocal(sub) {
				return nil, fmt.Errorf("sub-path %q leaves volume %q", sub, m.Name)
			}
			source = filepath.Join(source, resolveIn(source, sub))
			if _, err := os.Lstat(source); errors.Is(err, os.ErrNotExist) {
				if err := os.MkdirAll(source, 0o755); err != nil {
					return nil, fmt.Errorf("creating sub-path: %w", err)
				}
			}
		}
		// Only what the container may write by the API's rules is writable.
		_, _, projected := asProjections(*v)
		mounts = append(mounts, mount{source: source, target: m.MountPath, readOnly: m.ReadOnly || projected})
	}
	return mounts, nil
}
