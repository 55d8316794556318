// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Delays between restarts. A real kubelet's (10 s to 5 min) would be most of a lab's running time.
const (
	firstBackOff = 250 * time.Millisecond
	lastBackOff  = 10 * time.Second
	goodRun      = 10 * time.Second // after a run this long the next restart is immediate again
)

// container is one container of a pod. Its fields below spec and image are guarded by the worker's mutex.
type container struct {
	w      *worker
	spec   *corev1.Container
	image  string        // directory; empty: simulated
	sooner chan struct{} // the worker's deadline moved

	state, last    corev1.ContainerState
	restarts       int32
	ready, started bool
	id             string
	proc           *process
	log            *runLog // of the present run, or of the last one
}

// newContainer takes over what the API knows of it from an earlier boot: what ran then was lost with the
// power.
func newContainer(w *worker, spec *corev1.Container, known []corev1.ContainerStatus) *container {
	c := &container{w: w, spec: spec, image: w.k.image(spec.Image), sooner: make(chan struct{}, 1)}
	c.state.Waiting = &corev1.ContainerStateWaiting{Reason: reasonCreating}
	for _, s := range known {
		if s.Name != spec.Name || s.ContainerID == "" {
			continue
		}
		c.restarts, c.last, c.id = s.RestartCount+1, s.LastTerminationState, s.ContainerID
		switch {
		case s.State.Terminated != nil:
			c.last = corev1.ContainerState{Terminated: s.State.Terminated}
		case s.State.Running != nil:
			c.last = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				ExitCode: 255, Reason: "Unknown", Message: "the node lost power", // 255: as a real kubelet after a reboot
				StartedAt: s.State.Running.StartedAt, FinishedAt: now(), ContainerID: s.ContainerID,
			}}
		}
	}
	return c
}

// lost marks a container that will not be started in this boot as ended. The caller holds the worker's mutex.
func (c *container) lost() {
	end := c.last.Terminated
	if end == nil {
		end = &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "ContainerStatusUnknown", Message: "the container was not running when the pod was deleted"}
	} else if c.restarts > 0 {
		c.restarts--
		c.last = corev1.ContainerState{}
	}
	c.state = corev1.ContainerState{Terminated: end}
}

func statuses(all []*container) []corev1.ContainerStatus {
	var out []corev1.ContainerStatus
	for _, c := range all {
		s := corev1.ContainerStatus{
			Name: c.spec.Name, Image: c.spec.Image, ContainerID: c.id, RestartCount: c.restarts,
			State: *c.state.DeepCopy(), LastTerminationState: *c.last.DeepCopy(), Ready: c.ready, Started: new(c.started),
		}
		if c.id != "" {
			s.ImageID = "lab://" + c.spec.Image
		}
		out = append(out, s)
	}
	return out
}

// wait gives a reason why the container does not run yet.
func (c *container) wait(reason, message string) {
	c.w.mu.Lock()
	c.state = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	c.w.mu.Unlock()
	c.w.signal()
}

// hurry tells a container that is ending that its time got shorter.
func (c *container) hurry() {
	select {
	case c.sooner <- struct{}{}:
	default:
	}
}

// run starts the container as often as its pod's restart policy says. It returns when the container has ended
// for good, and reports whether it ended well. setup ends when the pod is asked to stop, ctx when it is
// killed.
func (c *container) run(ctx, setup context.Context) bool {
	if c.image == "" {
		return c.simulate(ctx)
	}
	isInit := slices.Contains(c.w.inits, c)
	policy := c.w.current().Spec.RestartPolicy
	backOff := time.Duration(0)
	for {
		begun := time.Now()
		code, err := c.runOnce(ctx, setup)
		if setup.Err() != nil || c.w.ending() { // setup ends a moment after the request to stop
			return false
		}
		if err != nil {
			c.w.log.Warn("container not started", "container", c.spec.Name, "error", err)
			c.w.event(corev1.EventTypeWarning, "Failed", err.Error())
		}
		if code == 0 && (isInit || policy != corev1.RestartPolicyAlways) {
			return true
		}
		if policy == corev1.RestartPolicyNever {
			return false
		}
		if time.Since(begun) > goodRun {
			backOff = 0
		}
		if backOff > 0 {
			c.backOff(backOff, code)
		}
		if pause(setup, backOff) != nil {
			return false
		}
		backOff = min(max(2*backOff, firstBackOff), lastBackOff)
		c.w.mu.Lock()
		c.restarts++
		c.w.mu.Unlock()
	}
}

// backOff shows that the container waits for its next start; what it did last moves to the last state.
func (c *container) backOff(d time.Duration, code int32) {
	text := fmt.Sprintf("back-off %v restarting failed container %s", d, c.spec.Name)
	c.w.mu.Lock()
	if c.state.Terminated != nil {
		c.last = c.state
	}
	c.w.mu.Unlock()
	c.wait(reasonBackOff, text)
	c.w.event(corev1.EventTypeWarning, "BackOff", text)
	c.w.log.Info("container restarts after back-off", "container", c.spec.Name, "exit_code", code, "delay", d)
}

// simulate is a container without processes: it runs until it is asked to stop and then ends well. An init
// container ends at once.
func (c *container) simulate(ctx context.Context) bool {
	c.running("lab://simulated/"+rand.Text(), nil)
	if !slices.Contains(c.w.inits, c) {
		c.setReady(true)
		select {
		case <-ctx.Done():
			return false
		case <-c.w.stopping:
		}
		for c.w.simulated {
			t := time.NewTimer(c.w.exitDelay())
			select {
			case <-ctx.Done():
				t.Stop()
				return false
			case <-c.sooner:
				t.Stop()
				continue
			case <-t.C:
			}
			break
		}
	}
	c.terminated(0, 0, "Completed", "")
	return true
}

// runOnce starts the container and waits for its end. The error says why it could not be started.
func (c *container) runOnce(ctx, setup context.Context) (code int32, err error) {
	p, err := c.start(setup)
	if err != nil {
		if setup.Err() != nil || c.w.ending() {
			return 0, nil
		}
		c.w.mu.Lock()
		at := now()
		c.state = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: 128, Reason: reasonStart, Message: err.Error(), StartedAt: at, FinishedAt: at,
		}}
		c.w.mu.Unlock()
		c.w.signal()
		return 128, fmt.Errorf("starting container %s: %w", c.spec.Name, err)
	}
	c.w.log.Debug("container started", "container", c.spec.Name, "pid", p.cmd.Process.Pid)

	probes, endProbes := context.WithCancel(ctx)
	unhealthy, probesDone := c.startProbes(probes)
	select {
	case <-p.exited:
	case <-ctx.Done():
		c.kill(p)
	case <-c.w.stopping:
		c.terminate(ctx, p, c.w.killTime)
	case reason := <-unhealthy:
		c.w.event(corev1.EventTypeNormal, "Killing", reason)
		c.w.log.Info("container is unhealthy, restarting it", "container", c.spec.Name, "reason", reason)
		deadline := time.Now().Add(c.grace())
		c.terminate(ctx, p, func() time.Time { return deadline })
	}
	endProbes()
	<-probesDone

	code, signal := p.exitCode()
	reason := "Completed"
	if code != 0 {
		reason = "Error"
	}
	c.terminated(code, signal, reason, c.terminationMessage())
	c.w.log.Debug("container ended", "container", c.spec.Name, "exit_code", code, "signal", signal)
	return code, nil
}

func (c *container) grace() time.Duration {
	if p := c.spec.LivenessProbe; p != nil && p.TerminationGracePeriodSeconds != nil {
		return time.Duration(*p.TerminationGracePeriodSeconds) * time.Second
	}
	if g := c.w.current().Spec.TerminationGracePeriodSeconds; g != nil {
		return time.Duration(*g) * time.Second
	}
	return 30 * time.Second
}

// terminate asks a process to end, and kills it at the deadline, which may move while it waits.
func (c *container) terminate(ctx context.Context, p *process, deadline func() time.Time) {
	if err := p.signal(syscall.SIGTERM); err != nil {
		c.w.log.Warn("stopping container", "container", c.spec.Name, "error", err)
	}
	for {
		t := time.NewTimer(time.Until(deadline()))
		select {
		case <-p.exited:
			t.Stop()
			return
		case <-c.sooner:
			t.Stop()
			continue
		case <-ctx.Done():
			t.Stop()
		case <-t.C:
			c.w.log.Info("container outlived its grace period, killing it", "container", c.spec.Name)
		}
		c.kill(p)
		return
	}
}

func (c *container) kill(p *process) {
	if err := p.signal(os.Kill); err != nil {
		c.w.log.Warn("killing container", "container", c.spec.Name, "error", err)
	}
	<-p.exited // bounded: the kernel ends a killed pid namespace, and the output by outputDelay
}

// start prepares everything that the container needs and starts its process.
func (c *container) start(setup context.Context) (*process, error) {
	pod := c.w.podWithAddresses()
	env, err := c.environment(setup, pod)
	if err != nil {
		return nil, err
	}
	mounts, err := c.w.containerMounts(setup, c, env.values)
	if err != nil {
		return nil, err
	}
	root, err := c.root(pod, mounts)
	if err != nil {
		return nil, err
	}
	argv := slices.Concat(c.spec.Command, c.spec.Args)
	if len(c.spec.Command) == 0 {
		// Images of the lab are plain directories and know no default command.
		argv = append([]string{"/entrypoint"}, c.spec.Args...)
	}
	for i := range argv {
		argv[i] = expand(argv[i], env.values)
	}
	log, err := c.beginLog()
	if err != nil {
		return nil, err
	}
	// Held across the start, so that a pod that is stopped or killed meanwhile sees the process.
	output := io.MultiWriter(log, c.w.k.cfg.ContainerOutput(pod.Name, c.spec.Name))
	p, err := start(c.w.inNetwork, root, argv, env.environ(), c.spec.WorkingDir, output, log.end)
	if err != nil {
		log.end()
		return nil, err
	}
	c.running("lab://"+rand.Text(), p)
	return p, nil
}

// environment resolves the container's variables, and waits for objects that do not exist yet.
func (c *container) environment(ctx context.Context, pod *corev1.Pod) (*vars, error) {
	notify := make(chan struct{}, 1)
	objects := map[objectRef]*object{}
	for _, ref := range envObjects(pod.Namespace, c.spec) {
		o, release := c.w.k.objects.use(ref, notify)
		defer release()
		objects[ref] = o
	}
	looking := false
	e := &environment{pod: pod, container: c.spec, object: func(ref objectRef) (map[string][]byte, bool) {
		data, exists, known := objects[ref].get()
		looking = looking || !known
		return data, exists
	}}
	told := ""
	for {
		defined, err := c.w.k.nodeVars(ctx, c.w.hostname(pod))
		if err != nil {
			return nil, err
		}
		looking = false
		err = e.resolve(defined)
		switch {
		case looking: // an optional object that was not looked up yet may exist
		case err == nil:
			return defined, nil
		case !errors.Is(err, errMissing):
			return nil, err
		case err.Error() != told:
			told = err.Error()
			c.wait(reasonConfig, told)
			c.w.event(corev1.EventTypeWarning, "Failed", told)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-notify:
		}
	}
}

// root describes the file system of the next start.
func (c *container) root(pod *corev1.Pod, mounts []mount) (*rootfs, error) {
	dir := filepath.Join(c.w.dir(), "containers", c.spec.Name)
	r := &rootfs{
		dir:         filepath.Join(dir, "rootfs"),
		image:       c.image,
		mounts:      mounts,
		terminating: filepath.Join(dir, "termination-log"),
		termination: c.spec.TerminationMessagePath,
		hostname:    c.w.hostname(pod),
	}
	if r.termination == "" {
		r.termination = corev1.TerminationMessagePathDefault
	}
	r.files = c.w.nodeFiles(pod)
	if s := c.spec.SecurityContext; s != nil {
		r.readOnly = isTrue(s.ReadOnlyRootFilesystem)
		c.w.log.Debug("security settings other than readOnlyRootFilesystem have no effect", "container", c.spec.Name)
	}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return nil, fmt.Errorf("creating container directory: %w", err)
	}
	if err := os.WriteFile(r.terminating, nil, 0o666); err != nil {
		return nil, fmt.Errorf("creating termination log: %w", err)
	}
	return r, nil
}

// maxTerminationMessage is the API's limit, in bytes.
const maxTerminationMessage = 4096

func (c *container) terminationMessage() string {
	f, err := os.Open(filepath.Join(c.w.dir(), "containers", c.spec.Name, "termination-log"))
	if err != nil {
		return ""
	}
	defer f.Close()
	buf := make([]byte, maxTerminationMessage)
	n, _ := f.Read(buf) // an empty message says as much as an unreadable one
	return strings.ToValidUTF8(string(buf[:n]), "\ufffd")
}

// running records a start. Without startup and readiness probes the container counts as started and ready.
func (c *container) running(id string, p *process) {
	c.w.mu.Lock()
	if c.state.Terminated != nil {
		c.last = c.state
	}
	c.id, c.proc = id, p
	c.state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now()}}
	c.started = c.spec.StartupProbe == nil || p == nil
	c.ready = c.started && c.spec.ReadinessProbe == nil && !slices.Contains(c.w.inits, c)
	c.w.mu.Unlock()
	c.w.signal()
}

func (c *container) terminated(code, signal int32, reason, message string) {
	c.w.mu.Lock()
	t := &corev1.ContainerStateTerminated{
		ExitCode: code, Signal: signal, Reason: reason, Message: message, FinishedAt: now(), ContainerID: c.id,
	}
	if r := c.state.Running; r != nil {
		t.StartedAt = r.StartedAt
	}
	c.state = corev1.ContainerState{Terminated: t}
	c.ready = slices.Contains(c.w.inits, c) && code == 0
	c.started, c.proc = false, nil
	c.w.mu.Unlock()
	c.w.signal()
}

func (c *container) setReady(ready bool) {
	c.w.mu.Lock()
	changed := c.ready != ready
	c.ready = ready
	c.w.mu.Unlock()
	if changed {
		c.w.signal()
	}
}
