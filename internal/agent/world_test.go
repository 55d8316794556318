// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agent

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/hostapi"
)

// world is a host and a cluster in memory, with a controller that moves the spec as soon as the status
// allows. Agents come and go; the world stays.
type world struct {
	mu    sync.Mutex
	calls int
	// before is called with each call's name and number, outside of the lock; it may end the agent.
	before func(call string, number int)

	// the host
	running, other string // versions in the active and the idle slot, "" for empty
	offered        string // what a refresh chooses, "" for nothing
	bootID         int
	inB            bool // the active slot is B
	asked          bool // a status exists since the boot
	update         hostapi.UpdateStatus
	busyUntil      time.Time
	download       time.Duration
	broken         map[hostapi.Command]string // commands that fail, and why
	bad            map[string]bool            // versions that do not boot
	noReboot       bool                       // the host ignores the request
	sameSlot       bool                       // the host says that it booted the slot it came from
	sameBoot       bool                       // the host says that it has not rebooted
	onReboot       func()
	hostDown       error

	// the cluster
	spec     *agentapi.Spec // nil: no object
	status   *agentapi.Status
	revision uint64
	uid      int
	wake     chan struct{} // closed and replaced at each change
	cordoned bool
	excluded bool
	drainErr []error // what the next drains answer
	apiDown  error
	paused   bool // the controller does nothing
	// refuse is what the apiserver answers to a report; nil or a nil error takes it.
	refuse    func(agentapi.Status) error
	strict    bool // what the definition of the shadow forbids is refused
	journal   []string
	messages  []string
	drains    int
	reboots   int
	uncordons int
}

func newWorld() *world {
	return &world{
		running: "1.20.0", offered: "1.21.0", bootID: 1, download: 20 * time.Second,
		broken: map[hostapi.Command]string{}, bad: map[string]bool{}, wake: make(chan struct{}),
	}
}

func (w *world) enter(call string) func() {
	w.mu.Lock()
	w.calls++
	n, before := w.calls, w.before
	w.mu.Unlock()
	if before != nil {
		before(call, n)
	}
	w.mu.Lock()
	w.journal = append(w.journal, call)
	return w.mu.Unlock
}

// host is the world as the host's API shows it.
type host struct{ *world }

func (h host) OS(ctx context.Context) (hostapi.OS, error) {
	defer h.enter("os")()
	if h.hostDown != nil {
		return hostapi.OS{}, h.hostDown
	}
	slot := "A"
	if h.inB {
		slot = "B"
	}
	return hostapi.OS{VersionID: h.running, BootID: fmt.Sprint("boot-", h.bootID), Slot: slot}, ctx.Err()
}

func (h host) WaitUpdateStatus(ctx context.Context) (hostapi.UpdateStatus, error) {
	h.mu.Lock()
	d := time.Until(h.busyUntil)
	h.mu.Unlock()
	if err := agentapi.Wait(ctx, d); err != nil {
		return hostapi.UpdateStatus{}, err
	}
	defer h.enter("status")()
	if h.hostDown != nil {
		return hostapi.UpdateStatus{}, h.hostDown
	}
	if !h.asked {
		return hostapi.UpdateStatus{}, &hostapi.StatusError{Code: 404, Body: "uninitialized"}
	}
	return h.update, ctx.Err()
}

// command is one update command: it answers at once and works on for a while.
func (h host) command(name hostapi.Command, takes time.Duration, ok func() bool, effect func()) error {
	defer h.enter(string(name))()
	if time.Until(h.busyUntil) > 0 {
		return &hostapi.StatusError{Code: 423}
	}
	if !ok() {
		return &hostapi.StatusError{Code: 409}
	}
	h.asked = true
	h.busyUntil = time.Now().Add(takes)
	result := &hostapi.CommandResult{Type: name, Status: hostapi.StatusSuccess}
	if why := h.broken[name]; why != "" {
		result.Status, result.Stderr, result.ExitStatus = hostapi.StatusFailed, why, 1
	} else {
		effect()
	}
	h.update.MostRecentCommand = result
	return nil
}

func (h host) Refresh(context.Context) error {
	return h.command(hostapi.CommandRefresh, time.Second, func() bool { return true }, func() {
		h.update.ChosenUpdate = nil
		if h.offered != "" && h.offered != h.running {
			h.update.ChosenUpdate = &hostapi.Image{Version: h.offered}
		}
		switch s := h.update.UpdateState; {
		case s == hostapi.StateStaged || s == hostapi.StateReady:
		case h.update.ChosenUpdate != nil:
			h.update.UpdateState = hostapi.StateAvailable
		default:
			h.update.UpdateState = hostapi.StateIdle
		}
	})
}

func (h host) Prepare(context.Context) error {
	return h.command(hostapi.CommandPrepare, h.download, func() bool {
		return h.update.UpdateState == hostapi.StateAvailable || h.update.UpdateState == hostapi.StateStaged
	}, func() {
		h.other = h.update.ChosenUpdate.Version
		h.update.StagingPartition = &hostapi.Partition{Image: *h.update.ChosenUpdate}
		h.update.UpdateState = hostapi.StateStaged
	})
}

func (h host) Activate(context.Context) error {
	return h.command(hostapi.CommandActivate, time.Second, func() bool { return h.update.UpdateState == hostapi.StateStaged }, func() {
		h.update.StagingPartition.NextToBoot = true
		h.update.UpdateState = hostapi.StateReady
	})
}

func (h host) Deactivate(context.Context) error {
	return h.command(hostapi.CommandDeactivate, time.Second, func() bool { return h.update.UpdateState == hostapi.StateReady }, func() {
		h.update.StagingPartition.NextToBoot = false
		h.update.UpdateState = hostapi.StateStaged
	})
}

func (h host) Reboot(context.Context) error {
	defer h.enter("reboot")()
	h.reboots++
	if h.noReboot {
		return nil
	}
	if h.update.UpdateState == hostapi.StateReady && !h.bad[h.other] {
		h.running, h.other = h.other, h.running
		h.inB = h.inB != !h.sameSlot
	}
	if !h.sameBoot {
		h.bootID++
	}
	h.asked, h.update = false, hostapi.UpdateStatus{}
	h.onReboot()
	return nil
}

// cluster is the world as the apiserver shows it.
type cluster struct{ *world }

func (c cluster) event() agentapi.Event {
	if c.spec == nil {
		return agentapi.Event{Type: agentapi.EventAbsent}
	}
	spec := *c.spec
	e := agentapi.Event{Type: agentapi.EventState, Spec: &spec, UID: fmt.Sprint(c.uid), Revision: c.revision}
	if c.status != nil {
		status := *c.status
		e.Status = &status
	}
	return e
}

func (c cluster) Watch(ctx context.Context, f func(agentapi.Event)) error {
	for {
		c.mu.Lock()
		e, wake := c.event(), c.wake
		c.mu.Unlock()
		f(e)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		}
	}
}

func (c cluster) Create(ctx context.Context) error {
	defer c.enter("create")()
	if c.apiDown != nil {
		return c.apiDown
	}
	if c.spec == nil {
		c.uid++
		c.set(agentapi.Spec{State: agentapi.Idle}, nil)
	}
	return ctx.Err()
}

func (c cluster) PutStatus(ctx context.Context, s agentapi.Status) (uint64, error) {
	defer c.enter("put " + string(s.CurrentState))()
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case c.apiDown != nil:
		return 0, c.apiDown
	case c.spec == nil:
		return 0, &agentapi.StatusError{Code: 404}
	case c.strict && (!semver.MatchString(s.CurrentVersion) || !semver.MatchString(s.TargetVersion)):
		return 0, &agentapi.StatusError{Code: 400, Body: "invalid version"}
	}
	if c.refuse != nil {
		if err := c.refuse(s); err != nil {
			return 0, err
		}
	}
	if len(c.messages) == 0 || c.messages[len(c.messages)-1] != s.Message {
		c.messages = append(c.messages, s.Message)
	}
	c.set(*c.spec, &s)
	revision := c.revision
	c.control()
	return revision, nil
}

func (c cluster) CordonAndDrain(ctx context.Context) error {
	defer c.enter("drain")()
	c.drains++
	c.cordoned = true
	if len(c.drainErr) > 0 {
		err := c.drainErr[0]
		c.drainErr = c.drainErr[1:]
		return err
	}
	return ctx.Err()
}

func (c cluster) Uncordon(ctx context.Context) error {
	defer c.enter("uncordon")()
	if c.apiDown != nil {
		return c.apiDown
	}
	c.uncordons++
	c.cordoned, c.excluded = false, false
	return ctx.Err()
}

func (c cluster) ExcludeFromLB(ctx context.Context) error {
	defer c.enter("exclude")()
	c.excluded = true
	return ctx.Err()
}

// set stores the object; the caller holds the lock.
func (w *world) set(spec agentapi.Spec, status *agentapi.Status) {
	w.spec, w.status = &spec, status
	w.revision++
	close(w.wake)
	w.wake = make(chan struct{})
}

// control is the controller, without any limit. The caller holds the lock.
func (w *world) control() {
	if w.paused || w.spec == nil || w.status == nil {
		return
	}
	spec := *w.spec
	switch reached := w.status.CurrentState; {
	case reached == agentapi.ErrorReset:
		spec.State = agentapi.Idle
	case reached != spec.State:
		return
	case reached == agentapi.Idle:
		if w.status.TargetVersion == w.status.CurrentVersion || w.status.CrashCount > 0 {
			return
		}
		spec.State, spec.Version = agentapi.StagedAndPerformedUpdate, &w.status.TargetVersion
	case reached == agentapi.StagedAndPerformedUpdate:
		spec.State = agentapi.RebootedIntoUpdate
	case reached == agentapi.RebootedIntoUpdate:
		spec.State = agentapi.MonitoringUpdate
	case reached == agentapi.MonitoringUpdate:
		spec.State = agentapi.Idle
	}
	w.set(spec, w.status)
}

// want is a person or a controller that writes the spec.
func (w *world) want(state agentapi.State, version string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.set(agentapi.Spec{State: state, Version: &version}, w.status)
}

// now returns a copy of the status; it has no state when there is none.
func (w *world) now() agentapi.Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status == nil {
		return agentapi.Status{}
	}
	return *w.status
}

// semver is simpler than the pattern of the definition, and enough for these tests.
var semver = regexp.MustCompile(`^\d+\.\d+\.\d+$`)

var errDown = errors.New("connection refused")
