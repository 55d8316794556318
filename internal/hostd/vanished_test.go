// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/drydock-os/drydock/internal/hostapi"
)

// Somebody removes the socket of a daemon that runs. Who has a connection keeps it, others are told what is missing, a
// second daemon does not get at the store, and after a restart everything is there.
func TestTheSocketVanishes(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0")
	s.bootLoader()
	d := s.start()
	socket := filepath.Join(s.root, hostapi.DefaultSocket)
	patch := func(c *hostapi.Client, body string) {
		t.Helper()
		if code, reply, err := c.Do(t.Context(), http.MethodPatch, "/settings", []byte(body)); err != nil || code != http.StatusNoContent {
			t.Fatalf("%d %s %v", code, reply, err)
		}
	}
	patch(d.Client, `{"motd":"before"}`)
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	patch(d.Client, `{"motd":"after"}`)
	other := hostapi.New(socket)
	defer other.Close()
	if _, err := other.OS(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another client: %v", err)
	}
	second, err := New(Config{Root: s.root, Disk: s.disk, SocketGID: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another process has the settings store open") {
		t.Errorf("a second daemon beside the first: %v", err)
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	again := s.start()
	if code, reply, err := again.Do(t.Context(), http.MethodGet, "/tx", nil); err != nil || code != http.StatusOK || string(reply) != `{"motd":"after"}` {
		t.Errorf("%d %s %v", code, reply, err)
	}
}
