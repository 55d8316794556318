// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostctr

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// endedFromOutside checks what a run says whose container another process ended.
func (m *machine) endedFromOutside(err error) {
	m.t.Helper()
	ended, ok := errors.AsType[*ExitError](err)
	if !errors.Is(err, errGone) && (!ok || ended.Code != 137) {
		m.t.Errorf("of the container that was taken away: %v", err)
	}
}

// The process that runs the container notices its end and removes it at the same time.
func TestCleanUpRemovesWhatAnotherProcessLeft(t *testing.T) {
	m := newMachine(t)
	_, stop := m.start(m.connect(nil), Container{Name: "probe", Kind: Host, Source: m.source})
	var others sync.WaitGroup
	for range 3 {
		other := m.connect(nil)
		others.Go(func() {
			if err := other.CleanUp(t.Context(), "probe"); err != nil {
				t.Error(err)
			}
			m.gone(other, "probe")
			if err := other.CleanUp(t.Context(), "probe"); err != nil {
				t.Errorf("of nothing: %v", err)
			}
		})
	}
	others.Wait()
	m.endedFromOutside(stop())
	if strings.Contains(m.log.String(), "level=WARN") {
		t.Errorf("log: %s", m.log.String())
	}
}

// The second start ends what is there, and the process of the first leaves the second's container alone.
func TestAStartReplacesAContainerThatRuns(t *testing.T) {
	m := newMachine(t)
	c := Container{Name: "probe", Kind: Host, Source: m.source}
	_, stopFirst := m.start(m.connect(nil), c)
	second := m.connect(nil)
	_, stopSecond := m.start(second, c)
	m.endedFromOutside(stopFirst())
	if err := stopSecond(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(m.root, c.storage(), "stopped")); err != nil {
		t.Errorf("the second was not asked to stop: %v", err)
	}
	m.gone(second, "probe")
}

// A stop and a removal by another process meet.
func TestAContainerIsStoppedWhileAnotherProcessRemovesIt(t *testing.T) {
	m := newMachine(t)
	_, stop := m.start(m.connect(nil), Container{Name: "probe", Kind: Host, Source: m.source})
	other := m.connect(nil)
	removed := make(chan error, 1)
	go func() { removed <- other.CleanUp(t.Context(), "probe") }()
	if err := stop(); err != nil {
		m.endedFromOutside(err) // it may have ended before the stop began
	}
	if err := <-removed; err != nil {
		t.Error(err)
	}
	m.gone(other, "probe")
}

// Two hosts on one machine have containers of one name.
func TestARemovalLeavesOtherHostsAlone(t *testing.T) {
	c := Container{Name: "probe", Kind: Host}
	var stops []func() error
	hosts := []*machine{newMachine(t), newMachine(t)}
	for _, m := range hosts {
		c.Source = m.source
		_, stop := m.start(m.connect(nil), c)
		stops = append(stops, stop)
	}
	if err := hosts[0].connect(nil).CleanUp(t.Context(), "probe"); err != nil { // kills all that is in the container
		t.Fatal(err)
	}
	hosts[0].endedFromOutside(stops[0]())
	if err := stops[1](); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(hosts[1].root, c.storage(), "stopped")); err != nil {
		t.Errorf("the other was not asked to stop: %v", err)
	}
}
