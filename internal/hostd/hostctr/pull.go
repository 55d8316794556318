// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostctr

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
)

// PullOptions say what to do beside pulling an image.
type PullOptions struct {
	SkipIfPresent bool              // an image that is here already is not looked for again
	Labels        map[string]string // of the image
}

// Pull has the image of a source in containerd, ready to run.
func (r *Runtime) Pull(ctx context.Context, source string, o PullOptions) error {
	_, err := r.pull(ctx, source, o)
	return err
}

func (r *Runtime) pull(ctx context.Context, source string, o PullOptions) (containerd.Image, error) {
	ref, err := normal(source)
	if err != nil {
		return nil, err
	}
	if o.SkipIfPresent {
		if image, err := r.present(ctx, ref); !errdefs.IsNotFound(err) {
			return image, err
		}
	}
	registries, err := ReadRegistries(r.cfg.Root, r.cfg.RegistryConfig)
	if err != nil {
		return nil, err
	}
	hosts := registries.hosts(ctx, newHTTPClient(), r.cfg.AWS)
	labels := r.labels(ctx, ref, o.Labels)
	var image containerd.Image
	err = retry(ctx, r.cfg.Log, r.cfg.Spread, func(ctx context.Context) error {
		r.cfg.Log.Info("pulling image", "image", ref)
		start := time.Now()
		// A resolver remembers what it was refused, so each try has its own.
		options := []containerd.RemoteOpt{
			containerd.WithResolver(docker.NewResolver(docker.ResolverOptions{Hosts: hosts})),
			containerd.WithPullUnpack, containerd.WithPullLabels(labels),
		}
		if r.cfg.Snapshotter != "" {
			options = append(options, containerd.WithPullSnapshotter(r.cfg.Snapshotter))
		}
		var err error
		if image, err = r.client.Pull(ctx, ref, options...); err != nil {
			return err
		}
		r.cfg.Log.Info("image is here", "image", ref, "digest", image.Target().Digest.String(), "took", time.Since(start).Round(time.Millisecond))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("pulling image %s: %w", ref, err)
	}
	return image, nil
}

// image returns the image of a container. When it cannot be pulled, the one of the same name that is here is better than
// none: a host whose network is broken wants its containers most.
func (r *Runtime) image(ctx context.Context, c Container) (containerd.Image, error) {
	image, err := r.pull(ctx, c.Source, PullOptions{SkipIfPresent: c.UseCached, Labels: map[string]string{imageOf + c.ID(): "yes"}})
	if err != nil {
		ref, refErr := normal(c.Source)
		if ctx.Err() != nil || refErr != nil {
			return nil, err
		}
		here, hereErr := r.present(ctx, ref)
		if hereErr != nil {
			return nil, err
		}
		r.cfg.Log.Warn("the image cannot be pulled; using the one that is here", "image", ref, "digest", here.Target().Digest.String(), "error", err)
		image = here
	}
	if err := r.claim(ctx, image, c.ID()); err != nil {
		return nil, fmt.Errorf("marking image %s: %w", image.Name(), err)
	}
	return image, nil
}

// present returns an image that is in containerd with all its layers.
func (r *Runtime) present(ctx context.Context, ref string) (containerd.Image, error) {
	image, err := r.client.GetImage(ctx, ref)
	if err != nil {
		return nil, err
	}
	// One whose download was cut off has a name and a manifest too.
	if err := image.Unpack(ctx, r.cfg.Snapshotter); err != nil {
		return nil, err
	}
	return image, nil
}

// normal returns the full name of an image.
func normal(source string) (string, error) {
	named, err := reference.ParseDockerRef(source)
	if err != nil {
		return "", fmt.Errorf("image %q: %w", source, err)
	}
	return named.String(), nil
}

const (
	attempts   = 5
	firstPause = time.Second
	maxPause   = 30 * time.Second
)

// retry does something until it succeeds, five times at most. Between tries it waits longer and longer, and never as
// long as another host that does the same at the same time.
func retry(ctx context.Context, log *slog.Logger, spread func(time.Duration) time.Duration, try func(context.Context) error) error {
	pause := firstPause
	for left := attempts - 1; ; left-- {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		if left == 0 {
			return fmt.Errorf("giving up after %d tries: %w", attempts, err)
		}
		wait := spread(pause)
		log.Warn("that failed; trying again", "in", wait, "left", left, "error", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
		pause = min(2*pause, maxPause)
	}
}
