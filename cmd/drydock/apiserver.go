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
	"github.com/drydock-os/drydock/internal/logging"
	"github.com/drydock-os/drydock/internal/program"
	"github.com/drydock-os/drydock/internal/setting"
	"github.com/drydock-os/drydock/internal/termination"
)

// releaseTimeout bounds release-nodes: thousands of nodes take seconds, and helm waits five minutes.
const releaseTimeout = 4 * time.Minute

// apiServerCommand is the role that writes for the agents.
func apiServerCommand(p process) *cobra.Command {
	var env apiServerEnv
	cfg := &env.Config
	var kubeconfig, metricsAddress string
	cmd := &cobra.Command{
		Use:   "apiserver",
		Short: "Serve the nodes' agents: report status, cordon, drain (every replica works)",
		Long: "Serve the nodes' agents: report status, cordon, drain (every replica works).\n\nEnvironment:\n" +
			setting.Help(apiServerTable(&apiServerEnv{})),
		Args: program.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := p.apiServerEnv(&env)
			if err != nil {
				return err
			}
			cfg.Log = p.logger(cmd.Context(), env.log, "apiserver")
			if cfg.REST, err = p.restConfig("drydock-apiserver", kubeconfig); err != nil {
				return err
			}
			if cfg.Listener, err = listen(cmd, net.JoinHostPort("", strconv.Itoa(int(env.port)))); err != nil {
				return cli.WithHint(err, "set APISERVER_INTERNAL_PORT to a free port")
			}
			defer cfg.Listener.Close()
			if metricsAddress != "" {
				if cfg.MetricsListener, err = listen(cmd, metricsAddress); err != nil {
					return cli.WithHint(err, "choose another --metrics-address")
				}
				defer cfg.MetricsListener.Close()
			}
			s, err := apiserver.New(*cfg)
			if err != nil {
				return err
			}
			return s.Run(cmd.Context())
		},
	}
	cmd.AddCommand(p.told(releaseNodesCommand(p)))
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
		Args:  program.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var logs logging.Config
			if err := setting.Apply(p.env, logs.Settings("apiserver")); err != nil {
				return err
			}
			log := p.logger(cmd.Context(), logs, "apiserver")
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
			_, err = fmt.Fprintf(p.stdout, "marks lifted from %s\n", cli.Count(n, "node"))
			return err
		},
	}
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "file with the access to the Kubernetes API (default: that of the pod)")
	return cmd
}

// apiServerEnv is what the environment of an apiserver says.
type apiServerEnv struct {
	apiserver.Config
	port uint16
	log  logging.Config
}

// apiServerTable are the settings of the apiserver.
func apiServerTable(e *apiServerEnv) []setting.Setting {
	return append([]setting.Setting{
		{
			Name: "APISERVER_INTERNAL_PORT", Fallback: "8443", Meaning: "port for the agents, HTTPS",
			Allowed: setting.APort, Set: setting.Into(&e.port, setting.Port),
		},
		{
			Name: "TLS_MODE", Fallback: "own", Meaning: "own: certificates of an authority of its own; files: those in " + certs.FilesDir,
			Allowed: "own or files", Set: func(v string) error {
				mode, err := setting.OneOf("own", "files")(v)
				if mode == "files" {
					e.CertDir = certs.FilesDir
				}
				return err
			},
		},
		{
			Name: "DRAIN_TIMEOUT", Fallback: drain.DefaultDeadline.String(), Meaning: "how long a node may take to become empty",
			Allowed: setting.ADuration, Set: setting.Into(&e.DrainDeadline, setting.Duration),
		},
		{
			Name: "DRAIN_ON_TIMEOUT", Fallback: "abort",
			Meaning: "what happens then: abort, and the node is put back into service; or force, and the pods that are left are deleted past their budgets and get half as long again to end",
			Allowed: "abort or force", Set: func(v string) error {
				choice, err := setting.OneOf("abort", "force")(v)
				e.DrainForce = choice == "force"
				return err
			},
		},
		{
			Name: "POD_NAME", Meaning: "pod of this replica, which is evicted last from its node",
			Allowed: setting.AnObjectName, Set: setting.Into(&e.PodName, setting.ObjectName),
		},
		namespaceSetting,
		termination.Setting(),
	}, e.log.Settings("apiserver")...)
}

// apiServerEnv reads the environment into e.
func (p process) apiServerEnv(e *apiServerEnv) error {
	var err error
	if e.Namespace, err = p.namespace(); err != nil {
		return err
	}
	return setting.Apply(p.env, apiServerTable(e))
}

// listen opens a TCP port, on IPv4 and IPv6 where the address names neither.
func listen(cmd *cobra.Command, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(cmd.Context(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("opening port: %w", err)
	}
	return l, nil
}
