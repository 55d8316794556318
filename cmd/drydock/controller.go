// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/controller"
	"github.com/drydock-os/drydock/internal/plan"
)

// alwaysOpen is the schedule that lets updates start at any time, with single blanks.
const alwaysOpen = "* * * * * * *"

// controllerCommand is the role that decides which node moves when.
func controllerCommand(p process) *cobra.Command {
	cfg := controller.Config{NodeName: p.env("MY_NODE_NAME")}
	var kubeconfig string
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Decide which node is updated when (one leader among its replicas)",
		Long: `Decide which node is updated when (one leader among its replicas).

Environment:
  MAX_CONCURRENT_UPDATE     nodes updated at the same time: a whole number, 0 to start nothing, or unlimited (default 1)
  SCHEDULER_CRON_EXPRESSION only "* * * * * * *", always (default)
  MY_NODE_NAME              node of this pod, which is updated last
  POD_NAMESPACE             namespace of the operator's objects (default: that of the pod)
  LEASE_DURATION, LEASE_RENEW_DEADLINE, LEASE_RETRY_PERIOD
                            times of the leader election, each longer than the next (default 4s, 3s, 1s)
  LOGGING_FORMATTER         json, or full, compact, pretty for text (default pretty)
  TRACING_FILTER_DIRECTIVE  trace, debug, info, warn, error or off (default info)`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := p.logger()
			if err != nil {
				return err
			}
			if err := p.controllerEnv(&cfg); err != nil {
				return err
			}
			if cfg.REST, err = p.restConfig(controller.Name, kubeconfig); err != nil {
				return err
			}
			cfg.Log = log
			c, err := controller.New(cfg)
			if err != nil {
				return cli.Usage(err)
			}
			return c.Run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&kubeconfig, "kubeconfig", "", "file with the access to the Kubernetes API (default: that of the pod)")
	f.StringVar(&cfg.MetricsAddress, "metrics-address", ":8080", "where to serve /metrics, empty for nowhere")
	f.StringVar(&cfg.ProbeAddress, "probe-address", ":8081", "where to serve /healthz and /readyz, empty for nowhere")
	return cmd
}

// controllerEnv reads the environment into cfg. A value that cannot be honoured is an error now rather than a
// surprise when it would first matter.
func (p process) controllerEnv(cfg *controller.Config) error {
	var err error
	if cfg.Namespace, err = p.namespace(); err != nil {
		return err
	}
	limit := p.envOr("MAX_CONCURRENT_UPDATE", "1")
	if cfg.MaxConcurrent, err = plan.ParseLimit(limit); err != nil {
		return badEnv("MAX_CONCURRENT_UPDATE", limit, "a whole number from 0, where 0 starts nothing, or unlimited")
	}
	if cron := p.env("SCHEDULER_CRON_EXPRESSION"); cron != "" && strings.Join(strings.Fields(cron), " ") != alwaysOpen {
		return cli.WithHint(badEnv("SCHEDULER_CRON_EXPRESSION", cron, "\""+alwaysOpen+"\", which means always"),
			"update windows arrive in a later release; until then remove the variable, or set MAX_CONCURRENT_UPDATE=0 to start nothing")
	}
	for _, name := range []string{"UPDATE_WINDOW_START", "UPDATE_WINDOW_STOP"} {
		if v := p.env(name); v != "" {
			return cli.WithHint(badEnv(name, v, "unset"),
				"update windows arrive in a later release; until then remove the variable, or set MAX_CONCURRENT_UPDATE=0 to start nothing")
		}
	}
	for name, field := range map[string]*time.Duration{
		"LEASE_DURATION":       &cfg.LeaderElection.LeaseDuration,
		"LEASE_RENEW_DEADLINE": &cfg.LeaderElection.RenewDeadline,
		"LEASE_RETRY_PERIOD":   &cfg.LeaderElection.RetryPeriod,
	} {
		v := p.env(name)
		if v == "" {
			continue
		}
		if *field, err = time.ParseDuration(v); err != nil || *field <= 0 {
			return badEnv(name, v, "a time above zero, such as 4s")
		}
	}
	return nil
}
