// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	brupopv2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/deploy"
	"github.com/drydock-os/drydock/lab/kubelet"
	"github.com/drydock-os/drydock/lab/machine"
	"github.com/drydock-os/drydock/lab/network"
	"github.com/drydock-os/drydock/lab/plane"
)

// The lab's addresses; they exist only inside its own network namespace.
var (
	planeAddress  = netip.MustParseAddr("10.0.0.1")
	repoAddress   = netip.MustParseAddr("10.0.0.2")
	firstNode     = netip.MustParseAddr("10.0.1.1")
	podCIDR       = netip.MustParsePrefix("10.244.0.0/16")
	serviceCIDR   = netip.MustParsePrefix("10.96.0.0/16")
	kubernetesIP  = netip.MustParseAddr("10.96.0.1")
	clusterDNS    = netip.MustParseAddr("10.96.0.10")
	settleLimit   = 60 * time.Second // for nodes to be Ready and the workload complete
	settlePerNode = 100 * time.Millisecond
	operatorImage = "operator" // directory of the operator's container root
)

// maxSeed is one past the largest update seed of a host (update waves divide hosts by it).
const maxSeed = 2048

// Lab is a running lab.
type Lab struct {
	cfg     Config
	began   time.Time
	display *display
	tracker *tracker

	network  *network.Network
	plane    *plane.Plane
	repo     *repository
	client   client.Client
	machines []*machine.Machine
	images   map[string]string
	manifest manifest
	held     int64 // replicas of the controller that Roll starts; 0 if they run already

	mu       sync.Mutex
	kubelets map[string]*kubelet.Kubelet // the present boot's, by node
	injected map[int]bool                // faults that happened

	running context.Context // ends when the lab does; only asked whether it has
	work    sync.WaitGroup
	stop    context.CancelFunc
	failed  chan error
}

// Start brings a lab up to the point where all nodes are Ready, the workload runs and the operator is
// installed, but no node is labelled yet. Close ends it. A failed Start has cleaned up.
func Start(ctx context.Context, cfg Config) (*Lab, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	// The Kubernetes libraries log through process-wide loggers.
	ctrllog.SetLogger(logr.FromSlogHandler(cfg.Log.Handler()))
	klog.SetSlogLogger(cfg.Log)
	now := time.Now()
	l := &Lab{
		cfg: cfg, began: now, display: newDisplay(cfg.Console, now),
		kubelets: map[string]*kubelet.Kubelet{}, injected: map[int]bool{},
		images: map[string]string{}, failed: make(chan error, 1),
	}
	l.tracker = newTracker(l.nodeNames(), cfg.To, cfg.MaxConcurrent, cfg.Replicas, budget(cfg.Replicas, cfg.Simulated != nil))
	l.running, l.stop = context.WithCancel(ctx)
	err := l.start(l.running)
	if err == nil {
		return l, nil
	}
	if ctx.Err() == nil {
		select { // a part that died says more than whoever waited for it
		case cause := <-l.failed:
			err = errors.Join(err, cause)
		default:
		}
	}
	l.Close()
	return nil, err
}

func (l *Lab) start(ctx context.Context) error {
	if err := l.network0(); err != nil {
		return err
	}
	if err := l.prepare(ctx); err != nil {
		return err
	}
	l.spawn("the cluster network", func() error {
		return l.network.Run(ctx, kubernetes.NewForConfigOrDie(l.plane.AdminConfig()))
	})
	if err := l.install(ctx); err != nil {
		return err
	}
	if err := l.watch(ctx); err != nil {
		return err
	}
	begin := l.powerOn
	if l.cfg.Simulated != nil {
		begin = l.gather
	}
	if err := begin(ctx); err != nil {
		return err
	}
	if !l.cfg.WithoutOperator {
		if err := deployWorkload(ctx, l.client, l.cfg.Replicas, l.cfg.Simulated != nil); err != nil {
			return err
		}
	}
	return l.waitSettled(ctx)
}

// prepare starts the control plane and, meanwhile, makes what the hosts run and may update to.
func (l *Lab) prepare(ctx context.Context) error {
	if l.cfg.Simulated != nil {
		l.display.say("starting the control plane")
		return l.startPlane(ctx)
	}
	l.display.say("starting the control plane, building images %s and %s", l.cfg.From, l.cfg.To)
	built := make(chan error, 1)
	go func() { built <- l.publish(ctx) }()
	planeErr := l.startPlane(ctx)
	if err := errors.Join(planeErr, <-built); err != nil {
		return err
	}
	l.display.say("control plane is ready; repository at %s", l.repo.url())
	return nil
}

// network0 makes the addresses that exist before anything runs.
func (l *Lab) network0() error {
	var err error
	l.network, err = network.New(network.Config{PodCIDR: podCIDR, ServiceCIDR: serviceCIDR, DNS: clusterDNS, Log: l.cfg.Log})
	if err != nil {
		return fmt.Errorf("making the lab's network: %w", err)
	}
	for _, a := range []netip.Addr{planeAddress, repoAddress, kubernetesIP} {
		if err := l.network.AddAddress(a); err != nil {
			return fmt.Errorf("making the lab's network: %w", err)
		}
	}
	return nil
}

func (l *Lab) startPlane(ctx context.Context) error {
	var err error
	l.plane, err = plane.Start(ctx, plane.Config{
		Binary: l.cfg.Binaries.ControlPlane, Dir: filepath.Join(l.cfg.Dir, "plane"),
		Address: planeAddress, ServiceIP: kubernetesIP, ServiceCIDR: serviceCIDR,
		Now: l.began, Log: l.cfg.Log,
	})
	if err != nil {
		return fmt.Errorf("starting the control plane: %w", err)
	}
	l.spawn("the control plane", func() error {
		select {
		case err := <-l.plane.Failed():
			return err
		case <-ctx.Done():
			return nil
		}
	})
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	l.client, err = client.New(l.plane.AdminConfig(), client.Options{Scheme: scheme})
	if err != nil {
		return fmt.Errorf("making the lab's client: %w", err)
	}
	return nil
}

// install makes the operator's image and, unless somebody else's is wanted, applies the operator's own manifests.
func (l *Lab) install(ctx context.Context) error {
	for ref, dir := range l.cfg.Images {
		l.images[ref] = dir
	}
	var err error
	if l.manifest, err = parseManifest(deploy.Manifest); err != nil {
		return err
	}
	root := filepath.Join(l.cfg.Dir, operatorImage)
	if err := makeOperatorImage(root, l.cfg.Binaries); err != nil {
		return err
	}
	for _, ref := range l.manifest.images() {
		if _, taken := l.images[ref]; !taken {
			l.images[ref] = root
		}
	}
	if l.cfg.WithoutOperator {
		return nil
	}
	if err := l.manifest.setEnv("Deployment", controllerDeployment, "MAX_CONCURRENT_UPDATE", concurrencyValue(l.cfg.MaxConcurrent)); err != nil {
		return err
	}
	if l.cfg.Simulated != nil {
		if err := l.cfg.Simulated.adapt(l.manifest); err != nil {
			return err
		}
	}
	if l.cfg.JoinFirst {
		if l.held, err = l.manifest.hold(controllerDeployment); err != nil {
			return err
		}
	}
	l.display.say("installing the operator: %d objects", len(l.manifest))
	return l.manifest.apply(ctx, l.plane.AdminConfig())
}

// makeOperatorImage lays out the container root that the operator's image has: three commands.
func makeOperatorImage(root string, b Binaries) error {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return fmt.Errorf("making the operator's image: %w", err)
	}
	for name, from := range map[string]string{"agent": b.Agent, "apiserver": b.Drydock, "controller": b.Drydock} {
		if err := linkOrCopy(from, filepath.Join(root, name)); err != nil {
			return fmt.Errorf("making the operator's image: %w", err)
		}
	}
	return nil
}

func (l *Lab) watch(ctx context.Context) error {
	done, err := watchAll(ctx, l.plane.AdminConfig(), l.tracker, !l.cfg.WithoutOperator, func(s *brupopv2.BottlerocketShadow) {
		l.injectFaults(ctx, s)
	})
	if err != nil {
		return err
	}
	l.spawn("the lab's watches", func() error { return <-done })
	return nil
}

// powerOn makes a disk for each host and starts its machine.
func (l *Lab) powerOn(ctx context.Context) error {
	for i, name := range l.nodeNames() {
		address := nodeAddress(i)
		if err := l.network.AddAddress(address); err != nil {
			return fmt.Errorf("making the address of %s: %w", name, err)
		}
		rc, err := l.plane.ClientConfig("system:node:"+name, "system:nodes")
		if err != nil {
			return fmt.Errorf("making the identity of %s: %w", name, err)
		}
		m, err := machine.New(machine.Config{
			Name: name, Dir: l.hostDir(name), Cache: filepath.Join(l.cfg.Dir, "systems"),
			RebootTime: l.cfg.RebootTime, NewBootID: uuid.NewString,
			Services: func(ctx context.Context, b machine.Boot) error { return l.runNode(ctx, name, address, rc, b) },
			Notify:   l.machineEvent, Log: l.cfg.Log,
		})
		if err != nil {
			return err
		}
		if err := l.makeDisk(ctx, m, name, i*maxSeed/l.cfg.Nodes); err != nil {
			return fmt.Errorf("making the disk of %s: %w", name, err)
		}
		l.machines = append(l.machines, m)
	}
	l.display.say("powering on %d hosts", len(l.machines))
	for _, m := range l.machines {
		l.spawn("a host", func() error { return m.Run(ctx) })
	}
	return nil
}

// runNode is one boot of one node's kubelet.
func (l *Lab) runNode(ctx context.Context, name string, address netip.Addr, rc *rest.Config, b machine.Boot) error {
	certificate, clients, err := l.plane.Serving(name, address)
	if err != nil {
		return err
	}
	k, err := kubelet.New(kubelet.Config{
		NodeName: name, NodeIP: address, REST: rc, Serving: &kubelet.Serving{Certificate: certificate, ClientCAs: clients},
		Root: filepath.Join(l.hostDir(name), "root"), StateDir: filepath.Join(l.hostDir(name), "kubelet"),
		Images: l.images, Network: l.network,
		BootID: b.ID, OSImage: b.Release.PrettyName, MachineID: name,
		Log: l.cfg.Log, ContainerOutput: l.containerOutput(name),
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.kubelets[name] = k
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.kubelets, name)
		l.mu.Unlock()
	}()
	return k.Run(ctx)
}

// spawn runs a part of the lab until Close; its error ends whoever waits on the lab.
func (l *Lab) spawn(what string, run func() error) {
	l.work.Go(func() {
		if err := run(); err != nil {
			select {
			case l.failed <- fmt.Errorf("%s failed: %w", what, err):
			default: // the first failure is the cause
			}
			l.tracker.wake()
		}
	})
}

// waitSettled waits until every node is Ready and the workload is complete.
func (l *Lab) waitSettled(ctx context.Context) error {
	limit := time.NewTimer(settleLimit + time.Duration(l.cfg.Nodes)*settlePerNode)
	defer limit.Stop()
	for {
		l.show(time.Now())
		missing := l.tracker.missing(!l.cfg.WithoutOperator)
		if missing == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-l.failed:
			return err
		case <-limit.C:
			return fmt.Errorf("the cluster did not settle within %v: %s", settleLimit, missing)
		case <-l.tracker.changed:
		}
	}
}

// show shows the nodes as they are now.
func (l *Lab) show(now time.Time) {
	rows := l.tracker.rows(now)
	if l.cfg.Simulated != nil {
		rows = tally(rows)
	}
	l.display.show(rows)
}

// Close ends everything the lab started and returns when it is gone.
func (l *Lab) Close() {
	l.stop()
	if l.plane != nil {
		l.plane.Stop()
	}
	if l.repo != nil {
		l.repo.close()
	}
	l.work.Wait()
	l.display.finish()
}

func (l *Lab) nodeNames() []string {
	names := make([]string, l.cfg.Nodes)
	for i := range names {
		names[i] = fmt.Sprintf("node-%d", i+1)
	}
	return names
}

func (l *Lab) hostDir(name string) string { return filepath.Join(l.cfg.Dir, "hosts", name) }

// nodeAddress counts up from firstNode.
func nodeAddress(i int) netip.Addr {
	b := firstNode.As4()
	n := int(b[2])<<8 + int(b[3]) + i
	b[2], b[3] = byte(n>>8), byte(n)
	return netip.AddrFrom4(b)
}
