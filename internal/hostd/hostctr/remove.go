// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostctr

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
)

// CleanUp removes what is left of a container, which may be nothing.
func (r *Runtime) CleanUp(ctx context.Context, id string) error {
	return r.remove(ctx, id, nil)
}

// remove removes task, container and snapshot. Each may be missing, and any may be about to vanish because another
// process removes them too: the one that ran the container, or containerd itself after its shim died. What one is told
// while another is at work says little (that the shim hung up, that the task still runs), so only a look at what is left
// then counts. With only, nothing is touched that was made under the same name since.
func (r *Runtime) remove(ctx context.Context, id string, only containerd.Container) error {
	ctx, cancel := context.WithTimeout(ctx, removeLimit)
	defer cancel()
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		err := r.removeOnce(ctx, id, only)
		if err == nil {
			return nil
		}
		err = fmt.Errorf("removing container %s: %w", id, err)
		if !passing(err) {
			return err
		}
		r.cfg.Log.Debug("looking again at what is left", "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// passing tells whether an error may be about a state that does not last.
func passing(err error) bool {
	for _, is := range []func(error) bool{
		errdefs.IsUnknown,            // the words of a shim that is ending
		errdefs.IsFailedPrecondition, // it runs still
		errdefs.IsUnavailable,        // containerd is being restarted
	} {
		if is(err) {
			return true
		}
	}
	return false
}

func (r *Runtime) removeOnce(ctx context.Context, id string, only containerd.Container) error {
	container, err := r.client.LoadContainer(ctx, id)
	switch {
	case errdefs.IsNotFound(err) && only != nil:
		return nil
	case errdefs.IsNotFound(err):
		// A cut between the two leaves a snapshot without its container.
		return missing(r.client.SnapshotService(r.cfg.Snapshotter).Remove(ctx, id))
	case err != nil:
		return err
	case only != nil && !created(ctx, only).Equal(created(ctx, container)):
		return nil
	}
	task, err := container.Task(ctx, nil)
	if err == nil {
		err = containerd.WithProcessKill(ctx, task)
	}
	if err := missing(err); err != nil {
		return err
	}
	// Also of a task that is said not to be: its shim may be there still, and with it the task's name, so that no other
	// can have it. This waits for its end.
	_, err = r.client.TaskService().Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: id})
	if err := missing(errgrpc.ToNative(err)); err != nil {
		return err
	}
	return missing(container.Delete(ctx, containerd.WithSnapshotCleanup))
}

// missing turns an error about something that is not there into none.
func missing(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// gone tells whether a task is no more. Errors of other requests do not: its shim hangs up in the midst of them.
func gone(ctx context.Context, task containerd.Task) bool {
	_, err := task.Status(ctx)
	return errdefs.IsNotFound(err)
}

// created tells one container from another of the same name.
func created(ctx context.Context, c containerd.Container) time.Time {
	info, err := c.Info(ctx, containerd.WithoutRefreshedMetadata) // asks nobody
	if err != nil {
		return time.Time{}
	}
	return info.CreatedAt
}
