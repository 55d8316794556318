// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Command drydock-agent runs on each node and moves it through its update: it carries out what the controller
// wants, through the host's API, and reports through the apiserver. It has no Kubernetes client and no
// Kubernetes rights.
//
// Exit codes: 0 when it was asked to stop and stopped, 1 when it failed, 2 when its command line or its
// environment is wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/drydock-os/drydock/internal/agent"
	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/logging"
	"github.com/drydock-os/drydock/internal/setting"
	"github.com/drydock-os/drydock/internal/termination"
)

// version is set by the linker.
var version = "0.0.0-dev"

const (
	// memoryLimit makes the collector work harder before the container's limit ends the process.
	memoryLimit = 24 << 20
	// threads that run Go code: the agent waits most of the time.
	threads = 2
)

var usage = `drydock-agent moves the node it runs on through an update.

Usage: drydock-agent [flags]

Flags:
  --socket PATH       socket of the host's API (default /run/api.sock)
  --token-file PATH   service account token (default ` + agentapi.TokenFile + `)
  --ca-file PATH      CA bundle of the apiserver (default ` + agentapi.CAFile + `)
  --version           print the version
  -h, --help          print this

Environment:
` + setting.Help((&settings{}).table()) + "\n"

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run does what main does, inside a test or not.
func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := serve(ctx, args, env, stdout)
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return cli.ExitOK // asked to stop, and stopped
	}
	termination.Tell(env, "drydock-agent", err)
	return cli.PrintError(stderr, "drydock-agent", err)
}

func serve(ctx context.Context, args []string, env func(string) string, stdout io.Writer) error {
	flags := flag.NewFlagSet("drydock-agent", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	socket := flags.String("socket", hostapi.DefaultSocket, "")
	token := flags.String("token-file", agentapi.TokenFile, "")
	ca := flags.String("ca-file", agentapi.CAFile, "")
	showVersion := flags.Bool("version", false, "")
	err := flags.Parse(args)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, err = io.WriteString(stdout, usage)
		return err
	case err != nil:
		return cli.WithHint(cli.Usage(err), "run 'drydock-agent --help'")
	case *showVersion:
		_, err = io.WriteString(stdout, "drydock-agent version "+cli.Version(version)+"\n")
		return err
	}
	s, err := readSettings(env)
	if err != nil {
		return err
	}
	if env("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	if env("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(min(threads, runtime.NumCPU()))
	}
	l := logging.New(s.log, "agent", stdout)
	go l.Follow(ctx)
	log := l.Logger()
	cluster, err := agentapi.NewClient(agentapi.Config{
		URL: s.url(), NodeName: s.node, TokenFile: *token, CAFile: *ca,
		UserAgent: "drydock-agent/" + version, Log: log.With(logging.ComponentKey, "stream"),
	})
	if err != nil {
		return err
	}
	defer cluster.Close()
	host := hostapi.New(*socket)
	defer host.Close()
	a, err := agent.New(agent.Config{
		Host: host, Cluster: cluster, LBWait: s.lbWait, DrainTimeout: s.drainTimeout(), CheckInterval: s.interval, BootID: bootID(), Log: log,
	})
	if err != nil {
		return err
	}
	log.Info("agent started", "version", version, "node", s.node, "apiserver", s.url(), "socket", *socket)
	return a.Run(ctx)
}
