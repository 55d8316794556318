// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package fakehost is a host API without a host: it keeps state like the real one, passes the same contract test, and
// fails when told to.
//
// The HTTP side and the rules of the update states are the real ones; disk, repository and reboots are imagined.
// Tests take one each; the lab's simulated fleets take thousands.
package fakehost

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostd/engine"
	"github.com/drydock-os/drydock/internal/hostd/server"
)

// Config describes the host at the beginning. Fields are required unless they name a default.
type Config struct {
	Version string
	Offer   string // the version that a refresh finds; default: none
	Variant string // default "metal"
	Arch    string // default "x86_64"
	// Socket is the path of the API's socket. Default for New: one in a directory of its own.
	Socket string
	// Takes is how long each run of a command lasts. Default: no time at all.
	Takes map[hostapi.Command]time.Duration
	// Quiet keeps no list of calls, which would grow for ever.
	Quiet bool
	// OnCommand is told of each command that begins and, with its result and how long it took, ends. Default: nobody.
	OnCommand func(cmd hostapi.Command, done bool, result string, took time.Duration)
}

// Host is a fake host with a socket. Its methods may be called from several goroutines.
type Host struct {
	socket string
	takes  map[hostapi.Command]time.Duration
	quiet  bool
	tell   func(cmd hostapi.Command, done bool, result string, took time.Duration)
	close  func()

	mu       sync.Mutex
	os       hostapi.OS
	offer    string
	status   *hostapi.UpdateStatus
	running  chan struct{} // closed when the running command ends; nil: none runs
	fail     map[hostapi.Command]string
	hold     map[hostapi.Command]chan struct{}
	fallBack bool
	boots    int
	calls    []string
	onReboot func()
	commands sync.WaitGroup
}

var _ server.Updates = (*Host)(nil)

// Test is what New needs of a *testing.T.
type Test interface {
	Helper()
	Fatal(args ...any)
	Cleanup(func())
}

// New starts a fake host, which lives until the test ends.
func New(t Test, cfg Config) *Host {
	t.Helper()
	// Socket paths are short; the folders of tests are not.
	dir, err := os.MkdirTemp("", "fakehost")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg.Socket = cmp.Or(cfg.Socket, filepath.Join(dir, "api.sock"))
	h, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// Start starts a fake host at the socket that cfg names, which lives until Close.
func Start(cfg Config) (*Host, error) {
	h := &Host{
		socket: cfg.Socket, takes: cfg.Takes, quiet: cfg.Quiet, tell: cfg.OnCommand, offer: cfg.Offer,
		fail: map[hostapi.Command]string{}, hold: map[hostapi.Command]chan struct{}{}, boots: 1,
	}
	h.os = hostapi.OS{Arch: cmp.Or(cfg.Arch, "x86_64"), VariantID: cmp.Or(cfg.Variant, "metal"), Slot: "A"}
	h.setVersion(cfg.Version)
	if h.tell == nil {
		h.tell = func(hostapi.Command, bool, string, time.Duration) {}
	}
	listener, err := net.Listen("unix", h.socket)
	if err != nil {
		return nil, fmt.Errorf("starting a fake host: %w", err)
	}
	srv := &http.Server{Handler: h.handler(), ReadHeaderTimeout: 10 * time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(listener) })
	h.close = sync.OnceFunc(func() {
		h.releaseAll()
		_ = srv.Close()
		serving.Wait()
		h.commands.Wait()
	})
	return h, nil
}

// Close ends the host and whatever it does.
func (h *Host) Close() { h.close() }

func (h *Host) setVersion(v string) {
	h.os.VersionID, h.os.BuildID, h.os.PrettyName = v, "fake", "Fake OS "+v
	h.os.BootID = fmt.Sprintf("00000000-0000-4000-8000-%012d", h.boots)
}

// handler serves /os from the present state; the rest does so anyway.
func (h *Host) handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		if !h.quiet {
			h.calls = append(h.calls, r.Method+" "+r.URL.Path)
		}
		h.mu.Unlock()
		server.New(server.Config{OS: h.OS, Updates: h, Reboot: h.reboot, Log: slog.New(slog.DiscardHandler)}).ServeHTTP(w, r)
	})
}

// Socket returns the path of the API socket.
func (h *Host) Socket() string { return h.socket }

// Client returns a client of this host.
func (h *Host) Client() *hostapi.Client { return hostapi.New(h.socket) }

// Offer changes what the next refresh finds; "" means nothing.
func (h *Host) Offer(version string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.offer = version
}

// Fail makes the next run of a command fail for the given reason.
func (h *Host) Fail(cmd hostapi.Command, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail[cmd] = reason
}

// Hold makes the next run of a command last until release is called.
func (h *Host) Hold(cmd hostapi.Command) (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := make(chan struct{})
	h.hold[cmd] = c
	return func() { h.release(c) }
}

// BusyFor makes the next run of a command last that long.
func (h *Host) BusyFor(cmd hostapi.Command, d time.Duration) { time.AfterFunc(d, h.Hold(cmd)) }

// FallBack makes the next boot come up with the old version, as if the new one had not proved itself.
func (h *Host) FallBack() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fallBack = true
}

// OnReboot replaces what a reboot request does (by default: Boot).
func (h *Host) OnReboot(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onReboot = f
}

// Boot boots the host: into the staged version if it was activated, with a new boot id, and with no status.
func (h *Host) Boot() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.boots++
	version := h.os.VersionID
	if h.status != nil && h.status.UpdateState == hostapi.StateReady && !h.fallBack {
		version = h.status.StagingPartition.Image.Version
		h.os.Slot = map[string]string{"A": "B", "B": "A"}[h.os.Slot]
	}
	h.fallBack, h.status = false, nil
	h.setVersion(version)
}

// OS returns what the host says of itself; its boots prove themselves at once.
func (h *Host) OS() hostapi.OS {
	h.mu.Lock()
	defer h.mu.Unlock()
	os := h.os
	os.Boot = &hostapi.Boot{Slot: os.Slot, Successful: true, Checks: []hostapi.BootCheck{}}
	return os
}

// Calls returns the requests so far, such as "POST /actions/reboot".
func (h *Host) Calls() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.calls)
}

func (h *Host) reboot(context.Context) error {
	h.mu.Lock()
	f := h.onReboot
	h.mu.Unlock()
	if f == nil {
		f = h.Boot
	}
	f()
	return nil
}

func (h *Host) releaseAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.hold {
		closeOnce(c)
	}
}

// release ends the wait of a command that takes its time.
func (h *Host) release(c chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	closeOnce(c)
}

// closeOnce closes a channel that may be closed already; the caller holds the lock under which that is done.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

func (h *Host) image(version string) *hostapi.Image {
	return &hostapi.Image{Arch: h.os.Arch, Version: version, Variant: h.os.VariantID}
}

// Start implements server.Updates.
func (h *Host) Start(cmd hostapi.Command) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running != nil {
		return engine.ErrBusy
	}
	if h.status == nil {
		h.status = &hostapi.UpdateStatus{
			UpdateState: hostapi.StateIdle, AvailableUpdates: []string{},
			ActivePartition: &hostapi.Partition{Image: *h.image(h.os.VersionID), NextToBoot: true},
		}
	}
	if err := engine.Allowed(cmd, h.status); err != nil {
		return err
	}
	h.running = make(chan struct{})
	held := h.hold[cmd]
	if d := h.takes[cmd]; d > 0 && held == nil {
		held = make(chan struct{})
		h.hold[cmd] = held
		time.AfterFunc(d, func() { h.release(held) })
	}
	began := time.Now()
	h.commands.Go(func() {
		h.tell(cmd, false, "", 0)
		if held != nil {
			<-held
		}
		h.finish(cmd, began)
	})
	return nil
}

func (h *Host) finish(cmd hostapi.Command, began time.Time) {
	result := hostapi.StatusSuccess
	defer func() { h.tell(cmd, true, string(result), time.Since(began)) }()
	h.mu.Lock()
	defer h.mu.Unlock()
	reason, failed := h.fail[cmd]
	delete(h.fail, cmd)
	delete(h.hold, cmd)
	found := &engine.Offer{Available: []string{h.os.VersionID}}
	if h.offer != "" && h.offer != h.os.VersionID {
		found.Available = []string{h.offer, h.os.VersionID}
		found.Chosen = h.image(h.offer)
	}
	if h.status != nil { // a reboot in the meantime has ended the command without a result
		engine.Advance(cmd, h.status, !failed, found)
		outcome := &hostapi.CommandResult{Type: cmd, Status: hostapi.StatusSuccess, Timestamp: time.Now().UTC().Format(time.RFC3339Nano)}
		if failed {
			outcome.Status, outcome.ExitStatus, outcome.Stderr = hostapi.StatusFailed, 1, reason
			result = hostapi.StatusFailed
		}
		h.status.MostRecentCommand = outcome
	}
	close(h.running)
	h.running = nil
}

// Status implements server.Updates.
func (h *Host) Status() (*hostapi.UpdateStatus, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.running != nil:
		return nil, engine.ErrBusy
	case h.status == nil:
		return nil, engine.ErrNoStatus
	}
	s := *h.status
	return &s, nil
}

// ProgressStatus implements server.Updates. Progress is not shown.
func (h *Host) ProgressStatus() (*hostapi.UpdateStatus, error) { return h.Status() }

// Unblock implements server.Updates. Nothing is ever blocked.
func (h *Host) Unblock(string) error { return engine.ErrNotBlocked }

// WaitStatus implements server.Updates.
func (h *Host) WaitStatus(ctx context.Context) (*hostapi.UpdateStatus, error) {
	for {
		s, err := h.Status()
		if !errors.Is(err, engine.ErrBusy) {
			return s, err
		}
		h.mu.Lock()
		running := h.running
		h.mu.Unlock()
		if running == nil {
			continue
		}
		select {
		case <-running:
		case <-ctx.Done():
			return nil, err
		}
	}
}
