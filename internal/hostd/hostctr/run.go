// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostctr

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/containerd/containerd/api/types/runc/options"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
)

// fifoDir is where the container's output passes through, below the root.
const fifoDir = "/run/host-ctr"

// ExitError tells that a container ended by itself, and not well.
type ExitError struct {
	ID   string
	Code uint32
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("container %s ended with exit code %d", e.ID, e.Code)
}

var (
	// errStuck is about a task that even SIGKILL does not end.
	errStuck = errors.New("it does not end")

	// errGone is about a task that ended without a word.
	errGone = errors.New("it is gone: another process removed it, or its shim ended")
)

// Run runs a container until it ends or ctx does. In the second case the container is told to stop, and killed when it
// does not within its grace; that it was stopped so is no error.
func (r *Runtime) Run(ctx context.Context, c Container) error {
	id := c.ID()
	dir := r.path(c.storage())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the container's folder: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("making the container's folder: %w", err)
	}
	image, err := r.image(ctx, c)
	if err != nil {
		return stopped(ctx, err)
	}
	if err := r.CleanUp(ctx, id); err != nil { // of a run that was cut off
		return stopped(ctx, err)
	}
	always := context.WithoutCancel(ctx) // what was begun is also cleaned up
	container, task, err := r.create(ctx, c, image)
	if container != nil {
		defer func() {
			if err := r.remove(always, id, container); err != nil {
				r.cfg.Log.Warn("something of the container is left; the next start tries again", "error", err)
			}
		}()
	}
	if err != nil {
		return stopped(ctx, fmt.Errorf("creating container %s: %w", id, err))
	}
	defer task.IO().Close()
	exited, err := task.Wait(always)
	if err != nil {
		return fmt.Errorf("waiting for container %s: %w", id, err)
	}
	// Once it may have started, it is asked to end before it is killed, so this is not cut off.
	starting, cancel := context.WithTimeout(always, startLimit)
	err = task.Start(starting)
	cancel()
	if err != nil {
		return fmt.Errorf("starting container %s: %w", id, err)
	}
	r.cfg.Log.Info("container started", "container", id, "superpowered", c.Superpowered, "process", task.Pid())
	pruning, cancel := context.WithTimeout(always, connectLimit) // a stop at once leaves no image behind
	err = r.prune(pruning, id, image)
	cancel()
	if err != nil {
		r.cfg.Log.Warn("an image that is no longer needed is left; the next start tries again", "error", err)
	}
	for {
		select {
		case status := <-exited:
			code, _, err := status.Result()
			if errdefs.IsUnavailable(errgrpc.ToNative(err)) && r.back(ctx) {
				r.cfg.Log.Info("containerd is back", "container", id)
				if exited, err = task.Wait(always); err == nil {
					continue
				}
			}
			drain(task.IO())
			if err != nil {
				if gone(always, task) {
					err = errGone
				}
				return stopped(ctx, fmt.Errorf("waiting for container %s: %w", id, err))
			}
			r.cfg.Log.Info("container ended", "container", id, "code", code)
			if code != 0 {
				return &ExitError{id, code}
			}
			return nil
		case <-ctx.Done():
			return r.stop(always, id, task, exited)
		}
	}
}

// back waits until containerd answers, which it does not while it is restarted: containers run on meanwhile.
func (r *Runtime) back(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, removeLimit)
	defer cancel()
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		if _, err := r.client.Version(ctx); err == nil {
			return true
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false
		}
	}
}

// stopped is the result of a run that was stopped before there was a container.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// runcRuntime is the name of containerd's shim for runc.
const runcRuntime = "io.containerd.runc.v2"

// create also returns a container when it has no task.
func (r *Runtime) create(ctx context.Context, c Container, image containerd.Image) (containerd.Container, containerd.Task, error) {
	id := c.ID()
	var opts []containerd.NewContainerOpts
	if r.cfg.Snapshotter != "" {
		opts = append(opts, containerd.WithSnapshotter(r.cfg.Snapshotter)) // before what uses it
	}
	// By default runc keeps its state in one place for all containerds of a machine, where equal names would meet.
	state := &options.Options{Root: r.path(filepath.Join(filepath.Dir(r.cfg.Socket), "runc"))}
	container, err := r.client.NewContainer(ctx, id, append(opts, containerd.WithRuntime(runcRuntime, state),
		containerd.WithImage(image), containerd.WithNewSnapshot(id, image), containerd.WithNewSpec(r.options(c, image)...))...)
	if err != nil {
		if !errdefs.IsAlreadyExists(err) { // another process's, made since the clean-up
			err = errors.Join(err, r.CleanUp(context.WithoutCancel(ctx), id)) // of the snapshot
		}
		return nil, nil, err
	}
	fifos := r.path(fifoDir)
	if err := os.MkdirAll(fifos, 0o700); err != nil {
		return container, nil, err
	}
	task, err := container.NewTask(ctx, cio.NewCreator(cio.WithStreams(nil, r.cfg.Stdout, r.cfg.Stderr), cio.WithFIFODir(fifos)))
	return container, task, err
}

// drain lets what the container wrote last arrive. A process that it left behind may hold its output open for ever.
func drain(streams cio.IO) {
	done := make(chan struct{})
	go func() {
		streams.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(drainLimit):
		streams.Cancel()
	}
}

// stop ends a task: friendly, then not.
func (r *Runtime) stop(ctx context.Context, id string, task containerd.Task, exited <-chan containerd.ExitStatus) error {
	for _, step := range []struct {
		signal syscall.Signal
		limit  time.Duration
		opts   []containerd.KillOpts
	}{
		{syscall.SIGTERM, r.cfg.Grace, nil},
		{syscall.SIGKILL, afterKill, []containerd.KillOpts{containerd.WithKillAll}}, // in the host's PID namespace, children stay otherwise
	} {
		r.cfg.Log.Info("stopping container", "container", id, "signal", step.signal.String())
		if err := task.Kill(ctx, step.signal, step.opts...); err != nil && !errdefs.IsNotFound(err) && !gone(ctx, task) {
			return fmt.Errorf("stopping container %s: %w", id, err)
		}
		select {
		case <-exited:
			drain(task.IO())
			r.cfg.Log.Info("container stopped", "container", id)
			return nil
		case <-time.After(step.limit):
		}
	}
	return fmt.Errorf("stopping container %s: %w", id, errStuck)
}
