// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fakehost

import (
	"context"
	"testing"
	"time"

	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostapi/hostapitest"
)

func TestContract(t *testing.T) {
	hostapitest.Run(t, func(t *testing.T) hostapitest.Host {
		h := New(t, Config{Version: "1.20.0", Offer: "1.21.0"})
		return hostapitest.Host{Socket: h.Socket(), Running: "1.20.0", Offered: "1.21.0", Hold: h.Hold}
	})
}

func run(t *testing.T, c *hostapi.Client, start func(context.Context) error) hostapi.UpdateStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := start(ctx); err != nil {
		t.Fatal(err)
	}
	status, err := c.WaitUpdateStatus(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

func TestFaults(t *testing.T) {
	h := New(t, Config{Version: "1.20.0", Offer: "1.21.0"})
	c := h.Client()
	run(t, c, c.Refresh)
	h.Fail(hostapi.CommandPrepare, "no space left")
	if s := run(t, c, c.Prepare); s.MostRecentCommand.Stderr != "no space left" || s.UpdateState != hostapi.StateAvailable {
		t.Errorf("failed prepare: %+v, state %s", s.MostRecentCommand, s.UpdateState)
	}
	for _, fallBack := range []bool{true, false} {
		run(t, c, c.Refresh)
		h.BusyFor(hostapi.CommandPrepare, 10*time.Millisecond)
		run(t, c, c.Prepare)
		run(t, c, c.Activate)
		if fallBack {
			h.FallBack()
		}
		before, err := c.OS(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Reboot(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := "1.21.0"
		if fallBack {
			want = "1.20.0"
		}
		after, err := c.OS(t.Context())
		if err != nil || after.VersionID != want || after.BootID == before.BootID {
			t.Errorf("fall-back %v: came up as %+v, %v", fallBack, after, err)
		}
	}
}
