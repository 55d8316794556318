// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/log"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/hostd/hostctr"
	"github.com/drydock-os/drydock/internal/hostd/rootdir"
	"github.com/drydock-os/drydock/internal/program"
)

// settings are what all commands have in common.
type settings struct {
	stdout, stderr io.Writer

	root, socket, namespace, snapshotter string
	registries                           string
	log                                  program.Log
}

func (s *settings) flags(f *pflag.FlagSet) {
	rootdir.Flag(f, &s.root)
	f.StringVarP(&s.socket, "containerd-socket", "s", hostctr.DefaultSocket, "`path` of containerd's socket, below --root")
	f.StringVarP(&s.namespace, "namespace", "n", hostctr.DefaultNamespace, "`namespace` of containerd")
	f.StringVar(&s.snapshotter, "snapshotter", "", "containerd's `plugin` for file systems (default: containerd's own choice)")
	s.log.Flags(f, "stderr")
}

// registryFlag is for commands that pull images.
func (s *settings) registryFlag(c *cobra.Command) {
	c.Flags().StringVar(&s.registries, "registry-config", "", "`path` of a TOML file with mirrors and credentials, below --root")
}

// config is what the flags say.
func (s *settings) config(c *cobra.Command) (hostctr.Config, error) {
	logger, err := s.log.New(s.stderr)
	if err != nil {
		return hostctr.Config{}, program.WithUsage(c, err)
	}
	if err := log.SetLevel("error"); err != nil { // of containerd's libraries, whose words are about single requests
		return hostctr.Config{}, err
	}
	return hostctr.Config{
		Root: s.root, Socket: s.socket, Namespace: s.namespace, Snapshotter: s.snapshotter, RegistryConfig: s.registries,
		Stdout: s.stdout, Stderr: s.stderr, Environ: os.Environ(),
		Log: logger,
		AWS: hostctr.AWS{Credentials: filepath.Join(s.root, "root/.aws/credentials"), Getenv: os.Getenv, Now: time.Now},
	}, nil
}

// do connects to containerd and does something with it.
func (s *settings) do(c *cobra.Command, do func(*hostctr.Runtime) error) error {
	cfg, err := s.config(c)
	if err != nil {
		return err
	}
	r, err := hostctr.Connect(cfg)
	if err != nil {
		return cli.WithHint(err, "containerd must run; --containerd-socket names another one")
	}
	defer r.Close()
	return do(r)
}

func newRunCmd(s *settings) *cobra.Command {
	var id, kind, source string
	var superpowered, cached, restart bool
	c := &cobra.Command{
		Use:   "run --container-id NAME --source IMAGE",
		Short: "Run a container until it ends or this program is told to stop",
		Long: `Pull the image and run a container of it until it ends, or until this program gets SIGTERM or SIGINT: the
container then gets SIGTERM, and after 20 seconds SIGKILL. What an earlier run left is removed first, and what
the container wrote outside of its folder on the host is removed at the end.

An image that cannot be pulled after five tries is not fatal when one of the same name is here already.`,
		Example: "  host-ctr run --container-id admin --source example.com/admin:v1 --superpowered=true",
		Args:    program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			container, err := hostctr.Parse(id, hostctr.Kind(kind))
			if err != nil {
				return program.WithUsage(c, err)
			}
			if source == "" {
				return program.WithUsage(c, cli.Usagef("the flag --source is required"))
			}
			container.Source, container.Superpowered, container.UseCached = source, superpowered, cached
			if restart {
				cfg, err := s.config(c)
				if err != nil {
					return err
				}
				return hostctr.Keep(c.Context(), cfg, container)
			}
			return s.do(c, func(r *hostctr.Runtime) error {
				err := r.Run(c.Context(), container)
				if _, ended := errors.AsType[*hostctr.ExitError](err); !ended {
					err = cli.WithHint(err, "look at containerd's log; the settings of the container are in settings.%s-containers.%s", kind, container.Name)
				}
				return err
			})
		},
	}
	f := c.Flags()
	f.StringVar(&id, "container-id", "", "`name` of the container (required)")
	f.StringVar(&source, "source", "", "`image` to run (required)")
	f.BoolVar(&superpowered, "superpowered", false, "let the container do almost anything to the host")
	f.StringVar(&kind, "container-type", string(hostctr.Host), "`kind` of container: host or bootstrap")
	f.BoolVar(&cached, "use-cached-image", false, "do not look for a newer image when one of that name is here")
	f.BoolVar(&restart, "restart", false, "start the container again whenever it ends, after a pause, where no service manager does")
	s.registryFlag(c)
	return c
}

func newExecCmd(s *settings) *cobra.Command {
	var tty bool
	c := &cobra.Command{
		Use:   "exec [--tty] NAME COMMAND [ARGUMENT...]",
		Short: "Run a command in a container that runs",
		Long: `Run a command in a container that runs, with the input, output and signals of this program, and end with
its exit code. A second SIGTERM kills the command. The host daemon runs this for 'apiclient exec'.`,
		Example: "  host-ctr exec --tty admin sh",
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) < 2 {
				return program.WithUsage(c, cli.Usagef("want the name of a container and a command"))
			}
			if tty && !term.IsTerminal(int(os.Stdin.Fd())) {
				return program.WithUsage(c, cli.Usagef("--tty: the input is no terminal"))
			}
			signals := make(chan os.Signal, 8)
			signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGWINCH)
			defer signal.Stop(signals)
			return s.do(c, func(r *hostctr.Runtime) error {
				code, err := r.Exec(c.Context(), hostctr.Command{
					Container: args[0], Args: args[1:], Stdin: os.Stdin, TTY: tty, Term: os.Getenv("TERM"), Signals: signals,
				})
				if errors.Is(err, hostctr.ErrNotRunning) {
					err = cli.WithHint(err, "see settings.host-containers.%s", args[0])
				}
				if err == nil && code != 0 {
					err = program.ExitCode(code)
				}
				return err
			})
		},
	}
	c.Flags().SetInterspersed(false) // what follows the name is the command's own
	c.Flags().BoolVarP(&tty, "tty", "t", false, "give the command a terminal; the input must be one")
	return c
}

func newPullCmd(s *settings) *cobra.Command {
	var source string
	var skip bool
	var labels []string
	c := &cobra.Command{
		Use:     "pull-image --source IMAGE",
		Short:   "Pull an image",
		Long:    "Pull an image and unpack it, in up to five tries.",
		Example: "  host-ctr --containerd-socket /run/containerd/containerd.sock --namespace k8s.io pull-image --source example.com/pause:3.1",
		Args:    program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if source == "" {
				return program.WithUsage(c, cli.Usagef("the flag --source is required"))
			}
			o := hostctr.PullOptions{SkipIfPresent: skip, Labels: map[string]string{}}
			for _, l := range labels {
				name, value, found := strings.Cut(l, "=")
				if !found || name == "" {
					return program.WithUsage(c, cli.Usagef("--label %q: want NAME=VALUE", l))
				}
				o.Labels[name] = value
			}
			return s.do(c, func(r *hostctr.Runtime) error { return r.Pull(c.Context(), source, o) })
		},
	}
	f := c.Flags()
	f.StringVar(&source, "source", "", "`image` to pull (required)")
	f.BoolVar(&skip, "skip-if-image-exists", false, "do nothing when an image of that name is here")
	f.StringArrayVar(&labels, "label", nil, "`NAME=VALUE` to mark the image with; may be given again")
	s.registryFlag(c)
	return c
}

func newCleanUpCmd(s *settings) *cobra.Command {
	var id string
	c := &cobra.Command{
		Use:     "clean-up --container-id NAME",
		Short:   "Remove what is left of a container",
		Long:    "Kill a container that still runs and remove it. Its folder on the host stays. That there is none is no error.",
		Example: "  host-ctr clean-up --container-id boot.setup",
		Args:    program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if id == "" {
				return program.WithUsage(c, cli.Usagef("the flag --container-id is required"))
			}
			return s.do(c, func(r *hostctr.Runtime) error { return r.CleanUp(c.Context(), id) })
		},
	}
	c.Flags().StringVar(&id, "container-id", "", "`name` of the container, as containerd has it (required)")
	return c
}
