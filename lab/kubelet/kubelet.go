// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package kubelet runs the pods of one lab node as plain processes, from the same pod specs that a cluster
// gets and without a container engine.
//
// A container is a process with its own mount, pid and host name namespaces inside its pod's network
// namespace. Its root is an image directory, read-only, plus what the pod spec mounts: the paths, variables,
// tokens and addresses that the spec promises are really there. A pod of which no image is known is simulated:
// it is Running at once, has an address, and is gone when its grace period ends.
//
// The lab favours speed where a real kubelet favours calm: until a probe succeeds for the first time it is
// tried at least every 100 ms (failures still count once per period), the first restart is immediate and later ones
// back off from 250 ms to 10 s, and files of secrets and config maps follow within milliseconds, because each
// object is watched.
//
// Not as in a cluster: resource limits, users, capabilities and other security settings than
// readOnlyRootFilesystem have no effect, nor have lifecycle hooks; /sys is missing and /proc shows the lab's
// processes; an image knows no default command, so a container without one runs /entrypoint. Pods with volumes
// of other kinds than emptyDir, hostPath, secret, configMap, downwardAPI and projected, or with init containers
// that keep running, wait for ever and say why. Needs Linux 5.12.
package kubelet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"

	"github.com/drydock-os/drydock/lab/network"
)

// Config describes one node. Fields are required unless they name a default.
type Config struct {
	NodeName string
	NodeIP   netip.Addr   // address of the node and of its host-network pods; must exist in the lab's namespace
	REST     *rest.Config // identity system:node:<NodeName>
	Root     string       // host directory: hostPath volumes live below it
	StateDir string       // pods' volumes and logs; the same for every boot of this node

	// Images maps an image reference, with or without tag, to the directory that is its root file system.
	// Pods of other images are simulated. Default: none.
	Images  map[string]string
	Network *network.Network
	Labels  map[string]string // of the Node, besides the well-known ones

	BootID        string // new for each boot
	OSImage       string
	KernelVersion string // default: the machine's
	MachineID     string

	// Serving lets the API server read logs; default: the kubelet answers nobody.
	Serving *Serving

	Log *slog.Logger // default: discard
	// ContainerOutput returns where whole lines that a container prints go. It is called for each start of a
	// container; the writer is used by one goroutine at a time. Default: output is discarded.
	ContainerOutput func(pod, container string) io.Writer
}

func (c *Config) check() error {
	switch {
	case c.NodeName == "":
		return errors.New("no node name")
	case !c.NodeIP.IsValid():
		return errors.New("no node address")
	case c.REST == nil:
		return errors.New("no API server configuration")
	case c.Network == nil:
		return errors.New("no network")
	case !filepath.IsAbs(c.Root):
		return fmt.Errorf("host directory %q is not absolute", c.Root)
	case !filepath.IsAbs(c.StateDir):
		return fmt.Errorf("state directory %q is not absolute", c.StateDir)
	case c.BootID == "":
		return errors.New("no boot id")
	}
	for ref, dir := range c.Images {
		if info, err := os.Stat(dir); err != nil {
			return fmt.Errorf("image %q: %w", ref, err)
		} else if !info.IsDir() || !filepath.IsAbs(dir) {
			return fmt.Errorf("image %q: %q is not an absolute path of a directory", ref, dir)
		}
	}
	return nil
}

// Kubelet is one boot of one node.
type Kubelet struct {
	cfg     Config
	log     *slog.Logger
	client  kubernetes.Interface
	objects *objectStore         // set by Run
	events  record.EventRecorder // set by Run

	mu      sync.Mutex
	workers map[types.UID]*worker
	api     apiService // cached once known
}

// New checks cfg. It starts nothing.
func New(cfg Config) (*Kubelet, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("kubelet configuration: %w", err)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.ContainerOutput == nil {
		cfg.ContainerOutput = func(string, string) io.Writer { return io.Discard }
	}
	if cfg.KernelVersion == "" {
		cfg.KernelVersion = machineKernel()
	}
	conf := rest.CopyConfig(cfg.REST)
	conf.QPS = -1                                  // the client's own rate limiter would delay starts after a reboot
	conf.ContentType = runtime.ContentTypeProtobuf // as a real kubelet's
	conf.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	if conf.UserAgent == "" {
		conf.UserAgent = "drydock-lab-kubelet"
	}
	client, err := kubernetes.NewForConfig(conf)
	if err != nil {
		return nil, fmt.Errorf("kubelet configuration: %w", err)
	}
	log := cfg.Log.With("node", cfg.NodeName)
	return &Kubelet{
		cfg:     cfg,
		log:     log,
		client:  client,
		workers: map[types.UID]*worker{},
	}, nil
}

// Run is the node being on: it registers the Node, renews its Lease and runs the pods bound to it. The end of
// ctx is a power cut: all processes are killed, nothing is reported, and Run returns nil once they are gone.
// A new Kubelet with the same StateDir and another boot id is the next boot of the same node: it starts the
// containers of the pods that are bound to it again. Run may be called once.
func (k *Kubelet) Run(ctx context.Context) error {
	if err := os.MkdirAll(k.podsDir(), 0o700); err != nil {
		return fmt.Errorf("creating state directory: %w", err)
	}
	if err := os.MkdirAll(k.cfg.Root, 0o755); err != nil {
		return fmt.Errorf("creating host directory: %w", err)
	}
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: k.client.CoreV1().Events("")})
	k.events = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet", Host: k.cfg.NodeName})

	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { // as a real kubelet, which does not keep the pods waiting for it
		if k.registerNode(ctx) == nil {
			k.log.Info("node ready", "boot_id", k.cfg.BootID, "os", k.cfg.OSImage)
			k.renewLease(ctx)
		}
	})
	if k.cfg.Serving != nil {
		wg.Go(func() {
			if err := k.serve(ctx); err != nil {
				k.log.Error("logs cannot be read", "error", err)
			}
		})
	}
	k.objects = newObjectStore(k.client, k.log, func(f func(context.Context)) { wg.Go(func() { f(ctx) }) })
	err := k.watchPods(ctx)
	k.log.Info("node off", "boot_id", k.cfg.BootID)
	return ifRunning(ctx, err)
}

// ifRunning drops errors that are only the consequence of the power cut.
func ifRunning(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Process is one running container.
type Process struct {
	Namespace, Pod string
	UID            types.UID
	Container      string
	PID            int // in the lab's pid namespace
}

// Processes lists the containers that run now, ordered by namespace, pod and container. Simulated ones have no
// process and are not listed.
func (k *Kubelet) Processes() []Process {
	k.mu.Lock()
	workers := make([]*worker, 0, len(k.workers))
	for _, w := range k.workers {
		workers = append(workers, w)
	}
	k.mu.Unlock()
	var all []Process
	for _, w := range workers {
		all = append(all, w.processes()...)
	}
	slices.SortFunc(all, func(a, b Process) int {
		return strings.Compare(a.Namespace+"/"+a.Pod+"/"+a.Container, b.Namespace+"/"+b.Pod+"/"+b.Container)
	})
	return all
}

// image finds the directory of an image reference: the reference itself, else the reference without digest
// and tag. The empty string means that the image is not known.
func (k *Kubelet) image(ref string) string {
	if dir, ok := k.cfg.Images[ref]; ok {
		return dir
	}
	ref, _, _ = strings.Cut(ref, "@")
	if dir, ok := k.cfg.Images[ref]; ok {
		return dir
	}
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') { // not a registry's port
		ref = ref[:i]
	}
	return k.cfg.Images[ref]
}

func (k *Kubelet) podsDir() string { return filepath.Join(k.cfg.StateDir, "pods") }
