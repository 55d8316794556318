// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostd/firstboot"
	"github.com/drydock-os/drydock/internal/hostd/logdog"
	"github.com/drydock-os/drydock/internal/hostd/rootdir"
	"github.com/drydock-os/drydock/internal/osimage"
	"github.com/drydock-os/drydock/internal/program"
)

func newLogdogCmd(stdout io.Writer) *cobra.Command {
	var root, socket, output string
	c := &cobra.Command{
		Use:   "logdog",
		Short: "Collect logs, states and settings into one archive",
		Long: `Collect what people need who look for the cause of a problem on this host: logs, states of
services, and settings without secrets. The requests are in /usr/share/logdog.d; without that
folder, those of the variant are built in. What fails is noted in the archive's logdog.errors.
/tmp/bottlerocket-logs.tar.gz becomes a link to an archive at the default place.`,
		Example: "  hostd logdog --output /tmp/logs.tar.gz",
		Args:    program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			standard := output == ""
			if standard {
				output = filepath.Join(root, logdog.DefaultOutput)
			}
			requests, err := logdog.Requests(root, variantOf(root))
			if err != nil {
				return err
			}
			api := firstboot.Socket{Path: filepath.Join(root, socket)}
			err = logdog.Collect(c.Context(), logdog.Config{
				Root: root, Requests: requests, Output: output, Now: time.Now(), Stdout: stdout,
				Settings: func(ctx context.Context) ([]byte, error) {
					status, reply, err := api.Request(ctx, http.MethodGet, "/", nil)
					if err == nil && status != http.StatusOK {
						err = fmt.Errorf("status %d: %s", status, reply)
					}
					return reply, err
				},
			})
			if err != nil {
				return cli.WithHint(err, "choose another place with --output")
			}
			if standard {
				if err := logdog.LinkOld(root); err != nil { // the archive is there without
					fmt.Fprintf(c.ErrOrStderr(), "hostd: warning: linking the archive at its old place: %v\n", err)
				}
			}
			_, err = fmt.Fprintf(stdout, "logs are at: %s\n", output)
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&output, "output", "", "`path` of the archive (default: "+logdog.DefaultOutput+", below --root)")
	rootdir.Flag(f, &root)
	f.StringVar(&socket, "socket-path", hostapi.DefaultSocket, "`path` of the API socket, below --root")
	return c
}

// variantOf returns the variant of the system, or "" when it does not say: logs are wanted of broken systems too.
func variantOf(root string) string {
	f, err := os.Open(filepath.Join(root, "usr/lib/os-release"))
	if err != nil {
		return ""
	}
	defer f.Close()
	release, err := osimage.ParseRelease(f)
	if err != nil {
		return ""
	}
	return release.Variant
}
