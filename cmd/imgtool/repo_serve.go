// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/drydock-os/drydock/internal/program"
	"github.com/drydock-os/drydock/internal/tuf"
)

// serveGrace is how long downloads under way may take once the server is asked to stop.
const serveGrace = 5 * time.Second

func newRepoServeCmd(stdout io.Writer) *cobra.Command {
	var repo, listen string
	c := &cobra.Command{
		Use:   "serve --repo DIR",
		Short: "Serve a repository over HTTP, to try it",
		Long: `Serve the files of a repository over HTTP until Ctrl-C, to try it on one machine. What others depend on
belongs on a web server of your choice: they are static files.

Exit codes: 0 stopped, 1 failed, 2 the command line is wrong.`,
		Example: "  imgtool repo serve --repo repo --listen 127.0.0.1:8080",
		Args:    program.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := required([2]string{"repo", repo}); err != nil {
				return program.WithUsage(c, err)
			}
			if _, err := tuf.ReadRoot(repo); err != nil {
				return repoHint(c, err)
			}
			return serveRepo(c.Context(), repo, listen, stdout)
		},
	}
	f := c.Flags()
	f.StringVar(&repo, "repo", "", "`folder` of the repository (required)")
	f.StringVar(&listen, "listen", "127.0.0.1:8080", "`address` and port; port 0 takes a free one")
	return c
}

func serveRepo(ctx context.Context, repo, listen string, stdout io.Writer) error {
	root, err := os.OpenRoot(repo) // links cannot lead out of it
	if err != nil {
		return fmt.Errorf("serving %s: %w", repo, err)
	}
	defer root.Close()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("serving %s: %w", repo, err)
	}
	server := &http.Server{
		Handler:           http.FileServerFS(root.FS()),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      time.Hour, // a large image over a slow line
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	if _, err := fmt.Fprintf(stdout, "serving %s at http://%s/\n", repo, l.Addr()); err != nil {
		return errors.Join(err, l.Close())
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving %s: %w", repo, err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), serveGrace)
	defer cancel()
	if server.Shutdown(grace) != nil {
		_ = server.Close() // the grace is over
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving %s: %w", repo, err)
	}
	return nil
}
