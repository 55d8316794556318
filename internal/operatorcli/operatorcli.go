// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package operatorcli is the part of the command line that people use: status, node, plan, version and
// support-bundle. All of it only reads.
//
// What a node waits for is not guessed here: the fleet is shown to package plan, the code that the controller
// runs, with the settings of the controller that is deployed. Without the right to read those settings the
// nodes are still shown, with what they report themselves.
//
// Nothing is built before a command runs, so that the long-running roles of the same binary pay for none of it.
package operatorcli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/drydock-os/drydock/internal/plan"
)

// ErrNodeFailed is what status returns when it was asked for an exit code and the last attempt of at least one
// node failed. It has nothing to print: the table has said it.
var ErrNodeFailed = errors.New("the last attempt of a node failed")

// ExitNodeFailed is the exit code for ErrNodeFailed.
const ExitNodeFailed = 3

// Bounds of what a command may take before it is given up: somebody is looking at the terminal.
const (
	readTimeout    = 30 * time.Second
	versionTimeout = 5 * time.Second
	bundleTimeout  = 5 * time.Minute
	// A shell that completes a name is blocked meanwhile.
	completionTimeout = 2 * time.Second
)

// Config holds everything the commands need. Fields are required unless they name a default.
type Config struct {
	// Program is how the person called it, for hints: "drydock" or "kubectl drydock".
	Program string
	// Version is that of this binary.
	Version string
	Stdout  io.Writer
	Stderr  io.Writer
	// Env reads an environment variable.
	Env func(string) string
	// Settings reads the environment of a controller as the controller does.
	Settings func(env func(string) string) (SnapshotAt, error)
	Now      func() time.Time // default: time.Now
}

// SnapshotAt returns what the plan depends on besides nodes and shadows, which it leaves out.
type SnapshotAt func(now time.Time) plan.Snapshot

// tool is what the commands share.
type tool struct {
	Config
	flags *connection
	// connect is replaced in tests.
	connect func() (*cluster, error)
}

// Commands returns the commands, ready to be added to a root command.
func Commands(cfg Config) []*cobra.Command { return commands(newTool(cfg)) }

func newTool(cfg Config) *tool {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	t := &tool{Config: cfg, flags: &connection{}}
	t.connect = t.connectByFlags
	return t
}

func commands(t *tool) []*cobra.Command {
	all := []*cobra.Command{t.statusCommand(), t.nodeCommand(), t.planCommand(), t.versionCommand(), t.bundleCommand()}
	for _, cmd := range all {
		t.flags.addFlags(cmd)
		inner := cmd.RunE
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			// The libraries' own reports of a lost watch would tear the table apart; what matters of them
			// is said by the commands.
			klog.SetLogger(logr.Discard())
			ctrllog.SetLogger(logr.Discard())
			return inner(cmd, args)
		}
	}
	return all
}

// warn tells of something that is missing from the answer, without failing it.
func (t *tool) warn(format string, args ...any) {
	fmt.Fprintf(t.Stderr, "drydock: warning: %s\n", fmt.Sprintf(format, args...))
}

// bounded limits a command, unless the person set a limit of their own for each request.
func (t *tool) bounded(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if s := t.flags.overrides.Timeout; s != "" && s != "0" {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("no complete answer within %v", limit))
}
