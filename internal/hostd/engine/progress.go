// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package engine

import (
	"errors"
	"sync"

	"github.com/drydock-os/drydock/internal/hostapi"
)

// progress is how far the running command has come.
type progress struct {
	mu  sync.Mutex
	now *hostapi.Progress // nil: no command runs
}

func (p *progress) start(cmd hostapi.Command) { p.set(&hostapi.Progress{Command: cmd}) }
func (p *progress) end()                      { p.set(nil) }

func (p *progress) set(v *hostapi.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = v
}

// target begins the download of one target.
func (p *progress) target(name string, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now != nil {
		p.now.Target, p.now.Bytes, p.now.Total = name, 0, total
	}
}

func (p *progress) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now != nil {
		p.now.Bytes += int64(n)
	}
}

func (p *progress) get() *hostapi.Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil {
		return nil
	}
	return new(*p.now)
}

// ProgressStatus is Status for those who want to watch: while a command of this daemon runs, it returns the status as
// it was before the command, with how far that has come.
func (e *Engine) ProgressStatus() (*hostapi.UpdateStatus, error) {
	s, err := e.Status()
	running := e.progress.get()
	if !errors.Is(err, ErrBusy) || running == nil {
		return s, err
	}
	e.mu.RLock()
	s, err = e.loadStatus() // replaced whole, so it can be read without the update lock
	e.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	s.Progress = running
	return s, e.add(s)
}
