// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostd/firstboot"
	"github.com/drydock-os/drydock/internal/hostd/generate"
	"github.com/drydock-os/drydock/internal/hostd/imds"
	"github.com/drydock-os/drydock/internal/hostd/rootdir"
	"github.com/drydock-os/drydock/internal/hostd/settings"
	"github.com/drydock-os/drydock/internal/hostd/storewolf"
	"github.com/drydock-os/drydock/internal/program"
)

// linkNames are subcommands that this program also is when it is called by their names.
var linkNames = map[string]bool{
	"host-containers": true, "bootstrap-containers": true, "logdog": true, "migrator": true, "storewolf": true, "early-boot-config": true, "sundog": true,
	"settings-committer": true, "static-pods": true, "thar-be-settings": true,
}

// applyLimit is longer than the host daemon lets anybody wait.
const applyLimit = hostapi.MaxWait + time.Minute

// client is what programs that talk to the host daemon during a boot have in common.
type client struct {
	root, socket, metadata string
	flags                  program.Log
	log                    *slog.Logger
	api                    firstboot.Socket
}

// command makes a subcommand that talks to the daemon.
func (cl *client) command(stderr io.Writer, c *cobra.Command, run func(ctx context.Context) error) *cobra.Command {
	c.Args = program.NoArguments
	c.RunE = func(c *cobra.Command, _ []string) error {
		var err error
		if cl.log, err = cl.flags.New(stderr); err != nil {
			return program.WithUsage(c, err)
		}
		cl.api = firstboot.Socket{Path: filepath.Join(cl.root, cl.socket)}
		return run(c.Context())
	}
	f := c.Flags()
	rootdir.Flag(f, &cl.root)
	f.StringVar(&cl.socket, "socket-path", hostapi.DefaultSocket, "`path` of the API socket, below --root")
	cl.flags.Flags(f, "stderr")
	return c
}

func (cl *client) cloudFlag(c *cobra.Command) *cobra.Command {
	c.Flags().StringVar(&cl.metadata, "metadata-service", imds.DefaultBase, "`URL` of the instance metadata service, asked by variants for AWS")
	return c
}

// running returns what the daemon says about the system.
func (cl *client) running(ctx context.Context) (hostapi.OS, error) {
	c := hostapi.New(cl.api.Path)
	defer c.Close()
	o, err := c.OS(ctx)
	if err != nil {
		return o, cli.WithHint(err, "the host daemon must run: start 'hostd serve' first")
	}
	return o, nil
}

func newBootCmds(stderr io.Writer) []*cobra.Command {
	early, sundog, committer, applier := &client{}, &client{}, &client{}, &client{}
	transaction := storewolf.LaunchTransaction
	all := false
	commit := committer.command(stderr, &cobra.Command{
		Use: "settings-committer", Short: "Commit the settings of this boot",
		Long: "Commit a transaction of the settings store. That nothing is pending is no error.",
	}, func(ctx context.Context) error { return firstboot.Commit(ctx, committer.api, transaction) })
	commit.Flags().StringVar(&transaction, "transaction", transaction, "`name` of the transaction")
	render := applier.command(stderr, &cobra.Command{
		Use: "thar-be-settings {--all | <keys.json}", Short: "Apply settings to files and services",
		Long: `Write the configuration files that settings affect and run the commands of their services, and
wait for the end. The names of the settings are a JSON list on stdin, or all with --all.`,
	}, func(ctx context.Context) error { return applier.apply(ctx, all) })
	render.Flags().BoolVar(&all, "all", false, "apply everything, as a boot does")
	return []*cobra.Command{
		early.cloudFlag(early.command(stderr, &cobra.Command{
			Use: "early-boot-config", Short: "Take the settings that the host was started with, once in its life",
			Long: `Read user data, TOML with a table settings, from these places, of which later ones go before
earlier ones, and commit it: /local/user-data-defaults.toml,
/var/lib/bottlerocket/user-data.toml, on AWS the region and the user data of the instance,
/local/user-data-overrides.toml. It may be packed with gzip and base64. Mistakes in it are errors
that name line and key, and then nothing counts. It is done once in a host's life.`,
		}, early.takeUserData)),
		sundog.cloudFlag(sundog.command(stderr, &cobra.Command{
			Use: "sundog", Short: "Generate values of settings that nobody has set",
			Long: `Run the generators of settings that have none, and set what they print in the transaction
bottlerocket-launch. A generator that ends with code 2 leaves its setting unset.`,
		}, sundog.generate)),
		commit, render,
	}
}

func (cl *client) takeUserData(ctx context.Context) error {
	running, err := cl.running(ctx)
	if err != nil {
		return err
	}
	variant := settings.ParseVariant(running.VariantID)
	cfg := firstboot.Config{Root: cl.root, API: cl.api, Model: settings.For(variant), Log: cl.log}
	if variant.AWS {
		cfg.Cloud = imds.Client{Base: cl.metadata}
	}
	return firstboot.Run(ctx, cfg)
}

func (cl *client) generate(ctx context.Context) error {
	running, err := cl.running(ctx)
	if err != nil {
		return err
	}
	status, reply, err := cl.api.Request(ctx, http.MethodGet, "/?prefix=settings.", nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", status, reply)
	}
	var data map[string]any
	if err == nil {
		err = json.Unmarshal(reply, &data)
	}
	if err != nil {
		return fmt.Errorf("reading settings: %w", err)
	}
	data["os"] = map[string]any{"arch": running.Arch, "variant_id": running.VariantID, "version_id": running.VersionID,
		"build_id": running.BuildID, "pretty_name": running.PrettyName}
	p := generate.Programs{
		Root: cl.root, Settings: data, Arch: running.Arch,
		Random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		Hostname: func() (string, error) {
			name, err := os.Hostname()
			return strings.ToLower(name), err
		},
	}
	if settings.ParseVariant(running.VariantID).AWS {
		p.Cloud = imds.Client{Base: cl.metadata}
	}
	return generate.Run(ctx, generate.Config{API: cl.api, Generate: p.Generate, Log: cl.log})
}

// apply asks the daemon to apply settings and waits for the end.
func (cl *client) apply(ctx context.Context, all bool) error {
	query := url.Values{hostapi.WaitParam: {"true"}}
	if !all {
		var keys []string
		if err := json.NewDecoder(io.LimitReader(os.Stdin, hostapi.MaxBody)).Decode(&keys); err != nil {
			return cli.WithHint(fmt.Errorf("reading names of settings: %w", err), "give a JSON list on stdin, or --all")
		}
		if len(keys) == 0 {
			return nil
		}
		query.Set("keys", strings.Join(keys, ","))
	}
	cl.api.Limit = applyLimit
	status, reply, err := cl.api.Request(ctx, http.MethodPost, "/tx/apply?"+query.Encode(), nil)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("status %d: %s", status, reply)
	}
	if err != nil {
		return fmt.Errorf("applying settings: %w", err)
	}
	return nil
}
