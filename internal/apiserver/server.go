// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package apiserver is the only part of the operator that writes for agents.
//
// Agents run on every node and have no Kubernetes rights. They ask here, over TLS, with a token that is
// bound to their pod; a request is carried out only for the node that this pod runs on (package auth). The
// server creates and updates the node's BottlerocketShadow, cordons, drains and uncordons the node, and
// streams to each agent what the controller wants of its node, from one watch for all of them.
//
// Replicas are stateless and equal: each request may go to any of them, be cut and be repeated elsewhere.
package apiserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/apiserver/auth"
	"github.com/drydock-os/drydock/internal/apiserver/certs"
	"github.com/drydock-os/drydock/internal/apiserver/drain"
	"github.com/drydock-os/drydock/internal/logging"
	"github.com/drydock-os/drydock/internal/notice"
)

// componentKey tells the parts of this role apart in its log: auth, certs, conversion, drain.
const componentKey = logging.ComponentKey

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	// maxHeader leaves room for a token and nothing else.
	maxHeader = 64 << 10
	// shutdownTimeout is what a request in flight gets to finish; Kubernetes kills the pod after 30 s.
	shutdownTimeout = 20 * time.Second
	// startTimeout bounds each wait of the start; after it the process ends with the reason and is restarted.
	startTimeout = 2 * time.Minute
)

// Config holds everything a Server needs. Fields are required unless they name a default.
type Config struct {
	// REST reaches the Kubernetes API server with the rights of the apiserver's service account.
	REST *rest.Config
	// Namespace is the operator's own.
	Namespace string
	// Listener takes the agents' connections, without TLS: that is added here. Run closes it.
	Listener net.Listener
	// MetricsListener serves GET /metrics in the clear. Run closes it. Default: no metrics.
	MetricsListener net.Listener
	// CertDir is a directory with the server's certificate as tls.crt and tls.key and its authority as ca.crt, kept
	// current by somebody else. Default: the server has its own authority, in a Secret.
	CertDir string
	// PodName is the pod this replica runs in; it is evicted last from its node. Default: unknown.
	PodName string
	// DrainDeadline bounds one drain. Default drain.DefaultDeadline.
	DrainDeadline time.Duration
	// DrainForce is whether pods that are left then are deleted, past their budgets. Default: the drain fails.
	DrainForce bool
	Log        *slog.Logger // default: discard

	// For tests: the pauses of a drain between two tries and between two reports. Defaults as in production.
	drainPauseMin, drainPauseMax, drainReport time.Duration
}

// identity is where the server's certificate comes from: *certs.Manager or *certs.Files.
type identity interface {
	// Ensure returns nil when there is a certificate.
	Ensure(context.Context) error
	// Run keeps it current until ctx ends.
	Run(context.Context) error
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Authorities returns who signs the certificates, as PEM; nil if unknown.
	Authorities() []byte
}

// Server is one replica.
type Server struct {
	cfg Config
	log *slog.Logger
	// conversionLog is that of what the Kubernetes API server asks.
	conversionLog *slog.Logger
	cluster       *cluster
	auth          *auth.Authenticator
	identity      identity
	drainer       *drain.Drainer
	events        *notice.Writer
	hub           *hub
	metrics       *metrics
	releases      releaseQueue
	limits        *limits
	ready         atomic.Bool
	wanted        atomic.Bool     // shadows cannot be read before they were converted by us
	stopping      context.Context // ends when the server begins to shut down; set by Run before serving
}

// New checks cfg and makes no request.
func New(cfg Config) (*Server, error) {
	if cfg.REST == nil || cfg.Namespace == "" || cfg.Listener == nil {
		return nil, errors.New("apiserver needs REST, Namespace and Listener")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.drainReport == 0 {
		cfg.drainReport = progressInterval
	}
	s := &Server{cfg: cfg, log: cfg.Log, conversionLog: cfg.Log.With(componentKey, "conversion"), hub: newHub(), metrics: newMetrics(), releases: newReleaseQueue(), limits: newLimits()}
	var err error
	if s.cluster, err = newCluster(cfg.REST, cfg.Namespace); err != nil {
		return nil, err
	}
	kube := s.cluster.kube
	s.auth, err = auth.New(auth.Config{
		Reviews: kube.AuthenticationV1().TokenReviews(), Kube: s.cluster, Namespace: cfg.Namespace, Log: cfg.Log.With(componentKey, "auth"),
	})
	if err != nil {
		return nil, err
	}
	if cfg.CertDir != "" {
		s.identity = certs.NewFiles(cfg.CertDir, cfg.Log.With(componentKey, "certs"))
	} else {
		s.identity, err = certs.New(certs.Config{
			Secrets: kube.CoreV1().Secrets(cfg.Namespace), Namespace: cfg.Namespace, Log: cfg.Log.With(componentKey, "certs"),
		})
		if err != nil {
			return nil, err
		}
	}
	own := types.NamespacedName{}
	if cfg.PodName != "" {
		own = types.NamespacedName{Namespace: cfg.Namespace, Name: cfg.PodName}
	}
	s.drainer, err = drain.New(drain.Config{
		Client: kube, Own: own, Deadline: cfg.DrainDeadline, Force: cfg.DrainForce,
		PauseMin: cfg.drainPauseMin, PauseMax: cfg.drainPauseMax, Log: cfg.Log.With(componentKey, "drain"),
	})
	if err != nil {
		return nil, err
	}
	s.events, err = notice.NewWriter(notice.Config{
		Events:   func(namespace string) notice.Sink { return kube.EventsV1().Events(namespace) },
		Reporter: "drydock-apiserver", Log: cfg.Log.With(componentKey, "events"),
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Run serves until ctx ends, then lets short requests finish, ends streams and answers running drains with
// 503. It returns nil after such an end, and an error that names what it waited for when the start failed.
func (s *Server) Run(ctx context.Context) error {
	defer s.cfg.Listener.Close()
	if s.cfg.MetricsListener != nil {
		defer s.cfg.MetricsListener.Close()
	}
	s.stopping = ctx
	// Certificates first: objects of v1 cannot be read before they can be converted here.
	if err := s.waitFor(ctx, "certificates", s.identity.Ensure); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	s.stopping = ctx // also a failure of one part stops the others
	// Events outlive the requests that they tell of.
	telling, stopTelling := context.WithCancel(context.WithoutCancel(ctx))
	var writing sync.WaitGroup
	writing.Go(func() { s.events.Run(telling) })
	defer func() {
		stopTelling()
		writing.Wait()
	}()
	g.Go(func() error { return s.identity.Run(ctx) })
	g.Go(func() error { return s.keepTrusted(ctx) })
	g.Go(func() error {
		err := s.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		return err
	})
	agents := s.httpServer()
	g.Go(func() error {
		return serve(ctx, agents, func() error { return agents.ServeTLS(s.cfg.Listener, "", "") })
	})
	if s.cfg.MetricsListener != nil {
		plain := &http.Server{
			Handler: s.metrics.handler(), ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout,
			WriteTimeout: time.Minute, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
			ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		}
		g.Go(func() error { return serve(ctx, plain, func() error { return plain.Serve(s.cfg.MetricsListener) }) })
	}
	return g.Wait()
}

// httpServer has no timeout for whole requests, because streams and drains last long: bodies, lines and
// drains have limits of their own.
func (s *Server) httpServer() *http.Server {
	return &http.Server{
		Handler:           s.routes(),
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.identity.GetCertificate},
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 32, SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // probes that hang up

		DisableGeneralOptionsHandler: true, // else "OPTIONS *" is answered to anybody, past the routes and their checks
	}
}

// serve runs a server until ctx ends and then waits for its requests.
func serve(ctx context.Context, srv *http.Server, run func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- run() }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving HTTP: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := srv.Shutdown(stop)
	if err != nil {
		err = errors.Join(fmt.Errorf("finishing requests: %w", err), srv.Close())
	}
	if ended := <-ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// awaitCaches opens the gate when both watches have their first list.
func (s *Server) awaitCaches(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if !s.cluster.cache.WaitForCacheSync(wait) {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("waiting for the first list of agent pods and shadows: no answer within %v; does the service account have list and watch on them?", startTimeout)
	}
	s.ready.Store(true)
	s.log.Info("ready", "address", s.cfg.Listener.Addr().String())
	return nil
}

// follow waits for the Kubernetes API server and the CRD, and then keeps the caches until ctx ends.
func (s *Server) follow(ctx context.Context) error {
	err := s.waitFor(ctx, "Kubernetes API server and CustomResourceDefinition "+definitionName, func(ctx context.Context) error {
		err := s.cluster.probe(ctx)
		s.wanted.Store(needsConversion(err))
		return err
	})
	if err != nil {
		return err
	}
	if err := s.cluster.onShadowChange(ctx, s.hub.notify, s.orphaned); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.cluster.cache.Start(ctx) })
	g.Go(func() error { return s.awaitCaches(ctx) })
	g.Go(func() error { return s.release(ctx) })
	return g.Wait()
}

// waitFor repeats f with growing pauses until it succeeds, at most for startTimeout.
func (s *Server) waitFor(ctx context.Context, what string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var pause agentapi.Backoff
	for try := 1; ; try++ {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if errors.Is(err, certs.ErrBrokenSecret) {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		if try == 5 {
			s.log.Warn("waiting", "for", what, "error", err)
		}
		if agentapi.Wait(ctx, pause.Next()) != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
	}
}
