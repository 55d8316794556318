// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/program"
	"github.com/drydock-os/drydock/lab/fleet"
	"github.com/drydock-os/drydock/lab/sandbox"
)

func newUpCmd() *cobra.Command {
	f := &flags{timeout: time.Hour}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start the same lab and leave it to you",
		Long: "up starts the control plane, the hosts, the repository and, unless told otherwise, the operator, prints how to\n" +
			"reach each of them and stays until Ctrl-C. The kubeconfig works with kubectl on this machine.\n\n" +
			"The operator takes a node on when it has the label bottlerocket.aws/updater-interface-version=2.0.0.",
		Args: program.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.config()
			if err != nil {
				return err
			}
			if !sandbox.Inside() {
				return keepUp(cmd.Context(), &cfg, f)
			}
			if err := settle(&cfg, f); err != nil {
				return err
			}
			return upInside(cmd.Context(), cfg, f, cmd.OutOrStdout())
		},
	}
	f.fleetFlags(cmd)
	fs := cmd.Flags()
	fs.BoolVar(&f.withoutOperator, "without-operator", false, "leave the operator and the workload out, for somebody else's manifests")
	fs.StringVar(&f.output, "output", "text", "text, or json for one document with all the ways in on stdout")
	fs.IntVar(&f.kubePort, "kube-port", 0, "port on 127.0.0.1 for the Kubernetes API (default: any free one)")
	fs.IntVar(&f.repoPort, "repo-port", 0, "port on 127.0.0.1 for the update repository (default: any free one)")
	return cmd
}

// keepUp opens the ports first, so that one in use is refused before anything starts.
func keepUp(ctx context.Context, cfg *fleet.Config, f *flags) error {
	var listeners []*sandbox.Listener
	defer func() {
		for _, l := range listeners {
			l.Close()
		}
	}()
	for _, p := range []struct {
		name, env, flag string
		port            int
	}{{fleet.PortKube, envKube, "--kube-port", f.kubePort}, {fleet.PortRepo, envRepo, "--repo-port", f.repoPort}} {
		l, err := sandbox.Listen(p.name, p.port)
		if err != nil {
			return cli.WithHint(err, "name a free port with %s, or leave the flag out", p.flag)
		}
		listeners = append(listeners, l)
		if err := os.Setenv(p.env, l.Addr()); err != nil {
			return err
		}
	}
	err := keep(ctx, cfg, f.dir, false, listeners...)
	if code, ok := errors.AsType[exitCode](err); ok && code == exitInterrupted {
		return nil // Ctrl-C is how up is meant to end
	}
	return err
}

func upInside(ctx context.Context, cfg fleet.Config, f *flags, stdout io.Writer) error {
	lab, err := fleet.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer lab.Close()
	access, err := lab.Open(ctx, os.Getenv(envKube), os.Getenv(envRepo))
	if err != nil {
		return err
	}
	if f.output == "json" {
		if err := access.PrintJSON(stdout); err != nil {
			return err
		}
	} else {
		access.Print(stdout)
		fmt.Fprintln(stdout, "\nthe lab runs until Ctrl-C")
	}
	return lab.Follow(ctx)
}
