// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// watchPods runs a worker for each pod that is bound to this node, until ctx ends and all of them have
// returned.
func (k *Kubelet) watchPods(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()

	mine := fields.OneTermEqualSelector("spec.nodeName", k.cfg.NodeName).String()
	factory := informers.NewSharedInformerFactoryWithOptions(k.client, 0,
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.FieldSelector = mine }))
	pods := factory.Core().V1().Pods().Informer()
	seen := func(o any) {
		if pod, ok := o.(*corev1.Pod); ok {
			k.dispatch(ctx, &wg, pod)
		}
	}
	registration, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    seen,
		UpdateFunc: func(_, o any) { seen(o) },
		DeleteFunc: func(o any) {
			if unknown, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = unknown.Obj
			}
			if pod, ok := o.(*corev1.Pod); ok {
				k.forget(pod.UID)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watching pods: %w", err)
	}
	factory.StartWithContext(ctx)
	defer factory.Shutdown()
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return ctx.Err()
	}
	k.removeLeftovers(ctx)
	<-ctx.Done()
	return ctx.Err()
}

// dispatch hands the newest version of a pod to its worker.
func (k *Kubelet) dispatch(ctx context.Context, wg *sync.WaitGroup, pod *corev1.Pod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if w, ok := k.workers[pod.UID]; ok {
		w.update(pod)
		return
	}
	if ctx.Err() != nil {
		return
	}
	w := newWorker(k, pod)
	k.workers[pod.UID] = w
	wg.Go(func() {
		w.run(ctx)
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.workers, pod.UID)
	})
}

// forget tells the worker of a pod that the object is gone.
func (k *Kubelet) forget(uid types.UID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if w, ok := k.workers[uid]; ok {
		w.vanish()
	}
}

// removeLeftovers deletes volumes of pods that went away while the node was off.
func (k *Kubelet) removeLeftovers(ctx context.Context) {
	entries, err := os.ReadDir(k.podsDir())
	if err != nil {
		k.log.Warn("looking for leftovers of earlier boots", "error", err)
		return
	}
	for _, e := range entries {
		k.mu.Lock()
		_, ok := k.workers[types.UID(e.Name())]
		k.mu.Unlock()
		if ok || ctx.Err() != nil {
			continue
		}
		if err := os.RemoveAll(filepath.Join(k.podsDir(), e.Name())); err != nil {
			k.log.Warn("removing leftovers of an earlier boot", "error", err)
		}
	}
}
