// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package drain empties a node before it reboots.
//
// It promises two things. It never says that a node is empty when it is not: what it returns is checked
// against the Kubernetes API server, not only a cache, and what cannot be evicted is an error that names pod
// and cause. And it respects disruption budgets: pods leave through the Eviction API only, each evicted under
// its UID, so that a pod that was recreated elsewhere under the same name is never touched. Only if it was told to force
// does it delete what is left at the deadline, past the budgets; no pod is ever deleted without its grace period.
//
// A drain holds no state of its own: it may be cut at any point and repeated by any replica.
package drain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// DefaultDeadline is how long a drain may take before it fails with a *BlockedError.
const DefaultDeadline = 10 * time.Minute

// reportBlockedAfter is how many refusals in a row make a pod worth telling about: one is the normal pace of
// a disruption budget, many mean that somebody should know.
const reportBlockedAfter = 5

// Blocked says why one pod is still on the node.
type Blocked struct {
	Pod    types.NamespacedName
	Reason string
	// Budget is the disruption budget that refuses, "" if it is something else.
	Budget string
}

func (b Blocked) String() string { return b.Pod.String() + ": " + b.Reason }

// Progress is how far a drain is.
type Progress struct {
	// Left is how many pods must still leave, Evicted how many evictions were accepted.
	Left, Evicted int
	// Blocking is the first pod, by name, that keeps being refused; nil for none.
	Blocking *Blocked
}

// Observer hears of a drain while it runs. Both functions are called by the drain itself, one at a time, so they
// must not block; each may be nil.
type Observer struct {
	// Blocked is called once per pod that keeps being refused.
	Blocked func(Blocked)
	// Progress is called at each change.
	Progress func(Progress)
	// Forced is called when the deadline has passed, with the pods that are deleted now.
	Forced func([]Blocked)
}

// BlockedError means that the deadline passed with pods still on the node.
type BlockedError struct {
	Node  string
	After time.Duration
	Pods  []Blocked
}

func (e *BlockedError) Error() string {
	return fmt.Sprintf("node %s is not empty after %v: %s", e.Node, e.After, list(e.Pods))
}

// RefusedError means that the Kubernetes API server refused an eviction for good.
type RefusedError struct {
	Node string
	Pods []Blocked
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("pods of node %s cannot be evicted: %s", e.Node, list(e.Pods))
}

// Config holds everything a Drainer needs. Fields are required unless they name a default.
type Config struct {
	Client kubernetes.Interface
	// Own is the pod this process runs in, evicted last, because that ends the drain. Empty: none.
	Own      types.NamespacedName
	Deadline time.Duration // default DefaultDeadline
	// Force is whether pods that are left at the deadline are deleted, which no budget can refuse, and get half as long
	// again to end. Default: the drain fails.
	Force bool
	// PauseMin and PauseMax bound the pause before a refused eviction is tried again, which doubles from the one
	// to the other. Defaults 250 ms and 5 s.
	PauseMin, PauseMax time.Duration
	Log                *slog.Logger // default: discard
}

// Drainer drains nodes. It may be used by several goroutines at once.
type Drainer struct{ cfg Config }

// New checks cfg.
func New(cfg Config) (*Drainer, error) {
	if cfg.Client == nil {
		return nil, errors.New("drainer needs a Client")
	}
	if cfg.Deadline < 0 {
		return nil, fmt.Errorf("drain deadline %v is negative", cfg.Deadline)
	}
	if cfg.Deadline == 0 {
		cfg.Deadline = DefaultDeadline
	}
	if cfg.PauseMin <= 0 {
		cfg.PauseMin = pauseMin
	}
	if cfg.PauseMax <= 0 {
		cfg.PauseMax = pauseMax
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Drainer{cfg}, nil
}

// Drain returns nil when no pod that must leave is on the node. The node should be cordoned already.
// Errors: *BlockedError at the deadline, *RefusedError, or ctx's own when the caller gave up.
func (d *Drainer) Drain(ctx context.Context, node string, o Observer) error {
	left, err := d.attempt(ctx, newRun(d, node, o, evict), d.cfg.Deadline)
	if len(left) == 0 || !d.cfg.Force {
		return err
	}
	d.cfg.Log.Warn("drain is forced: what is left is deleted", "node", node, "after", d.cfg.Deadline, "pods", list(left))
	if o.Forced != nil {
		o.Forced(left)
	}
	_, err = d.attempt(ctx, newRun(d, node, o, remove), d.cfg.Deadline/2)
	return err
}

// Longest is how long a drain may take.
func (c *Config) Longest() time.Duration {
	if c.Force {
		return c.Deadline + c.Deadline/2
	}
	return c.Deadline
}

// attempt runs r until it ends or the time is over. Then it returns the pods that are left, and an error that names
// them.
func (d *Drainer) attempt(ctx context.Context, r *run, limit time.Duration) ([]Blocked, error) {
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := r.loop(ctx)
	if err == nil || caller.Err() != nil || ctx.Err() == nil {
		return nil, err
	}
	left := r.blocked()
	if len(left) == 0 {
		return nil, fmt.Errorf("node %s could not be drained within %v: %w", r.node, limit, err)
	}
	return left, &BlockedError{Node: r.node, After: limit, Pods: left}
}

// onNode selects the pods of one node.
func onNode(node string) string { return fields.OneTermEqualSelector("spec.nodeName", node).String() }

// watchPods keeps the pods of a node in the returned store and calls wake after each change, until ctx ends.
//
// It is one watch per drain, which the server begins with the present pods, and none between drains. One informer
// on all pods for all drains would save nothing but the watch: it costs each replica the whole cluster's pod changes
// all year (and, trimmed to what a drain looks at, still some 600 bytes of memory per pod) for a few minutes of
// drains, and the list at the end, which proves that the node is empty, would be needed all the same.
//
// current reports whether the watch began with the pods as they were then: servers too old for that give a list, which
// may come from a cache.
func (d *Drainer) watchPods(ctx context.Context, node string, wake func()) (store cache.Store, controller cache.Controller, current func() bool) {
	pods := d.cfg.Client.CoreV1().Pods(metav1.NamespaceAll)
	var streamed atomic.Bool
	store, controller = cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				streamed.Store(false)
				o.FieldSelector = onNode(node)
				return pods.List(ctx, o)
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				if o.SendInitialEvents != nil && *o.SendInitialEvents {
					streamed.Store(o.ResourceVersion == "")
				}
				o.FieldSelector = onNode(node)
				return pods.Watch(ctx, o)
			},
		},
		ObjectType: &corev1.Pod{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { wake() },
			UpdateFunc: func(any, any) { wake() },
			DeleteFunc: func(any) { wake() },
		},
	})
	return store, controller, streamed.Load
}

// live lists the pods that must leave as the Kubernetes API server knows them now, past every cache.
func (d *Drainer) live(ctx context.Context, node string) ([]*corev1.Pod, error) {
	l, err := d.cfg.Client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: onNode(node)})
	if err != nil {
		return nil, fmt.Errorf("listing pods of node %s: %w", node, err)
	}
	var pods []*corev1.Pod
	for i := range l.Items {
		if mustLeave(&l.Items[i]) {
			pods = append(pods, &l.Items[i])
		}
	}
	return pods, nil
}

// list joins what blocks, in a stable order, and cuts a long list short: it ends up in a status field.
func list(pods []Blocked) string {
	const most = 5
	texts := make([]string, 0, len(pods))
	for _, p := range pods {
		texts = append(texts, p.String())
	}
	slices.Sort(texts)
	if len(texts) > most {
		texts = append(texts[:most], fmt.Sprintf("and %d more", len(texts)-most))
	}
	return strings.Join(texts, "; ")
}
