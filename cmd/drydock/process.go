// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/drydock-os/drydock/internal/cli"
)

// namespaceFile is where every pod with a service account token finds its namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// process is what a role sees of the process it runs in.
type process struct {
	env            func(string) string
	stdout, stderr io.Writer
}

// envOr returns an environment variable, or fallback when it is unset or empty.
func (p process) envOr(name, fallback string) string {
	if v := p.env(name); v != "" {
		return v
	}
	return fallback
}

// logger returns the logger that the environment asks for, and makes the Kubernetes libraries use it too.
// LOGGING_FORMATTER is json, or one of full, compact and pretty, which all mean text. LOGGING_ANSI_ENABLED is
// checked, and has no effect: there is no colour. TRACING_FILTER_DIRECTIVE gives the level.
func (p process) logger() (*slog.Logger, error) {
	if v := p.env("LOGGING_ANSI_ENABLED"); v != "" && !strings.EqualFold(v, "true") && !strings.EqualFold(v, "false") {
		return nil, badEnv("LOGGING_ANSI_ENABLED", v, "true or false")
	}
	opts := &slog.HandlerOptions{Level: logLevel(p.env("TRACING_FILTER_DIRECTIVE"))}
	var h slog.Handler
	switch v := p.envOr("LOGGING_FORMATTER", "pretty"); v {
	case "json":
		h = slog.NewJSONHandler(p.stdout, opts)
	case "full", "compact", "pretty":
		h = slog.NewTextHandler(p.stdout, opts)
	default:
		return nil, badEnv("LOGGING_FORMATTER", v, "full, compact, pretty or json")
	}
	log := slog.New(h)
	klog.SetSlogLogger(log)
	ctrllog.SetLogger(logr.FromSlogHandler(h))
	return log, nil
}

// logLevel finds the plain level in a list of directives of the original, whose other forms name parts that
// do not exist here. A filter never keeps a role from starting: without a plain level it is info.
func logLevel(directives string) slog.Level {
	level := slog.LevelInfo
	for d := range strings.SplitSeq(directives, ",") {
		switch strings.ToLower(strings.TrimSpace(d)) {
		case "trace", "debug":
			level = slog.LevelDebug
		case "info":
			level = slog.LevelInfo
		case "warn":
			level = slog.LevelWarn
		case "error", "off":
			level = slog.LevelError
		}
	}
	return level
}

// namespace returns the namespace of the operator's objects.
func (p process) namespace() (string, error) {
	if v := p.env("POD_NAMESPACE"); v != "" {
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

// badEnv says which variable is wrong and what it may be.
func badEnv(name, value, allowed string) error {
	return cli.Usagef("%s is %q, but may only be %s", name, value, allowed)
}
