// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/hostd/containers"
	"github.com/drydock-os/drydock/internal/program"
)

// changedSettings returns what the environment says about a change of settings; nil when it says nothing.
func changedSettings() []string {
	text, given := os.LookupEnv("CHANGED_SETTINGS")
	if !given {
		return nil
	}
	return append([]string{}, strings.Fields(text)...)
}

func (cl *client) containers(file string, changed []string) containers.Config {
	root := cl.root
	if abs, err := filepath.Abs(root); err == nil {
		root = abs // processes that are started outlive this one and its folder
	}
	return containers.Config{Root: root, API: cl.api, File: file, Changed: changed, Log: cl.log}
}

func newContainerCmds(stderr io.Writer) []*cobra.Command {
	host := &client{}
	var hostFile, bootFile, id, mode string
	hosts := host.command(stderr, &cobra.Command{
		Use: "host-containers", Short: "Start and stop host containers as the settings say",
		Long: `Write what each host container of the settings needs, stop it, and start it again when it is
enabled. With CHANGED_SETTINGS in the environment, only the containers that it names are touched.
A container whose settings are wrong is reported and stops none of the others.`,
	}, func(ctx context.Context) error {
		return containers.RunHost(ctx, host.containers(hostFile, changedSettings()))
	})
	hosts.Flags().StringVar(&hostFile, "config-path", "", "TOML `file` to read in place of asking the daemon")
	boot := &cobra.Command{
		Use: "bootstrap-containers", Short: "Set up, run and mark bootstrap containers",
		Args: program.NoArguments,
		RunE: program.NoCommand,
	}
	creator, runner, marker := &client{}, &client{}, &client{}
	create := creator.command(stderr, &cobra.Command{
		Use: "create-containers", Short: "Enable and disable units of bootstrap containers as the settings say",
		Long: `Write what each bootstrap container of the settings needs and enable its unit, unless its mode
is off. Nothing is started. With CHANGED_SETTINGS in the environment, only the containers that it
names are touched.`,
	}, func(ctx context.Context) error {
		return containers.CreateBootstrap(ctx, creator.containers(bootFile, changedSettings()))
	})
	create.Flags().StringVar(&bootFile, "config-path", "", "TOML `file` to read in place of asking the daemon")
	run := runner.command(stderr, &cobra.Command{
		Use: "run", Short: "Run bootstrap containers that have not run since the boot, where no service manager does",
		Long: `Run one after the other, in the order of their names, the bootstrap containers whose mode is
not off and that have not been started since the boot. One that is essential and fails, or has
failed before in this boot, ends it with code 1.`,
	}, func(ctx context.Context) error {
		err := containers.RunBootstrap(ctx, runner.containers("", nil))
		if errors.Is(err, containers.ErrEssential) {
			err = cli.WithHint(err, "when the boot may go on without it, set its essential to false, or its mode to off")
		}
		return err
	})
	mark := marker.command(stderr, &cobra.Command{
		Use: "mark-bootstrap --container-id NAME [--mode MODE]", Short: "Note that a bootstrap container starts, or has run",
		Long: `Note that a bootstrap container starts, so that it does not start again in this boot, or, with its
mode, that it has run with success: the mode once becomes off in the settings then.`,
	}, func(ctx context.Context) error {
		return containers.MarkBootstrap(ctx, marker.containers("", nil), strings.TrimPrefix(id, "boot."), mode)
	})
	mark.Flags().StringVar(&id, "container-id", "", "`name` of the container")
	mark.Flags().StringVar(&mode, "mode", "", "`mode` that the settings gave it, when it has run with success")
	boot.AddCommand(create, run, mark)
	return []*cobra.Command{hosts, boot}
}
