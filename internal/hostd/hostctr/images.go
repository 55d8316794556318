// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostctr

import (
	"context"
	"fmt"
	"maps"
	"slices"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/images"
)

// imageOf, and an id, is the label of the image that a container ran from last. It keeps the image while the container
// is stopped or switched off: a host whose network is broken starts from what is here.
const imageOf = "drydock.dev/image-of."

// labels of an image that is to be pulled: the new ones, and those it has, which a pull would drop.
func (r *Runtime) labels(ctx context.Context, ref string, add map[string]string) map[string]string {
	have, err := r.client.ImageService().Get(ctx, ref)
	if err != nil {
		return add
	}
	all := maps.Clone(have.Labels)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, add)
	return all
}

// claim makes an image that of a container.
func (r *Runtime) claim(ctx context.Context, image containerd.Image, id string) error {
	key := imageOf + id
	if image.Labels()[key] != "" {
		return nil
	}
	_, err := r.client.ImageService().Update(ctx, images.Image{Name: image.Name(), Target: image.Target(), Labels: map[string]string{key: "yes"}}, "labels."+key)
	return err
}

// prune removes the images that a container ran from before, unless another container runs from them or did so last, or
// somebody has given them a label.
func (r *Runtime) prune(ctx context.Context, id string, current containerd.Image) error {
	key := imageOf + id
	service := r.client.ImageService()
	old, err := service.List(ctx, fmt.Sprintf("labels.%q", key))
	if err != nil {
		return err
	}
	old = slices.DeleteFunc(old, func(i images.Image) bool { return i.Name == current.Name() })
	if len(old) == 0 {
		return nil
	}
	running, err := r.client.ContainerService().List(ctx)
	if err != nil {
		return err
	}
	for _, image := range old {
		if slices.ContainsFunc(running, func(c containers.Container) bool { return c.Image == image.Name }) {
			continue // the next start looks again
		}
		delete(image.Labels, key)
		if len(image.Labels) == 0 {
			if err = missing(service.Delete(ctx, image.Name)); err == nil {
				r.cfg.Log.Info("removed an image that no container runs from any more", "image", image.Name)
			}
		} else {
			_, err = service.Update(ctx, image, "labels."+key)
			err = missing(err)
		}
		if err != nil {
			return fmt.Errorf("image %s: %w", image.Name, err)
		}
	}
	return nil
}
