// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/program"
	"github.com/drydock-os/drydock/lab/fleet"
	"github.com/drydock-os/drydock/lab/sandbox"
)

func newScaleCmd() *cobra.Command {
	f := &flags{simulated: &fleet.Simulated{}, imageSize: "32MiB"}
	cmd := &cobra.Command{
		Use:   "scale",
		Short: "Update a fleet of a thousand simulated hosts and say what the operator needed",
		Long: "scale starts a real control plane and the real controller and apiserver, and as many nodes as you like that are no\n" +
			"machines: their hosts are simulated, their agents run as parts of this program. It updates all of them and reports\n" +
			"what the operator took for it: memory, time of decisions, requests, and what it asks for when nothing is to be done.\n\n" +
			"It exits with 0 only if every node was updated and the concurrency limit was never violated on any watch event.",
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
	fs := cmd.Flags()
	fs.IntVar(&f.nodes, "nodes", 1000, "number of simulated nodes")
	fs.StringVar(&f.from, "from", "1.20.0", "version the hosts run at the start")
	fs.StringVar(&f.to, "to", "1.21.0", "version that they are offered")
	fs.StringVar(&f.maxConcurrent, "max-concurrent", "50", "nodes that may update at once: a number or 'unlimited'")
	fs.DurationVar(&f.simulated.StageTime, "stage-time", time.Second, "how long a host takes to write an image")
	fs.DurationVar(&f.rebootTime, "reboot-time", 2*time.Second, "how long a host is dark during a reboot")
	fs.IntVar(&f.replicas, "workload-replicas", 0, "pods of a workload that must stay up, all but a tenth at any time")
	fs.IntVar(&f.simulated.Apiservers, "apiservers", 0, "replicas of the apiserver (default: what the manifest says)")
	fs.DurationVar(&f.simulated.Idle, "idle", 0, "then watch for so long what is asked for when nothing is to be done")
	fs.BoolVar(&f.simulated.Restart, "restart", false, "then kill the controller that leads and watch what is read anew")
	fs.DurationVar(&f.timeout, "timeout", 30*time.Minute, "give up when the roll takes longer")
	fs.StringVar(&f.dir, "dir", "", "directory for logs and certificates (default: a new one in the system's directory for temporary files)")
	fs.BoolVar(&f.keep, "keep", false, "keep the directory with the logs")
	fs.StringVar(&f.output, "output", "text", "text, or json for one document on stdout")
	fs.BoolVar(&f.verbose, "verbose", false, "print the lab's own log to stderr")
	return cmd
}
