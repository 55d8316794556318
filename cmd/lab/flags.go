// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/lab/fleet"
)

// flags are those of run and up together; each command registers what it has.
type flags struct {
	nodes                 int
	from, to              string
	maxConcurrent         string
	rebootTime, timeout   time.Duration
	imageSize             string
	replicas              int
	faults, images        []string
	withoutOperator, keep bool
	output                string
	dir                   string
	verbose               bool
	kubePort, repoPort    int
	simulated             *fleet.Simulated // of scale alone
}

// fleetFlags registers what describes the fleet.
func (f *flags) fleetFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.IntVar(&f.nodes, "nodes", 6, "number of hosts")
	fs.StringVar(&f.from, "from", "1.20.0", "version the hosts run at the start")
	fs.StringVar(&f.to, "to", "1.21.0", "version that the repository offers")
	fs.StringVar(&f.maxConcurrent, "max-concurrent", "1", "nodes that may update at once: a number or 'unlimited'")
	fs.DurationVar(&f.rebootTime, "reboot-time", time.Second, "how long a host is dark during a reboot")
	fs.StringVar(&f.imageSize, "image-size", "32MiB", "size of the root image")
	fs.IntVar(&f.replicas, "workload-replicas", 4, "pods of the workload that must stay up, all but one at any time")
	fs.StringArrayVar(&f.images, "image", nil, "REF=DIR: run containers of image REF as processes, with DIR as their root (repeatable)")
	fs.StringVar(&f.dir, "dir", "", "directory for disks, logs and certificates (default: a new one in the system's directory for temporary files)")
	fs.BoolVar(&f.verbose, "verbose", false, "print the lab's own log to stderr")
}

// config turns the flags into a checked configuration. Errors are about the command line, or about
// programs that were not built.
func (f *flags) config() (fleet.Config, error) {
	cfg := fleet.Config{
		Nodes: f.nodes, From: f.from, To: f.to, RebootTime: f.rebootTime,
		Replicas: f.replicas, Timeout: f.timeout, WithoutOperator: f.withoutOperator, Simulated: f.simulated,
		Images: map[string]string{},
	}
	var errs []error
	var err error
	if cfg.MaxConcurrent, err = fleet.ParseConcurrency(f.maxConcurrent); err != nil {
		errs = append(errs, fmt.Errorf("--max-concurrent: %w", err))
		cfg.MaxConcurrent = 1 // for the other checks
	}
	if cfg.ImageSize, err = fleet.ParseSize(f.imageSize); err != nil {
		errs = append(errs, fmt.Errorf("--image-size: %w", err))
		cfg.ImageSize = 32 << 20
	}
	for _, s := range f.faults {
		fault, err := fleet.ParseFault(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("--fault: %w", err))
		}
		cfg.Faults = append(cfg.Faults, fault)
	}
	for _, s := range f.images {
		ref, dir, ok := strings.Cut(s, "=")
		info, statErr := os.Stat(dir)
		switch {
		case !ok || ref == "" || dir == "":
			errs = append(errs, fmt.Errorf("--image %q: not of the form REF=DIR", s))
		case statErr != nil || !info.IsDir():
			errs = append(errs, fmt.Errorf("--image %q: %s is not a directory", s, dir))
		default:
			if dir, err = filepath.Abs(dir); err != nil {
				errs = append(errs, fmt.Errorf("--image %q: %w", s, err))
			}
			cfg.Images[ref] = dir
		}
	}
	if f.output != "text" && f.output != "json" {
		errs = append(errs, fmt.Errorf("--output %q: must be text or json", f.output))
	}
	if err := errors.Join(append(errs, cfg.Validate())...); err != nil {
		return cfg, cli.WithHint(cli.Usage(err), "nothing was started; correct the flags and try again ('lab COMMAND --help' explains each)")
	}
	cfg.Binaries, err = findBinaries()
	return cfg, err
}

// findBinaries looks for the programs of the lab beside this one, where 'make build' puts them.
func findBinaries() (fleet.Binaries, error) {
	self, err := os.Executable()
	if err != nil {
		return fleet.Binaries{}, fmt.Errorf("finding this program's file: %w", err)
	}
	bin := filepath.Dir(self)
	b := fleet.Binaries{
		ControlPlane: filepath.Join(bin, "controlplane", "controlplane"),
		Hostd:        filepath.Join(bin, "hostd"),
		Drydock:      filepath.Join(bin, "drydock"),
		Agent:        filepath.Join(bin, "drydock-agent"),
		Imgtool:      filepath.Join(bin, "imgtool"),
	}
	for _, path := range []string{b.ControlPlane, b.Hostd, b.Drydock, b.Agent, b.Imgtool} {
		if info, err := os.Stat(path); err != nil || info.Mode()&0o111 == 0 {
			return b, cli.WithHint(fmt.Errorf("the program %s is missing", path), "run 'make build controlplane'")
		}
	}
	return b, nil
}
