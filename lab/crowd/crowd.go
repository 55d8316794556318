// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package crowd is thousands of nodes in one process.
//
// What the operator deals with is real: each node has a Node object with a Lease that is renewed as a kubelet does,
// its pods are started, reported and ended, and where the DaemonSet puts an agent's pod the agent's own code runs, with
// a token bound to that pod, over TLS to the apiserver's Service. What it deals with on the other side is imagined: a
// node is no machine but a fake host, whose API passes the same contract test as the real one. It takes its time to
// write an image and to reboot, and comes up with the version that was activated.
//
// All nodes share one identity towards Kubernetes and one watch on pods: what a kubelet costs is not what is
// looked at.
package crowd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/drydock-os/drydock/lab/machine"
)

// Mark is the label, and with the same name the taint, of every node of a crowd: pods that need real processes must
// not be sent there.
const Mark = "drydock.dev/lab-simulated"

// podWorkers is how many pods are looked after at once.
const podWorkers = 16

// Config describes a crowd. All fields are required.
type Config struct {
	Nodes      []Node
	REST       *rest.Config // for all nodes
	Namespace  string       // of the operator
	Dir        string       // sockets of hosts and credentials of agents; its path is short, as sockets want it
	Version    string       // the version that hosts run at first
	Offer      string       // the version that their repository has
	StageTime  time.Duration
	RebootTime time.Duration
	// Dial connects an agent to the apiserver's Service.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Notify is told what hosts do, from several goroutines.
	Notify func(machine.Event)
	Log    *slog.Logger
}

// Node is one node.
type Node struct {
	Name    string
	Address netip.Addr
}

// Crowd is all nodes.
type Crowd struct {
	cfg    Config
	client kubernetes.Interface
	nodes  map[string]*node
	pods   cache.SharedIndexInformer
	queue  workqueue.TypedRateLimitingInterface[cache.ObjectName]
	trust  trust
}

// New checks the configuration and starts nothing.
func New(cfg Config) (*Crowd, error) {
	switch {
	case len(cfg.Nodes) == 0:
		return nil, errors.New("crowd: no nodes")
	case cfg.REST == nil || cfg.Namespace == "" || cfg.Dir == "" || cfg.Version == "" || cfg.Offer == "":
		return nil, errors.New("crowd: REST, Namespace, Dir, Version and Offer are required")
	case cfg.Dial == nil || cfg.Notify == nil || cfg.Log == nil:
		return nil, errors.New("crowd: Dial, Notify and Log are required")
	case cfg.StageTime < 0 || cfg.RebootTime < 0:
		return nil, errors.New("crowd: times may not be negative")
	}
	conf := rest.CopyConfig(cfg.REST)
	conf.QPS = -1 // thousands of kubelets have no limit in common
	client, err := kubernetes.NewForConfig(conf)
	if err != nil {
		return nil, fmt.Errorf("crowd: making a client: %w", err)
	}
	c := &Crowd{cfg: cfg, client: client, nodes: make(map[string]*node, len(cfg.Nodes))}
	c.trust.file = filepath.Join(cfg.Dir, "ca.crt")
	for _, n := range cfg.Nodes {
		c.nodes[n.Name] = newNode(c, n)
	}
	return c, nil
}

// Run powers all nodes on and keeps them running until ctx ends; then it returns nil, and nothing of them is left.
func (c *Crowd) Run(ctx context.Context) error {
	if err := os.MkdirAll(c.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("making the crowd's directory: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)

	factory := informers.NewSharedInformerFactoryWithOptions(c.client, 0, informers.WithTransform(slim))
	c.pods = factory.Core().V1().Pods().Informer()
	if err := c.pods.AddIndexers(cache.Indexers{byNode: nodeOfPod}); err != nil {
		return fmt.Errorf("indexing pods: %w", err)
	}
	c.queue = workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](retryFirst, retryMost))
	defer c.queue.ShutDown()
	registration, err := c.pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    c.enqueue,
		UpdateFunc: func(_, o any) { c.enqueue(o) },
		DeleteFunc: c.enqueue,
	})
	if err != nil {
		return fmt.Errorf("watching pods: %w", err)
	}
	factory.StartWithContext(ctx)
	defer factory.Shutdown()
	defer cancel(nil) // before Shutdown, which waits
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return nil
	}
	wg.Go(func() {
		c.trust.follow(ctx, c, func() {
			for name := range c.nodes {
				c.enqueueAll(name)
			}
		})
	})
	for range podWorkers {
		wg.Go(func() { c.lookAfterPods(ctx) })
	}
	for _, n := range c.nodes {
		wg.Go(func() {
			if err := n.run(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("running %s: %w", n.Name, err))
			}
		})
	}
	<-ctx.Done()
	c.queue.ShutDown()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// Agents returns how many agents run now.
func (c *Crowd) Agents() (running int) {
	for _, n := range c.nodes {
		if n.agentRuns() {
			running++
		}
	}
	return running
}

// byNode is the index of pods by the node that they are bound to.
const byNode = "node"

func nodeOfPod(o any) ([]string, error) {
	if pod, ok := o.(*corev1.Pod); ok && pod.Spec.NodeName != "" {
		return []string{pod.Spec.NodeName}, nil
	}
	return nil, nil
}

// slim keeps of a pod what is used here.
func slim(o any) (any, error) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return o, nil
	}
	p := &corev1.Pod{ObjectMeta: pod.ObjectMeta}
	p.ManagedFields, p.OwnerReferences, p.Annotations = nil, nil, nil
	p.Spec.NodeName, p.Spec.ServiceAccountName = pod.Spec.NodeName, pod.Spec.ServiceAccountName
	for _, container := range pod.Spec.Containers {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: container.Name, Image: container.Image})
	}
	p.Status.Phase, p.Status.Conditions, p.Status.StartTime = pod.Status.Phase, pod.Status.Conditions, pod.Status.StartTime
	return p, nil
}

func (c *Crowd) enqueue(o any) {
	if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = last.Obj
	}
	if pod, ok := o.(*corev1.Pod); ok && c.nodes[pod.Spec.NodeName] != nil {
		c.queue.Add(cache.MetaObjectToName(pod))
	}
}

// enqueueAll looks after all pods of a node again.
func (c *Crowd) enqueueAll(node string) {
	pods, err := c.pods.GetIndexer().ByIndex(byNode, node)
	if err != nil {
		return // the index is there: Run made it
	}
	for _, o := range pods {
		c.enqueue(o)
	}
}
