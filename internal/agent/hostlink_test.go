// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/hostapi"
)

// errRefused is what a socket answers when nobody listens on it any more.
var errRefused = fmt.Errorf("%w: %w", hostapi.ErrDisconnected,
	&net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)})

func TestAHostThatOnlyRestartsIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.hostDown = errRefused
		time.AfterFunc(2*time.Second, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.hostDown = nil
		})
		if agents := w.live(t, 10*time.Minute); agents != 2 { // the one at the start and the one after the reboot
			t.Errorf("%d agents, want 2", agents)
		}
		if s := w.now(); s.CurrentVersion != "1.21.0" || s.CurrentState != agentapi.Idle || s.CrashCount != 0 {
			t.Errorf("got %+v", s)
		}
	})
}

func TestAgentEndsForANewSocketAndReportsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.before = func(call string, _ int) {
			if call == "prepare" { // the daemon dies in the middle of the download
				w.mu.Lock()
				defer w.mu.Unlock()
				w.hostDown = errRefused
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		a, err := New(Config{Host: host{w}, Cluster: cluster{w}})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Run(ctx); !errors.Is(err, ErrHostGone) {
			t.Fatalf("agent ended with %v, want %v", err, ErrHostGone)
		}
		if s := w.now(); s.CurrentState == agentapi.ErrorReset || s.CrashCount != 0 {
			t.Errorf("the attempt counts as failed: %+v", s)
		}
		w.mu.Lock()
		w.hostDown, w.before = nil, nil
		w.mu.Unlock()
		w.live(t, 10*time.Minute) // the new container's agent
		if s := w.now(); s.CurrentVersion != "1.21.0" || s.CurrentState != agentapi.Idle {
			t.Errorf("the next agent left %+v", s)
		}
	})
}
