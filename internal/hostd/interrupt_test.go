// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/slot"
)

// While a command runs, everything about updates answers 423, and a waiting reader gets the new status.
func TestBusyWhileDownloading(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0", "1.21.0")
	s.bootLoader()
	d := s.start()
	d.log.await(t, "boot marked successful")
	d.mustCommand(d.Refresh, hostapi.StateAvailable)
	reached, release := make(chan struct{}), make(chan struct{})
	s.setTamper(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "-root.erofs.lz4") {
			close(reached)
			<-release
		}
		return false
	})
	if err := d.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := d.UpdateStatus(t.Context()); !errors.Is(err, hostapi.ErrBusy) {
		t.Errorf("status at once after the 204: %v", err)
	}
	<-reached
	for name, call := range map[string]func(context.Context) error{"refresh": d.Refresh, "prepare": d.Prepare, "activate": d.Activate} {
		if err := call(t.Context()); !errors.Is(err, hostapi.ErrBusy) {
			t.Errorf("%s meanwhile: %v", name, err)
		}
	}
	waited := make(chan hostapi.UpdateStatus, 1)
	go func() {
		status, err := d.WaitUpdateStatus(t.Context())
		if err != nil {
			t.Error(err)
		}
		waited <- status
	}()
	close(release)
	if status := <-waited; status.UpdateState != hostapi.StateStaged {
		t.Errorf("state %s", status.UpdateState)
	}
}

// A daemon that is stopped, or dies, in the middle of a prepare goes on from the disk.
func TestStopInTheMiddle(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0", "1.21.0")
	s.bootLoader()
	d := s.start()
	d.log.await(t, "boot marked successful")
	d.mustCommand(d.Refresh, hostapi.StateAvailable)
	d.mustCommand(d.Prepare, hostapi.StateStaged)
	s.publish("1.22.0")
	d.mustCommand(d.Refresh, hostapi.StateStaged)
	reached := make(chan struct{})
	s.setTamper(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "-boot.img.lz4") {
			close(reached)
			<-r.Context().Done()
		}
		return false
	})
	if err := d.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-reached
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	s.setTamper(nil)
	d = s.start()
	status, err := d.UpdateStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c := status.MostRecentCommand; c.Type != hostapi.CommandPrepare || c.Status != hostapi.StatusFailed || !c.Interrupted {
		t.Errorf("result %+v", c)
	}
	if status.UpdateState != hostapi.StateAvailable || status.StagingPartition != nil {
		t.Errorf("state %s although the idle slot was cleared", status.UpdateState)
	}
	d.mustCommand(d.Prepare, hostapi.StateStaged)
	d.mustCommand(d.Activate, hostapi.StateReady)
}

// A kill leaves neither a result nor a released marker; the next start makes up for both.
func TestKilledInTheMiddle(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0", "1.21.0")
	s.bootLoader()
	d := s.start()
	d.log.await(t, "boot marked successful")
	d.mustCommand(d.Refresh, hostapi.StateAvailable)
	d.mustCommand(d.Prepare, hostapi.StateStaged)
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	// As if killed between the write of the flags and that of the status.
	disk, err := gpt.OpenFile(s.disk, true)
	if err != nil {
		t.Fatal(err)
	}
	table, err := slot.Open(disk, disk.Size())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(table.UpgradeToInactive(slot.A), disk.Close()); err != nil {
		t.Fatal(err)
	}
	s.write("run/cache/thar-be-updates/running.json", `{"command":"activate"}`)
	d = s.start()
	status, err := d.UpdateStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status.UpdateState != hostapi.StateReady || !status.StagingPartition.NextToBoot {
		t.Errorf("state %s although the disk says that B boots next", status.UpdateState)
	}
	if c := status.MostRecentCommand; c.Type != hostapi.CommandActivate || c.Status != hostapi.StatusFailed || c.Stderr == "" {
		t.Errorf("result %+v", c)
	}
}

// Until the running slot is good, the idle one may be the only good one: it is not touched.
func TestUnprovenBootKeepsTheOldSlot(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0", "1.21.0")
	s.bootLoader()
	d := s.start()
	d.log.await(t, "boot marked successful")
	d.mustCommand(d.Refresh, hostapi.StateAvailable)
	d.mustCommand(d.Prepare, hostapi.StateStaged)
	d.mustCommand(d.Activate, hostapi.StateReady)
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	s.bootLoader()
	s.publish("1.22.0")
	d = s.start(func(c *Config) { c.Health = []Check{sick{}} })
	d.mustCommand(d.Refresh, hostapi.StateAvailable)
	status := d.command(d.Prepare)
	if c := status.MostRecentCommand; c.Status != hostapi.StatusFailed || !strings.Contains(c.Stderr, "not marked successful") {
		t.Errorf("result %+v", c)
	}
	if a, _ := s.flags(); !a.Successful {
		t.Errorf("flags of the only good slot: %+v", a)
	}
}

type sick struct{}

func (sick) Name() string                { return "sick" }
func (sick) Check(context.Context) error { return errors.New("feeling unwell") }
