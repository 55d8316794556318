// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agent

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/hostapi"
)

// ErrHostGone means that nobody listens on the host's socket as this container sees it. A host daemon that
// starts again makes a new socket, but a container that mounts the old one keeps the old one: only a new
// container sees the new socket. The agent ends with this error to get one.
var ErrHostGone = errors.New("nobody listens on the host's socket")

// hostGoneAfter is how long the socket may refuse: longer than a daemon takes that keeps its socket.
const hostGoneAfter = 3 * time.Second

// hostLink is the host with refused connections tried again. A refused request never reached the host, so
// that goes for commands too.
type hostLink struct {
	Host
	gone func(error) // told once the socket has refused for hostGoneAfter
}

func (h hostLink) OS(ctx context.Context) (hostapi.OS, error) {
	var os hostapi.OS
	err := h.try(ctx, func(ctx context.Context) (err error) {
		if os, err = h.Host.OS(ctx); err == nil {
			os, err = checked(os)
		}
		return err
	})
	return os, err
}

func (h hostLink) WaitUpdateStatus(ctx context.Context) (hostapi.UpdateStatus, error) {
	var s hostapi.UpdateStatus
	return s, h.try(ctx, func(ctx context.Context) (err error) { s, err = h.Host.WaitUpdateStatus(ctx); return err })
}

func (h hostLink) Refresh(ctx context.Context) error    { return h.try(ctx, h.Host.Refresh) }
func (h hostLink) Prepare(ctx context.Context) error    { return h.try(ctx, h.Host.Prepare) }
func (h hostLink) Activate(ctx context.Context) error   { return h.try(ctx, h.Host.Activate) }
func (h hostLink) Deactivate(ctx context.Context) error { return h.try(ctx, h.Host.Deactivate) }
func (h hostLink) Reboot(ctx context.Context) error     { return h.try(ctx, h.Host.Reboot) }

func (h hostLink) try(ctx context.Context, call func(context.Context) error) error {
	var pause agentapi.Backoff
	for patience := hostGoneAfter; ; {
		err := call(ctx)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
		if patience <= 0 {
			h.gone(fmt.Errorf("%w: %w", ErrHostGone, err))
			return err
		}
		d := pause.Next()
		patience -= d
		if agentapi.Wait(ctx, d) != nil {
			return err
		}
	}
}
