// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/logging"
	"github.com/drydock-os/drydock/internal/setting"
)

// namespaceFile is where every pod with a service account token finds its namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// process is what a role sees of the process it runs in.
type process struct {
	env            func(string) string
	stdout, stderr io.Writer
	background     *sync.WaitGroup // what has to end before the process does
}

// logger makes the log of a role, whose levels may change until ctx ends, and makes the Kubernetes libraries use it too.
func (p process) logger(ctx context.Context, cfg logging.Config, role string) *slog.Logger {
	l := logging.New(cfg, role, p.stdout)
	libraries := l.Logger().With(logging.ComponentKey, "kubernetes")
	klog.SetSlogLogger(libraries)
	ctrllog.SetLogger(logr.FromSlogHandler(libraries.Handler()))
	p.background.Go(func() { l.Follow(ctx) })
	return l.Logger()
}

// namespace returns the namespace of the operator's objects.
func (p process) namespace() (string, error) {
	if v := p.env(namespaceSetting.Name); v != "" {
		if _, err := setting.Namespace(v); err != nil {
			return "", setting.Bad(namespaceSetting.Name, v, namespaceSetting.Allowed)
		}
		return v, nil
	}
	data, err := os.ReadFile(namespaceFile)
	if err != nil {
		return "", cli.WithHint(cli.Usagef("finding the operator's namespace: %w", err),
			"outside of a pod, set POD_NAMESPACE")
	}
	return strings.TrimSpace(string(data)), nil
}

// restConfig returns the access to the kube-apiserver: that of the pod, or of the file when one is named.
// Nothing waits on a client-side rate limit: the server has fairness of its own.
func (p process) restConfig(component, kubeconfig string) (*rest.Config, error) {
	cfg, err := rest.InClusterConfig()
	if kubeconfig != "" {
		cfg, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return nil, cli.WithHint(fmt.Errorf("finding the Kubernetes API: %w", err),
			"outside of a pod, name a file with --kubeconfig")
	}
	cfg.UserAgent = component + "/" + version
	cfg.QPS = -1
	return cfg, nil
}
