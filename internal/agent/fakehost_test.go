// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agent

import (
	"context"
	"testing"
	"time"

	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/testutil/fakehost"
)

// The same story over a real socket, with the rules of the real host API.
func TestAnUpdateOverTheHostsSocket(t *testing.T) {
	h := fakehost.New(t, fakehost.Config{Version: "1.20.0", Offer: "1.21.0"})
	w := newWorld()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			w.mu.Lock()
			wake := w.wake
			w.mu.Unlock()
			if s := w.now(); s.CurrentState == agentapi.Idle && s.CurrentVersion == "1.21.0" {
				cancel()
			}
			select {
			case <-wake:
			case <-ctx.Done():
			}
		}
	}()
	for ctx.Err() == nil {
		life, kill := context.WithCancel(ctx)
		h.OnReboot(func() { h.Boot(); kill() })
		client := h.Client()
		a, err := New(Config{Host: client, Cluster: cluster{w}})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Run(life); err != nil {
			t.Error(err)
		}
		client.Close()
		kill()
	}
	s := w.now()
	if s.CurrentVersion != "1.21.0" || s.CurrentState != agentapi.Idle || s.CrashCount != 0 || w.drains != 1 || w.cordoned {
		t.Errorf("%d drains, cordoned %v, %+v\n%v", w.drains, w.cordoned, s, h.Calls())
	}
}
