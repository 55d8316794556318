// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/apiserver"
	"github.com/drydock-os/drydock/internal/apiserver/certs"
	"github.com/drydock-os/drydock/internal/apiserver/drain"
	"github.com/drydock-os/drydock/internal/cli"
)

// releaseTimeout bounds release-nodes: thousands of nodes take seconds, and helm waits five minutes.
const releaseTimeout = 4 * time.Minute

// apiServerCommand is the role that writes for the agents.
func apiServerCommand(p process) *cobra.Command {
	cfg := apiserver.Config{PodName: p.env("POD_NAME")}
	var kubeconfig, metricsAddress string
	cmd := &cobra.Command{
		Use:   "apiserver",
		Short: "Serve the nodes' agents: report status, cordon, drain (every replica works)",
		Long: `Serve the nodes' agents: report status, cordon, drain (every replica works).

Environment:
  APISERVER_INTERNAL_PORT   port for the agents, HTTPS (default 8443)
  TLS_MODE                  own: certificates of an authority of its own; files: those in /etc/brupop-tls-keys (default own)
  DRAIN_TIMEOUT             how long a node may take to become empty (default 10m)
  POD_NAME                  pod of this replica, which is evicted last from its node
  POD_NAMESPACE             namespace of the operator's objects (default: that of the pod)
  LOGGING_FORMATTER         json, or full, compact, pretty for text (default pretty)
  TRACING_FILTER_DIRECTIVE  trace, debug, info, warn, error or off (default info)`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := p.logger()
			if err != nil {
				return err
			}
			cfg.Log = log
			port, err := p.apiServerEnv(&cfg)
			if err != nil {
				return err
			}
			if cfg.REST, err = p.restConfig("drydock-apiserver", kubeconfig); err != nil {
				return err
			}
			if cfg.Listener, err = listen(cmd, net.JoinHostPort("", strconv.Itoa(int(port)))); err != nil {
				return cli.WithHint(err, "set APISERVER_INTERNAL_PORT to a free port")
			}
			defer cfg.Listener.Close()
			if metricsAddress != "" {
				if cfg.MetricsListener, err = listen(cmd, metricsAddress); err != nil {
					return cli.WithHint(err, "choose another --metrics-address")
				}
				defer cfg.MetricsListener.Close()
			}
			s, err := apiserver.New(cfg)
			if err != nil {
				return err
			}
			return s.Run(cmd.Context())
		},
	}
	cmd.AddCommand(releaseNodesCommand(p))
	f := cmd.Flags()
	f.StringVar(&kubeconfig, "kubeconfig", "", "file with the access to the Kubernetes API (default: that of the pod)")
	f.StringVar(&metricsAddress, "metrics-address", ":8080", "where to serve /metrics, empty for nowhere")
	return cmd
}

// releaseNodesCommand is for the end of an installation.
func releaseNodesCommand(p process) *cobra.Command {
	var kubeconfig string
	cmd := &cobra.Command{
		Use:   "release-nodes",
		Short: "Lift the operator's cordons and other marks from all nodes, after it was uninstalled",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := p.logger()
			if err != nil {
				return err
			}
			cfg, err := p.restConfig("drydock-apiserver", kubeconfig)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), releaseTimeout)
			defer cancel()
			n, err := apiserver.ReleaseNodes(ctx, cfg, log)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.stdout, "marks lifted from %d nodes\n", n)
			return err
		},
	}
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "file with the access to the Kubernetes API (default: that of the pod)")
	return cmd
}

// apiServerEnv reads the environment into cfg and returns the port for the agents.
func (p process) apiServerEnv(cfg *apiserver.Config) (uint16, error) {
	var err error
	if cfg.Namespace, err = p.namespace(); err != nil {
		return 0, err
	}
	value := p.envOr("APISERVER_INTERNAL_PORT", "8443")
	port, err := strconv.ParseUint(value, 10, 16)
	if err != nil || port == 0 {
		return 0, badEnv("APISERVER_INTERNAL_PORT", value, "a port from 1 to 65535")
	}
	switch mode := p.envOr("TLS_MODE", "own"); mode {
	case "own":
	case "files":
		cfg.CertDir = certs.FilesDir
	default:
		return 0, badEnv("TLS_MODE", mode, "own or files")
	}
	value = p.envOr("DRAIN_TIMEOUT", drain.DefaultDeadline.String())
	if cfg.DrainDeadline, err = time.ParseDuration(value); err != nil || cfg.DrainDeadline <= 0 {
		return 0, badEnv("DRAIN_TIMEOUT", value, "a time above zero, such as 10m")
	}
	return uint16(port), nil
}

// listen opens a TCP port, on IPv4 and IPv6 where the address names neither.
func listen(cmd *cobra.Command, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(cmd.Context(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("opening port: %w", err)
	}
	return l, nil
}
