// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Command drydock holds the operator's roles in the cluster, and the command line for the people who look after
// it. Called as controller or apiserver, as the original manifests do, it takes that role; otherwise the first
// argument names it. Called as kubectl-drydock it is the kubectl plugin, which has no roles.
//
// Exit codes: 0 when it did what was asked, or was asked to stop and stopped; 1 when it failed; 2 when its command
// line or its environment is wrong; 3 when status --exit-code found a failed node.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/operatorcli"
	"github.com/drydock-os/drydock/internal/program"
	"github.com/drydock-os/drydock/internal/termination"
)

// version is set by the linker.
var version = "0.0.0-dev"

func main() {
	p := process{env: os.Getenv, stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(run(context.Background(), p, os.Args))
}

// run does what main does, inside a test or not; args begin with the name of the program.
func run(ctx context.Context, p process, args []string) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	p.background = new(sync.WaitGroup)
	defer p.background.Wait() // after stop
	defer stop()
	name, args := filepath.Base(args[0]), args[1:]
	for _, role := range roles {
		if role.name == name {
			args = append([]string{name}, args...)
		}
	}
	root := newRoot(p, name == pluginName)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return cli.ExitOK // asked to stop, and stopped
	case errors.Is(err, operatorcli.ErrNodeFailed):
		return operatorcli.ExitNodeFailed
	}
	return cli.PrintError(p.stderr, "drydock", err)
}

// pluginName is the name by which kubectl finds its subcommand drydock.
const pluginName = "kubectl-drydock"

// roles are the long-running parts that the binary also plays when it is called by their name.
var roles = []struct {
	name    string
	command func(process) *cobra.Command
}{
	{"controller", controllerCommand},
	{"apiserver", apiServerCommand},
}

func newRoot(p process, plugin bool) *cobra.Command {
	root := &cobra.Command{
		Use:           "drydock",
		Short:         "Update container hosts, node by node",
		SilenceErrors: true, // run prints them, once
		SilenceUsage:  true,
		Args:          program.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	answerVersion(root)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return cli.WithHint(cli.Usage(err), "run '%s --help'", cmd.CommandPath())
	})
	people := &cobra.Group{ID: "people", Title: "Commands:"}
	root.AddGroup(people)
	program := root.Use
	if plugin {
		program = "kubectl drydock"
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: program}
	} else {
		cluster := &cobra.Group{ID: "roles", Title: "Roles in the cluster:"}
		root.AddGroup(cluster)
		for _, role := range roles {
			cmd := p.told(role.command(p))
			cmd.GroupID = cluster.ID
			answerVersion(cmd) // also called by the name of the role alone
			root.AddCommand(cmd)
		}
	}
	for _, cmd := range operatorcli.Commands(operatorcli.Config{
		Program: program, Version: version, Stdout: p.stdout, Stderr: p.stderr, Env: p.env, Settings: controllerSettings,
	}) {
		cmd.GroupID = people.ID
		root.AddCommand(cmd)
	}
	return root
}

// answerVersion gives a command the flag that all programs have.
func answerVersion(cmd *cobra.Command) {
	cmd.Version = cli.Version(version)
	cmd.Flags().Bool("version", false, "print the version")
}

// told makes a role leave the error that ends it for the kubelet.
func (p process) told(role *cobra.Command) *cobra.Command {
	run := role.RunE
	role.RunE = func(cmd *cobra.Command, args []string) error {
		err := run(cmd, args)
		if cmd.Context().Err() == nil {
			termination.Tell(p.env, "drydock", err)
		}
		return err
	}
	return role
}

// controllerSettings reads the environment of a deployed controller as that controller does.
func controllerSettings(env func(string) string) (operatorcli.SnapshotAt, error) {
	var e controllerEnv
	if err := (process{env: env}).controllerEnv(&e); err != nil {
		return nil, err
	}
	return e.Snapshot, nil
}
