// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/cli"
)

// cluster is the access to one cluster. Making one sends nothing.
type cluster struct {
	// namespace is that of the operator.
	namespace string
	// host is the address of the API server, for errors.
	host   string
	rest   *rest.Config
	client client.Client
	// program is how the person called us, for hints.
	program string

	// logs returns the end of what a container printed; previous is the run before the last restart.
	logs func(ctx context.Context, pod, container string, previous bool) (io.ReadCloser, error)
	// serverVersion returns the version of the API server.
	serverVersion func(ctx context.Context) (string, error)
}

func newCluster(cfg *rest.Config, namespace, program string) (*cluster, error) {
	direct, err := client.New(cfg, client.Options{Scheme: scheme(), Mapper: mapper()})
	if err != nil {
		return nil, fmt.Errorf("setting up the access to %s: %w", cfg.Host, err)
	}
	set, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("setting up the access to %s: %w", cfg.Host, err)
	}
	return &cluster{
		namespace: namespace, host: cfg.Host, rest: cfg, client: direct, program: program,
		logs: func(ctx context.Context, pod, container string, previous bool) (io.ReadCloser, error) {
			lines, size := int64(logLines), int64(logBytes)
			return set.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{
				Container: container, Previous: previous, Timestamps: true, TailLines: &lines, LimitBytes: &size,
			}).Stream(ctx)
		},
		serverVersion: func(ctx context.Context) (string, error) {
			var info struct {
				GitVersion string `json:"gitVersion"`
			}
			body, err := set.Discovery().RESTClient().Get().AbsPath("/version").DoRaw(ctx)
			if err != nil {
				return "", err
			}
			if err := decodeJSON(body, &info); err != nil {
				return "", fmt.Errorf("reading the server's version: %w", err)
			}
			return info.GitVersion, nil
		},
	}, nil
}

func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	// Both only add types to an empty scheme and have no way to fail there.
	_ = clientgoscheme.AddToScheme(s)
	_ = v2.AddToScheme(s)
	return s
}

// mapper knows the kinds that are read here. Asking the server for them would take several requests per command.
func mapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	core, apps := corev1.SchemeGroupVersion, appsv1.SchemeGroupVersion
	// The caches ask for a list's kind, too.
	add := func(k schema.GroupVersionKind, scope meta.RESTScope) {
		m.Add(k, scope)
		m.Add(k.GroupVersion().WithKind(k.Kind+"List"), scope)
	}
	for _, k := range []schema.GroupVersionKind{
		core.WithKind("Pod"), core.WithKind("Event"), apps.WithKind("Deployment"), apps.WithKind("DaemonSet"),
		coordinationv1.SchemeGroupVersion.WithKind("Lease"), v2.GroupVersion.WithKind("BottlerocketShadow"),
	} {
		add(k, meta.RESTScopeNamespace)
	}
	add(core.WithKind("Node"), meta.RESTScopeRoot)
	return m
}

// explain adds what was being done to an error of a request, and the next thing to try.
func (c *cluster) explain(err error, verb, resource string) error {
	if err == nil {
		return nil
	}
	wrapped := fmt.Errorf("%s %s: %w", gerund[verb], resource, err)
	netErr, urlErr := net.Error(nil), (*url.Error)(nil)
	switch {
	case errors.Is(err, context.Canceled):
		return wrapped
	case apierrors.IsForbidden(err):
		return cli.WithHint(wrapped, "you may not %s %s: ask for that right, or choose another user or --context", verb, resource)
	case apierrors.IsUnauthorized(err):
		return cli.WithHint(wrapped, "the cluster does not accept your credentials: log in again, or choose another --context")
	case resource == shadows && (meta.IsNoMatchError(err) || apierrors.IsNotFound(err)):
		return cli.WithHint(wrapped, "the operator is not installed in this cluster (it has no BottlerocketShadow definition): install it, or choose another --context")
	case errors.As(err, &netErr), errors.As(err, &urlErr), errors.Is(err, context.DeadlineExceeded):
		return cli.WithHint(fmt.Errorf("no cluster reachable at %s: %w", c.host, wrapped),
			"is this the right cluster and does it run? 'kubectl config current-context' tells which one it is; choose another with --context or --kubeconfig")
	}
	return wrapped
}

// Resources, as people and rights name them.
const (
	shadows     = "bottlerocketshadows"
	nodes       = "nodes"
	pods        = "pods"
	deployments = "deployments"
	daemonSets  = "daemonsets"
	leases      = "leases"
	eventsName  = "events"
)

// gerund says a verb of the API as part of an error.
var gerund = map[string]string{"list": "listing", "get": "reading", "watch": "watching"}

// list reads all objects that the options select.
func (c *cluster) list(ctx context.Context, list client.ObjectList, resource string, opts ...client.ListOption) error {
	return c.explain(c.client.List(ctx, list, opts...), "list", resource)
}

// short is an error without the address of each request in it, for a warning of one line.
func short(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
