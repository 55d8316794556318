// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/program"
	"github.com/drydock-os/drydock/lab/fleet"
	"github.com/drydock-os/drydock/lab/sandbox"
)

func newRunCmd() *cobra.Command {
	f := &flags{}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Update a whole fleet and say how it went",
		Long: "run starts a control plane and the hosts, publishes a newer version, lets the operator roll the fleet while a\n" +
			"workload with a PodDisruptionBudget stays up, and ends.\n\n" +
			"It exits with 0 only if every host really booted its other slot into the new version, every node is Ready and\n" +
			"schedulable, and neither the budget nor the concurrency limit was violated on any watch event.",
		Args: program.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.config()
			if err != nil {
				return err
			}
			if !sandbox.Inside() {
				return keep(cmd.Context(), &cfg, f.dir, f.keep)
			}
			if err := settle(&cfg, f); err != nil {
				return err
			}
			return runInside(cmd.Context(), cfg, f, cmd.OutOrStdout())
		},
	}
	f.fleetFlags(cmd)
	fs := cmd.Flags()
	fs.DurationVar(&f.timeout, "timeout", 10*time.Minute, "give up when the roll takes longer")
	fs.StringArrayVar(&f.faults, "fault", nil, "something that goes wrong once: flip-byte, kill=COMPONENT@STATE, power-cut@STATE or delete-shadow@STATE (repeatable)")
	fs.BoolVar(&f.keep, "keep", false, "keep the directory with disks and logs")
	fs.StringVar(&f.output, "output", "text", "text, or json for one document on stdout")
	return cmd
}

// runInside is the main job.
func runInside(ctx context.Context, cfg fleet.Config, f *flags, stdout io.Writer) error {
	cfg.JoinFirst = true
	lab, err := fleet.Start(ctx, cfg)
	if err != nil {
		return failed(cfg, f, err)
	}
	report, err := lab.Roll(ctx)
	lab.Close()
	if err != nil && report == nil {
		return failed(cfg, f, err)
	}
	if f.output == "json" {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(report); err != nil {
			return fmt.Errorf("printing the report: %w", err)
		}
	} else {
		report.Print(stdout)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	case report.Failure():
		return failed(cfg, f, errors.New("the roll failed: "+report.Reason))
	}
	return keptHint(cfg, f, stdout)
}

// failed tells where to look after a failure.
func failed(cfg fleet.Config, f *flags, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	if f.keep {
		return cli.WithHint(err, "the logs are in %s", cfg.Dir)
	}
	return cli.WithHint(err, "run it again with --keep to read the logs")
}

func keptHint(cfg fleet.Config, f *flags, stdout io.Writer) error {
	if f.keep && f.output == "text" {
		_, err := fmt.Fprintf(stdout, "kept: %s (remove it with 'lab down')\n", cfg.Dir)
		return err
	}
	return nil
}
