// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostd/migrate"
	"github.com/drydock-os/drydock/internal/hostd/storewolf"
	"github.com/drydock-os/drydock/internal/slot"
	"github.com/drydock-os/drydock/internal/tuf"
)

// Check is one condition for a boot to count as successful.
type Check interface {
	Name() string
	Check(context.Context) error // nil: healthy now
}

const (
	checkTimeout = 30 * time.Second // one check, once
	firstRetry   = 50 * time.Millisecond
	maxRetry     = 5 * time.Second

	// DefaultHealthDeadline is how long a system has for proving itself.
	DefaultHealthDeadline = 10 * time.Minute
)

// apiCheck is passed when the daemon's API answers on its socket with the system that runs.
type apiCheck struct{ d *Daemon }

func (apiCheck) Name() string { return "api" }

func (c apiCheck) Check(ctx context.Context) error {
	client := hostapi.New(c.d.socket)
	defer client.Close()
	got, err := client.OS(ctx)
	got.Boot = nil // it is about to change
	if err == nil && got != c.d.identity() {
		err = errors.New("the API answers for another system")
	}
	return err
}

// markSuccessful writes the mark. It is tried again like a check, because another process may use the disk just now.
type markSuccessful struct{ d *Daemon }

func (markSuccessful) Name() string { return "disk" }

func (m markSuccessful) Check(context.Context) error {
	return m.d.disk.Change(func(_ *gpt.File, t *slot.Table) error { return t.MarkSuccessful(m.d.system.Slot) })
}

// migrate brings the settings store to the version that runs, unless 'hostd migrator' has done it already.
func (d *Daemon) migrate(ctx context.Context) error {
	return migrate.Run(ctx, migrate.Config{
		Dir: d.storeDir(), To: d.system.Version, Log: d.cfg.Log,
		Open: func() (migrate.Repository, error) {
			return migrate.OpenSaved(d.system.TrustedRoot, tuf.Folders{
				Metadata: filepath.Join(d.cfg.Root, migrate.MetadataDir), Targets: filepath.Join(d.cfg.Root, migrate.TargetsDir),
			})
		},
	})
}

func (d *Daemon) storeDir() string { return filepath.Join(d.cfg.Root, storewolf.Dir) }

const (
	rebootTimeout = time.Minute // the init system asks its inhibitors
	maxRebootText = 4 << 10
)

// reboot asks the init system to reboot, and returns when it has agreed.
func (d *Daemon) reboot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rebootTimeout) // not undone by the client's leaving
	defer cancel()
	cmd := exec.CommandContext(ctx, d.cfg.RebootProgram, "reboot", "--check-inhibitors=yes")
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		text := strings.Join(strings.Fields(string(out[:min(len(out), maxRebootText)])), " ")
		return fmt.Errorf("rebooting: %s: %w: %s", d.cfg.RebootProgram, err, text)
	}
	return nil
}
