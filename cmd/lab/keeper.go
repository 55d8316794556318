// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"golang.org/x/term"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/lab/fleet"
	"github.com/drydock-os/drydock/lab/sandbox"
)

// The keeper outside tells the program inside where its directory is and under which addresses it can
// be reached from outside.
const (
	envDir  = "DRYDOCK_LAB_DIR"
	envKube = "DRYDOCK_LAB_KUBE"
	envRepo = "DRYDOCK_LAB_REPO"
)

// keep runs this command once more inside a sandbox. It owns what must not get lost whatever happens
// inside: the lab's directory and the ports on the machine.
func keep(ctx context.Context, cfg *fleet.Config, dir string, keepDir bool, listeners ...*sandbox.Listener) error {
	d, err := takeDir(dir, keepDir)
	if err != nil {
		return err
	}
	if err := d.checkSpace(cfg); err != nil {
		return errors.Join(err, d.release())
	}
	if err := os.Setenv(envDir, d.path); err != nil {
		return err
	}
	code, err := sandbox.Keep(ctx, listeners...)
	if errors.Is(err, sandbox.ErrUnavailable) {
		err = cli.WithHint(err, "%s", sandbox.Hint())
	}
	if err := errors.Join(err, d.release()); err != nil {
		return err
	}
	if code != 0 {
		return exitCode(code)
	}
	return nil
}

// settle prepares the program inside and completes the configuration with what only it knows.
func settle(cfg *fleet.Config, f *flags) error {
	if err := sandbox.Settle(); err != nil {
		return err
	}
	cfg.Dir = os.Getenv(envDir)
	out := os.Stdout
	if f.output == "json" {
		out = os.Stderr // stdout is for the one document
	}
	cfg.Console = fleet.Console{
		Out: out, Live: term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb" && !f.verbose,
		Size: func() (int, int) {
			w, h, err := term.GetSize(int(out.Fd()))
			if err != nil {
				return 0, 0
			}
			return w, h
		},
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	if f.verbose {
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return nil
}
