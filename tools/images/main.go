// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Command images builds the operator's container image for several architectures, without a container engine
// and without a base image: static programs, their licences and a list of what they are made of.
//
// The result is an OCI image layout, which registry tools copy as it is, and for each architecture an archive
// to load into an engine. The same sources, Go version and flags always give the same digests: nothing in an
// image comes from the clock, the file system or the network.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: images [flags]

Builds the image of the operator into an OCI layout directory and one archive per architecture.

flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg := config{programs: programs, links: links}
	flags := flag.NewFlagSet("images", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&cfg.root, "root", ".", "root `DIR` of the module")
	flags.StringVar(&cfg.output, "o", "bin/images", "write to `DIR`, replacing what is there")
	flags.StringVar(&cfg.version, "version", "0.0.0-dev", "version of the programs")
	flags.StringVar(&cfg.revision, "revision", "", "commit that is built")
	flags.StringVar(&cfg.name, "name", "ghcr.io/drydock-os/drydock", "`NAME` of the image in archives")
	created := flags.Int64("created", 0, "time of the commit, in `SECONDS` since 1970")
	platforms := flags.String("platforms", "amd64,arm64", "comma-separated `LIST` of processors, all with Linux")
	limit := flags.Int64("limit", 60, "fail when all images together are larger than this many `MB`, as they are stored; 0 for no limit")
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		flags.Usage()
		return 2
	}
	cfg.created = time.Unix(*created, 0).UTC()
	cfg.arches = strings.Split(*platforms, ",")
	cfg.limit = *limit * 1_000_000
	if err := build(ctx, cfg, stdout); err != nil {
		fmt.Fprintf(stderr, "images: error: %v\n", err)
		return 1
	}
	return 0
}
