// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package controller moves the fleet: it watches nodes and their BottlerocketShadows, lets package plan
// decide, and writes the decided specs.
//
// One of several replicas acts, the holder of a Lease; the others watch along. The holder never decides on less
// than was written: its own writes count before the watch returns them, and a new holder first waits until its watch
// shows what its predecessor left. Every write names the version of the object that it was decided on,
// so that an overtaken decision is refused by the server and taken anew. A new holder also tells of the transitions that its
// predecessor wrote and died before it could tell of: the Lease says what was told. The controller writes specs, deletes
// shadows whose node is gone or no longer opted in, and writes nothing else but events and its Lease.
package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	eventsv1 "k8s.io/client-go/kubernetes/typed/events/v1"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	runtimecontroller "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/logging"
	"github.com/drydock-os/drydock/internal/notice"
	"github.com/drydock-os/drydock/internal/plan"
	"github.com/drydock-os/drydock/internal/window"
)

// Name is the controller's user agent, field manager, event source and the name of its Lease.
const Name = "drydock-controller"

// shutdownTimeout bounds how long a stopping controller waits for its writes before it gives up the Lease.
const shutdownTimeout = 10 * time.Second

// After an error the fleet is looked at again after minRetry, doubling up to maxRetry. Events do not wait
// for that, and nothing waits when there was no error.
const (
	minRetry = 50 * time.Millisecond
	maxRetry = 30 * time.Second
)

// LeaderElection holds the three times of the Lease; see Config.
type LeaderElection struct {
	// LeaseDuration is how long the others wait for a silent holder, in whole seconds; default 3s.
	LeaseDuration time.Duration
	// RenewDeadline is how long the holder tries to renew before it stops itself; default 2s.
	RenewDeadline time.Duration
	// RetryPeriod is the pause between tries of both; default 400ms. Those who wait make it up to 2.2 times as long, at
	// random, and may see the last renewal as well as its end that much later: the next one leads at most 4.4 times
	// this after LeaseDuration.
	RetryPeriod time.Duration
}

// Config holds everything a Controller needs. Fields are required unless they name a default.
type Config struct {
	// REST is the access to the kube-apiserver.
	REST *rest.Config
	// Namespace holds the BottlerocketShadows, the Lease and the operator itself.
	Namespace string
	// NodeName is the node this process runs on, to be updated last; default none.
	NodeName string
	// MaxConcurrent is how many nodes may be updated at the same time; zero starts nothing.
	MaxConcurrent plan.Limit
	// CountUnavailable is whether nodes that are not Ready or cordoned count against MaxConcurrent, too.
	CountUnavailable bool
	// UpdateCordoned is whether nodes that somebody else has cordoned are updated.
	UpdateCordoned bool
	// Timeouts bound the states of an update; default no limits.
	Timeouts plan.Timeouts
	// Schedule is when updates may start; default always.
	Schedule *window.Schedule
	// Version is that of this program, for its metrics.
	Version string
	// MetricsAddress is where /metrics is served as plain HTTP; default nowhere.
	MetricsAddress string
	// ProbeAddress is where /healthz and /readyz are served; default nowhere.
	ProbeAddress   string
	LeaderElection LeaderElection
	Log            *slog.Logger     // default: discard
	Now            func() time.Time // default: time.Now
}

// Snapshot is the fleet as the plan is to see it at the time now, but for the nodes and their shadows. A one-shot
// schedule is taken to be between its runs: only the leader knows of one that lasts longer than a minute.
func (c *Config) Snapshot(now time.Time) plan.Snapshot {
	return plan.Snapshot{
		MaxConcurrent:    c.MaxConcurrent,
		CountUnavailable: c.CountUnavailable,
		UpdateCordoned:   c.UpdateCordoned,
		Timeouts:         c.Timeouts,
		OwnNode:          c.NodeName,
		Window:           (&gate{schedule: c.Schedule}).at(now, false),
	}
}

// Controller is one replica.
type Controller struct{ cfg Config }

// New checks the configuration. It starts nothing.
func New(cfg Config) (*Controller, error) {
	le := &cfg.LeaderElection
	for _, d := range []struct {
		field    *time.Duration
		fallback time.Duration
	}{{&le.LeaseDuration, 3 * time.Second}, {&le.RenewDeadline, 2 * time.Second}, {&le.RetryPeriod, 400 * time.Millisecond}} {
		if *d.field == 0 {
			*d.field = d.fallback
		}
	}
	switch {
	case cfg.REST == nil:
		return nil, errors.New("controller: no access to a kube-apiserver given")
	case cfg.Namespace == "":
		return nil, errors.New("controller: no namespace given")
	case !cfg.MaxConcurrent.Valid():
		return nil, fmt.Errorf("controller: the limit of concurrent updates is %v, but may not be over 100%%", cfg.MaxConcurrent)
	case min(cfg.Timeouts.Staged, cfg.Timeouts.Rebooted, cfg.Timeouts.Monitoring, cfg.Timeouts.Idle) < 0:
		return nil, fmt.Errorf("controller: the timeouts of the states are %v, but none may be negative", cfg.Timeouts)
	case le.LeaseDuration%time.Second != 0: // a Lease holds whole seconds, and the others would wait for less
		return nil, fmt.Errorf("controller: lease duration %v is not a number of whole seconds", le.LeaseDuration)
	case le.RetryPeriod <= 0 || le.RenewDeadline <= le.RetryPeriod*6/5 || le.LeaseDuration <= le.RenewDeadline:
		// 6/5: the elector stretches each pause by up to a fifth, and refuses a deadline that one fills.
		return nil, fmt.Errorf("controller: lease duration %v, renew deadline %v and retry period %v must each be longer than the next, the deadline by a fifth",
			le.LeaseDuration, le.RenewDeadline, le.RetryPeriod)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Controller{cfg}, nil
}

// Run takes part in the election and moves the fleet while it holds the Lease, until ctx ends; then it
// finishes its writes, gives the Lease back and returns nil. Losing the Lease is an error: the process is to
// end and start anew.
func (c *Controller) Run(ctx context.Context) error {
	le := c.cfg.LeaderElection
	shutdown := shutdownTimeout
	mirror := newMirror()
	ledger := newLedger(mirror.known)
	lease, err := c.newLease(ledger, func(a account) {
		ledger.inherit(a)
		mirror.specsAfter(a.upTo) // the others are told
	})
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(c.cfg.REST, ctrl.Options{
		Scheme:                        newScheme(),
		Logger:                        logr.FromSlogHandler(libraryLog{c.cfg.Log.With(logging.ComponentKey, "kubernetes").Handler(), ctx.Done()}),
		MapperProvider:                knownKinds,
		Cache:                         cacheOptions(c.cfg.Namespace),
		Metrics:                       metricsserver.Options{BindAddress: "0"}, // served by serveMetrics
		HealthProbeBindAddress:        orNowhere(c.cfg.ProbeAddress),
		LeaderElection:                true,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &le.LeaseDuration,
		RenewDeadline:                 &le.RenewDeadline,
		RetryPeriod:                   &le.RetryPeriod,
		GracefulShutdownTimeout:       &shutdown,

		LeaderElectionResourceLockInterface: lease,
	})
	if err != nil {
		return fmt.Errorf("setting up the controller: %w", err)
	}
	events, err := c.newTeller()
	if err != nil {
		return err
	}
	r := newReconciler(c.cfg, mgr.GetClient(), mgr.GetAPIReader(), events, mirror, ledger, lease.heldUntil)
	for _, step := range []func(context.Context, ctrl.Manager, *reconciler) error{
		c.follow, c.plan, c.serveMetrics, c.serveProbes,
	} {
		if err := step(ctx, mgr, r); err != nil {
			return err
		}
	}
	// Events outlive the Lease by a moment: the next leader does not wait for them.
	telling, stop := context.WithCancel(context.WithoutCancel(ctx))
	var writing sync.WaitGroup
	writing.Go(func() { events.Run(telling) })
	defer func() {
		stop()
		writing.Wait()
	}()
	c.cfg.Log.Info("controller started", "namespace", c.cfg.Namespace, "max_concurrent", c.cfg.MaxConcurrent.String(), "own_node", c.cfg.NodeName)
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the controller: %w", err)
	}
	return nil
}

func (c *Controller) newTeller() (*notice.Writer, error) {
	api, err := eventsv1.NewForConfig(c.cfg.REST)
	if err != nil {
		return nil, fmt.Errorf("setting up events: %w", err)
	}
	w, err := notice.NewWriter(notice.Config{
		Events: func(namespace string) notice.Sink { return api.Events(namespace) }, Reporter: Name,
		Log: c.cfg.Log.With(logging.ComponentKey, "events"), Now: c.cfg.Now,
	})
	if err != nil {
		return nil, fmt.Errorf("setting up events: %w", err)
	}
	return w, nil
}

// follow makes every replica watch, so that a new holder of the Lease need not begin with it.
func (c *Controller) follow(ctx context.Context, mgr ctrl.Manager, r *reconciler) error {
	for _, watch := range []struct {
		object  client.Object
		handler toolscache.ResourceEventHandler
	}{{&v2.BottlerocketShadow{}, r.mirror.shadowHandler()}, {&corev1.Node{}, r.mirror.nodeHandler()}} {
		informer, err := mgr.GetCache().GetInformer(ctx, watch.object, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("watching %T: %w", watch.object, err)
		}
		registration, err := informer.AddEventHandler(watch.handler)
		if err != nil {
			return fmt.Errorf("watching %T: %w", watch.object, err)
		}
		r.synced = append(r.synced, registration.HasSyncedChecker().Done())
	}
	return nil
}

// fleet is the one key of the work queue: whatever changes, the whole fleet is looked at, since a slot given
// back by one node is taken by another. Changes that arrive meanwhile melt into one further look.
var fleet = reconcile.Request{NamespacedName: client.ObjectKey{Name: "fleet"}}

// plan makes the holder of the Lease look at the fleet, at first and after each change.
func (c *Controller) plan(_ context.Context, mgr ctrl.Manager, r *reconciler) error {
	unique := true
	ctl, err := runtimecontroller.New("fleet", mgr, runtimecontroller.Options{
		Reconciler:         r,
		SkipNameValidation: &unique, // tests run several replicas in one process
		RateLimiter:        workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](minRetry, maxRetry),
	})
	if err != nil {
		return fmt.Errorf("setting up the work queue: %w", err)
	}
	err = ctl.Watch(source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		r.mirror.onWake(func() { queue.Add(fleet) })
		queue.Add(fleet)
		return nil
	}))
	if err != nil {
		return fmt.Errorf("watching the fleet: %w", err)
	}
	return nil
}

func (c *Controller) serveMetrics(ctx context.Context, mgr ctrl.Manager, r *reconciler) error {
	if c.cfg.MetricsAddress == "" {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.cfg.MetricsAddress)
	if err != nil {
		return fmt.Errorf("listening for metrics: %w", err)
	}
	timeout := shutdownTimeout
	if err := mgr.Add(&manager.Server{
		Name:     "metrics",
		Listener: listener,
		Server: &http.Server{
			Handler:           metricsHandler(r, mgr.Elected()),
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       5 * time.Second,
			WriteTimeout:      30 * time.Second,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    16 << 10,
		},
		ShutdownTimeout: &timeout,
	}); err != nil {
		return fmt.Errorf("serving metrics: %w", errors.Join(err, listener.Close()))
	}
	return nil
}

// serveProbes answers /readyz once the caches are filled, and /healthz while no look at the fleet hangs.
func (c *Controller) serveProbes(_ context.Context, mgr ctrl.Manager, r *reconciler) error {
	synced := make(chan struct{})
	err := errors.Join(
		mgr.Add(everyReplica(func(ctx context.Context) error {
			if mgr.GetCache().WaitForCacheSync(ctx) {
				close(synced)
			}
			return nil
		})),
		mgr.AddReadyzCheck("caches", func(*http.Request) error {
			select {
			case <-synced:
				return nil
			default:
				return errors.New("the caches are not filled yet")
			}
		}),
		mgr.AddHealthzCheck("progress", func(*http.Request) error { return r.hanging() }),
	)
	if err != nil {
		return fmt.Errorf("setting up the probes: %w", err)
	}
	return nil
}

// everyReplica is a task that does not wait for the Lease.
type everyReplica func(context.Context) error

func (f everyReplica) Start(ctx context.Context) error { return f(ctx) }
func (everyReplica) NeedLeaderElection() bool          { return false }

func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	// Both only add types to an empty scheme and have no way to fail there.
	_ = clientgoscheme.AddToScheme(s)
	_ = v2.AddToScheme(s)
	return s
}

// knownKinds are the kinds that are read and written here: no need to ask the server for all that it has.
func knownKinds(*rest.Config, *http.Client) (meta.RESTMapper, error) {
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Node"), meta.RESTScopeRoot)
	mapper.Add(v2.GroupVersion.WithKind("BottlerocketShadow"), meta.RESTScopeNamespace)
	return mapper, nil
}

// orNowhere turns an empty address into what controller-runtime understands as none.
func orNowhere(address string) string {
	if address == "" {
		return "0"
	}
	return address
}
