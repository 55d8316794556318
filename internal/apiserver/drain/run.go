// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package drain

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

const (
	// recheck is how soon the live list is asked again when it disagrees with the watch, or fails. It doubles up to
	// maxRecheck while the watch shows nothing.
	recheck    = 250 * time.Millisecond
	maxRecheck = 8 * recheck
	// silence is how long the watch is trusted that shows nothing while pods are to go. Watches are cut, resumed after
	// growing pauses, and sometimes stay open and say no more; a drain must not wait for that until its deadline.
	silence = 30 * time.Second
)

// run is one drain of one node. Only its loop touches it; evictions report through results.
type run struct {
	d        *Drainer
	node     string
	observer Observer
	send     func(context.Context, rest.Interface, *corev1.Pod) verdict // evict or remove
	pods     map[types.UID]*progress
	evicted  int
	told     Progress
	results  chan result
	changed  chan struct{}
	// heard is when the watch has shown something last, or the live list was asked in its place.
	heard time.Time
	// again is the pause before the live list is asked again.
	again time.Duration
}

// progress is how far one pod is.
type progress struct {
	name     types.NamespacedName
	asking   bool // a request is under way
	leaving  bool // accepted: wait for the watch
	gone     bool // answered 404: the watch will follow
	refusals int
	reason   string
	budget   string
	next     time.Time
	reported bool
}

type result struct {
	uid     types.UID
	verdict verdict
}

func newRun(d *Drainer, node string, o Observer, send func(context.Context, rest.Interface, *corev1.Pod) verdict) *run {
	return &run{
		d: d, node: node, observer: o, send: send,
		pods:    map[types.UID]*progress{},
		told:    Progress{Left: -1},
		results: make(chan result),
		changed: make(chan struct{}, 1),
	}
}

// loop evicts until the node is empty, ctx ends or a pod is refused for good.
func (r *run) loop(ctx context.Context) error {
	// Everything started here ends before loop returns. A request that is cut may have taken its share of the budget and
	// not evicted the pod; Kubernetes gives that back only after two minutes, in which no pod of that budget can be
	// evicted. So what was begun is finished, unless all pods are known to be gone: then nothing is left to wait for.
	sending, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()

	store, controller, current := r.d.watchPods(ctx, r.node, r.wake)
	wg.Go(func() { controller.RunWithContext(ctx) })
	select {
	case <-controller.HasSyncedChecker().Done(): // cache.WaitForCacheSync would look every 100 ms
	case <-ctx.Done():
		return fmt.Errorf("listing pods of node %s: %w", r.node, ctx.Err())
	}
	if current() && len(r.remaining(store)) == 0 { // empty from the start, and that was a moment ago
		r.tell(0)
		return nil
	}
	r.heard, r.again = time.Now(), recheck
	for {
		now := time.Now()
		left := r.remaining(store)
		r.tell(len(left))
		wait := r.again
		if len(left) == 0 || now.Sub(r.heard) >= silence {
			live, err := r.d.live(ctx, r.node)
			if err == nil && len(live) == 0 {
				for _, p := range r.pods {
					if p.asking { // the pod went before the answer came
						r.evicted++
					}
				}
				cut()
				r.tell(0)
				return nil
			}
			if err != nil {
				r.d.cfg.Log.Warn("listing pods failed, trying again", "node", r.node, "error", err)
			}
			r.forgive(live) // answered 404 or 409, and yet they are there
			if err == nil {
				r.bury(left, live)
			}
			r.heard, r.again = now, min(2*r.again, maxRecheck)
		} else {
			wait = min(r.evictAll(ctx, sending, &wg, left, now), silence-now.Sub(r.heard))
		}
		if err := r.await(ctx, wait); err != nil {
			return err
		}
	}
}

// await takes results until something changed that calls for another look, at most for the given time.
func (r *run) await(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("draining node %s: %w", r.node, ctx.Err())
	case res := <-r.results:
		return r.settle(res)
	case <-r.changed:
		r.heard, r.again = time.Now(), recheck
	case <-timer.C:
	}
	return nil
}

// remaining returns the pods that must leave as the watch knows them, and forgets those that left.
func (r *run) remaining(store cache.Store) []*corev1.Pod {
	var left []*corev1.Pod
	seen := map[types.UID]bool{}
	for _, o := range store.List() {
		pod, ok := o.(*corev1.Pod)
		if !ok || !mustLeave(pod) {
			continue
		}
		seen[pod.UID] = true
		if p := r.pods[pod.UID]; p != nil && p.gone {
			continue
		}
		left = append(left, pod)
	}
	for uid, p := range r.pods {
		if !seen[uid] && !p.asking {
			delete(r.pods, uid)
		}
	}
	return left
}

// evictAll starts what is due and returns how long until the next thing is. Requests are sent with a context of their own.
func (r *run) evictAll(ctx, sending context.Context, wg *sync.WaitGroup, left []*corev1.Pod, now time.Time) time.Duration {
	wait := time.Hour // the watch and the results wake us, this only has to be finite
	for _, pod := range left {
		p := r.pods[pod.UID]
		if p == nil {
			p = &progress{name: types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}}
			r.pods[pod.UID] = p
		}
		if pod.DeletionTimestamp != nil {
			p.leaving, p.reason = true, "still terminating"
		}
		if p.asking || p.leaving {
			continue
		}
		if p.name == r.d.cfg.Own && len(left) > 1 {
			p.reason = "waits for the other pods, because it runs the drain"
			continue
		}
		if d := p.next.Sub(now); d > 0 {
			wait = min(wait, d)
			continue
		}
		p.asking = true
		wg.Go(func() {
			res := result{pod.UID, r.send(sending, r.d.cfg.Client.PolicyV1().RESTClient(), pod)}
			select {
			case r.results <- res:
			case <-ctx.Done():
			}
		})
	}
	return wait
}

// settle records the answer to one eviction.
func (r *run) settle(res result) error {
	p, v := r.pods[res.uid], res.verdict
	p.asking = false
	switch v.outcome {
	case leaving:
		r.evicted++
		p.leaving, p.reason, p.budget = true, "evicted, not gone yet", ""
		if v.reason != "" {
			p.reason = v.reason
		}
	case gone:
		p.gone = true
	case blocked:
		p.refusals++
		p.reason, p.budget = v.reason, v.budget
		p.next = time.Now().Add(r.d.cfg.pause(v, p.refusals, nil))
		r.d.cfg.Log.Debug("eviction refused for now", "node", r.node, "pod", p.name, "reason", v.reason, "refusals", p.refusals)
		if p.refusals >= reportBlockedAfter && !p.reported {
			p.reported = true
			r.d.cfg.Log.Warn("drain is blocked", "node", r.node, "pod", p.name, "reason", v.reason)
			if r.observer.Blocked != nil {
				r.observer.Blocked(Blocked{p.name, v.reason, v.budget})
			}
		}
	case refused:
		return &RefusedError{Node: r.node, Pods: []Blocked{{p.name, v.reason, v.budget}}}
	}
	return nil
}

// bury takes those for gone that the watch shows and the live list does not.
func (r *run) bury(left, live []*corev1.Pod) {
	there := map[types.UID]bool{}
	for _, pod := range live {
		there[pod.UID] = true
	}
	for _, pod := range left {
		if p := r.pods[pod.UID]; p != nil && !there[pod.UID] {
			p.gone = true
		}
	}
}

// forgive starts over with pods that were taken for gone and are not.
func (r *run) forgive(live []*corev1.Pod) {
	for _, pod := range live {
		if p := r.pods[pod.UID]; p != nil && p.gone {
			p.gone = false
			p.refusals++
			p.next = time.Now().Add(r.d.cfg.pause(verdict{}, p.refusals, nil))
		}
	}
}

// tell reports progress where it changed.
func (r *run) tell(left int) {
	if r.observer.Progress == nil {
		return
	}
	now := Progress{Left: left, Evicted: r.evicted}
	for _, p := range r.pods {
		if !p.reported || p.leaving || p.gone {
			continue
		}
		if now.Blocking == nil || p.name.String() < now.Blocking.Pod.String() {
			now.Blocking = &Blocked{p.name, p.reason, p.budget}
		}
	}
	same := now.Left == r.told.Left && now.Evicted == r.told.Evicted && (now.Blocking == nil) == (r.told.Blocking == nil) &&
		(now.Blocking == nil || *now.Blocking == *r.told.Blocking)
	if !same {
		r.told = now
		r.observer.Progress(now)
	}
}

// blocked names every pod that is still on the node and why.
func (r *run) blocked() []Blocked {
	var b []Blocked
	for _, p := range r.pods {
		if p.gone {
			continue
		}
		reason := p.reason
		if reason == "" {
			reason = "eviction not answered yet"
		}
		b = append(b, Blocked{p.name, reason, p.budget})
	}
	return b
}

// wake makes the loop look again.
func (r *run) wake() {
	select {
	case r.changed <- struct{}{}:
	default: // a look is due already
	}
}
