// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package engine

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/drydock-os/drydock/internal/hostapi"
)

// unwritten is a status that could not be written: the outcome of a command counts all the same.
type unwritten struct {
	status  []byte
	instead os.FileInfo // the status file in its place; nil: none
}

// loadStatus reads the status. The caller holds e.mu, unless nothing else runs yet.
func (e *Engine) loadStatus() (*hostapi.UpdateStatus, error) {
	s := &hostapi.UpdateStatus{}
	if u := e.unwritten; u != nil && u.holds(e.path(statusPath)) {
		if err := json.Unmarshal(u.status, s); err != nil {
			return nil, fmt.Errorf("reading update status: %w", err)
		}
		return s, nil
	}
	found, err := readJSON(e.path(statusPath), s)
	if err != nil {
		return nil, fmt.Errorf("reading update status: %w", err)
	}
	if !found {
		return nil, ErrNoStatus
	}
	return s, nil
}

// holds reports whether nobody, another program for example, has written a newer status since.
func (u *unwritten) holds(path string) bool {
	now, err := os.Stat(path)
	if err != nil || u.instead == nil {
		return err != nil && u.instead == nil
	}
	return os.SameFile(now, u.instead) && now.ModTime().Equal(u.instead.ModTime())
}

// record writes the status after a command has ended. What cannot be written is returned and counts all the same, for
// readers of the API and until the next command: a full disk does not undo what was done.
func (e *Engine) record(s *hostapi.UpdateStatus) (kept *unwritten) {
	err := writeJSON(e.path(statusPath), s)
	if err == nil {
		err = removeFile(e.path(runningPath))
	} else if data, broken := json.Marshal(s); broken == nil {
		kept = &unwritten{status: data}
		if info, missing := os.Stat(e.path(statusPath)); missing == nil {
			kept.instead = info
		}
	}
	if err != nil {
		e.cfg.Log.Error("update status not written", "error", err)
	}
	return kept
}
