// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/controller"
	"github.com/drydock-os/drydock/internal/program"
	"github.com/drydock-os/drydock/internal/setting"
)

// alwaysOpen is the schedule that lets updates start at any time.
const alwaysOpen = "* * * * * * *"

// controllerCommand is the role that decides which node moves when.
func controllerCommand(p process) *cobra.Command {
	env := controllerEnv{Config: controller.Config{Version: version}}
	cfg := &env.Config
	var kubeconfig string
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Decide which node is updated when (one leader among its replicas)",
		Long: "Decide which node is updated when (one leader among its replicas).\n\nEnvironment:\n" +
			setting.Help(controllerTable(&controllerEnv{})),
		Args: program.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.controllerEnv(&env); err != nil {
				return err
			}
			log := p.logger(cmd.Context(), env.log, "controller")
			if p.env("SCHEDULER_CRON_EXPRESSION") != "" && (p.env("UPDATE_WINDOW_START") != "" || p.env("UPDATE_WINDOW_STOP") != "") {
				log.Warn("UPDATE_WINDOW_START and UPDATE_WINDOW_STOP have no effect beside SCHEDULER_CRON_EXPRESSION")
			}
			var err error
			if cfg.REST, err = p.restConfig(controller.Name, kubeconfig); err != nil {
				return err
			}
			cfg.Log = log
			c, err := controller.New(*cfg)
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

// controllerEnv reads the environment into e.
func (p process) controllerEnv(e *controllerEnv) error {
	var err error
	if e.Namespace, err = p.namespace(); err != nil {
		return err
	}
	if err := setting.Apply(p.env, controllerTable(e)); err != nil {
		return err
	}
	if err := errors.Join(e.waits(), e.lease()); err != nil {
		return err
	}
	e.Schedule, err = p.schedule(&e.schedule)
	return err
}
