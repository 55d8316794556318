// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package hostd is the host daemon: it serves the host API on a Unix socket, runs updates, and tells the boot loader
// when the system that booted has proved itself.
//
// Only one daemon serves a socket. It says that it is ready when the API answers, and the boot counts as successful
// when all health checks pass; until then nothing is written to the idle slot, which may be the only good one.
package hostd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostd/apply"
	"github.com/drydock-os/drydock/internal/hostd/engine"
	"github.com/drydock-os/drydock/internal/hostd/execute"
	"github.com/drydock-os/drydock/internal/hostd/server"
	"github.com/drydock-os/drydock/internal/hostd/settings"
	"github.com/drydock-os/drydock/internal/hostd/storewolf"
	"github.com/drydock-os/drydock/internal/hostd/system"
	"github.com/drydock-os/drydock/internal/slot"
)

// Config holds everything the daemon needs. Fields are required unless they name a default.
type Config struct {
	Root          string // below which all files of the host are; default "/"
	Disk          string // the system disk: device or image file, not below Root; default: the device below Root that was booted from
	SocketPath    string // below Root; default hostapi.DefaultSocket
	SocketGID     int    // group of the socket; negative: that of the process
	RebootProgram string // default /usr/bin/systemctl; not below Root
	ExecProgram   string // called with the name of a host container and a command, to run it there; default: host-ctr, below Root
	ExecSocket    string // of the containerd of host containers, below Root; default DefaultExecSocket
	NotifySocket  string // of the service manager, from $NOTIFY_SOCKET; default: nobody is told

	Listener *net.UnixListener // of the API socket, held by the service manager too; default: the daemon makes the socket

	HTTP *http.Client     // for update repositories; default: one made by the update settings
	Now  func() time.Time // default: time.Now
	Log  *slog.Logger     // default: discard

	HealthDeadline time.Duration // for the boot to prove itself, else the host goes back; default DefaultHealthDeadline
	KubeletURL     string        // asked on hosts that have a kubelet; default: nobody is asked

	Health []Check // must pass, after the daemon's own, for the boot to count as successful; default: none
}

// Daemon is one host daemon.
type Daemon struct {
	cfg    Config
	disk   *system.Disk
	system *system.Identity
	engine *engine.Engine
	socket string
	proof  proof
}

// New checks cfg and identifies the running system. It listens to nothing and changes nothing yet.
func New(cfg Config) (*Daemon, error) {
	if cfg.Root == "" {
		cfg.Root = "/"
	}
	if cfg.SocketPath == "" {
		cfg.SocketPath = hostapi.DefaultSocket
	}
	if cfg.RebootProgram == "" {
		cfg.RebootProgram = "/usr/bin/systemctl"
	}
	if cfg.ExecSocket == "" {
		cfg.ExecSocket = DefaultExecSocket
	}
	if cfg.HealthDeadline == 0 {
		cfg.HealthDeadline = DefaultHealthDeadline
	}
	if cfg.HealthDeadline < 0 {
		return nil, errors.New("the health deadline is negative")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Disk == "" {
		boot, err := system.BootUUID(cfg.Root)
		if err != nil {
			return nil, err
		}
		if cfg.Disk, err = system.FindDisk(cfg.Root, boot); err != nil {
			return nil, err
		}
	}
	d := &Daemon{cfg: cfg, disk: system.NewDisk(cfg.Disk), socket: filepath.Join(cfg.Root, cfg.SocketPath)}
	var err error
	if d.system, err = system.Identify(cfg.Root, d.disk); err != nil {
		return nil, err
	}
	err = d.disk.View(func(_ *gpt.File, t *slot.Table) error {
		d.proof.successful = t.Flags(d.system.Slot).Successful
		return nil
	})
	if err != nil {
		return nil, err
	}
	d.engine, err = engine.New(engine.Config{
		Root: cfg.Root, System: d.system, Disk: d.disk, Now: cfg.Now, HTTP: cfg.HTTP, Log: cfg.Log, Boot: d.boot,
	})
	return d, err
}

const (
	// shutdownGrace is how long requests in flight may take once the daemon is asked to stop.
	shutdownGrace = 2 * time.Second
)

// Run serves until ctx ends, then stops cleanly and returns nil. An update command that runs then is stopped too and
// recorded as failed.
func (d *Daemon) Run(ctx context.Context) error {
	listener, err := newAPISocket(ctx, d.socket, d.cfg.SocketGID, d.cfg.Listener, d.cfg.Log)
	if err != nil {
		return err
	}
	defer listener.Close()
	rights, err := socketRights(d.socket)
	if err != nil {
		return err
	}
	if err := d.engine.Recover(); err != nil {
		return err
	}
	if err := d.migrate(ctx); err != nil {
		d.goBack(ctx, err) // without its settings, this system cannot prove itself
		return err
	}
	settingsStore, err := storewolf.Prepare(storewolf.Config{
		Root: d.cfg.Root, Version: d.system.Version.String(), Variant: d.system.Release.Variant, BootID: d.system.BootID, Log: d.cfg.Log,
	})
	if err != nil {
		return err
	}
	defer settingsStore.Close()
	model := settings.For(settings.ParseVariant(d.system.Release.Variant))
	applies := server.NewApplies(server.AppliesConfig{
		Applier: apply.New(apply.Config{Root: d.cfg.Root, Store: settingsStore, Model: model, OS: d.templateOS(), Log: d.cfg.Log}),
		Now:     d.cfg.Now, Log: d.cfg.Log,
	})
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { cancel(d.engine.Run(ctx)) })
	parts.Go(func() { applies.Run(ctx) })

	programs := execute.New(execute.Config{Argv: execArgv(d.cfg), Log: d.cfg.Log})
	requests, stopWaiting := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWaiting()
	api := &http.Server{
		Handler: server.New(server.Config{
			OS: d.os, Updates: d.engine, Reboot: d.reboot, Store: settingsStore, Applies: applies, Model: model,
			Exec: programs, Rights: rights, Log: d.cfg.Log,
		}),
		BaseContext:       func(net.Listener) context.Context { return requests },
		ConnContext:       server.WithPeer,
		ErrorLog:          slog.NewLogLogger(d.cfg.Log.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      hostapi.MaxWait + 30*time.Second, // status requests may wait as long as MaxWait
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	parts.Go(func() {
		if err := api.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			cancel(fmt.Errorf("serving the API: %w", err))
		}
	})
	parts.Go(func() { listener.Keep(ctx) })
	parts.Go(func() { d.proveBoot(ctx, settingsStore) })

	<-ctx.Done()
	parts.Go(programs.Close) // their connections are no longer the HTTP server's
	stopWaiting()            // requests that wait for the end of a command need not wait any more
	grace, stop := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer stop()
	if err := api.Shutdown(grace); err != nil {
		_ = api.Close() // the grace is over: nothing is owed to who is still connected
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// os is what the API says about the running system.
func (d *Daemon) os() hostapi.OS {
	os := d.identity()
	os.Boot = d.boot()
	return os
}

// identity is what does not change while the system runs.
func (d *Daemon) identity() hostapi.OS {
	r := d.system.Release
	return hostapi.OS{
		Arch: d.system.Arch, BuildID: r.BuildID, PrettyName: r.PrettyName, VariantID: r.Variant, VersionID: r.Version,
		BootID: d.system.BootID, Slot: d.system.Slot.String(),
	}
}

// templateOS is what templates know as os.
func (d *Daemon) templateOS() map[string]any {
	o := d.identity()
	return map[string]any{
		"arch": o.Arch, "build_id": o.BuildID, "pretty_name": o.PrettyName, "variant_id": o.VariantID, "version_id": o.VersionID,
	}
}
