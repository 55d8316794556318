// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package store

import (
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/Masterminds/semver/v3"
)

// The original's migrator lets a version that has no migrations share the data of the one before.
func TestAVersionThatSharesTheDataOfAnother(t *testing.T) {
	cfg := Config{Dir: filepath.Join(t.TempDir(), "datastore"), Log: slog.New(slog.DiscardHandler)}
	key, err := ParseKey("settings.motd")
	if err != nil {
		t.Fatal(err)
	}
	data := NewData()
	data.Values[key] = Value(`"old"`)
	s, err := Create(cfg, "1.2.3", data)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, old, err := Locate(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := Point(DiskFS{}, cfg.Dir, semver.MustParse("1.2.4"), filepath.Base(old)); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Version() != "1.2.4" || string(s.Live().Values[key]) != `"old"` {
		t.Errorf("version %s says %s", s.Version(), s.Live().Values[key])
	}
	// A change is the new version's own.
	changed := NewData()
	changed.Values[key] = Value(`"new"`)
	if err := s.Write(changed); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(old, "live/settings/motd")); err != nil || string(got) != `"old"` {
		t.Errorf("the old version has %s, %v", got, err)
	}
	if err := s.Prune(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("still there after pruning: %v", err)
	}
	if _, now, err := Locate(cfg.Dir); err != nil || now == old {
		t.Errorf("%s, %v", now, err)
	}
}

// The host prunes while clients change settings: nothing of the present version goes.
func TestPruneWhileSettingsChange(t *testing.T) {
	cfg := Config{Dir: filepath.Join(t.TempDir(), "datastore"), Log: slog.New(slog.DiscardHandler)}
	s, err := Create(cfg, "1.2.3", NewData())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	key, err := ParseKey("settings.motd")
	if err != nil {
		t.Fatal(err)
	}
	const changes = 50
	var parts sync.WaitGroup
	parts.Go(func() {
		for i := range changes {
			changed := NewData()
			changed.Values[key] = Value(strconv.Itoa(i))
			if err := s.Write(changed); err != nil {
				t.Error(err)
			}
		}
	})
	parts.Go(func() {
		for range changes {
			if err := s.Prune(); err != nil {
				t.Error(err)
			}
		}
	})
	parts.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	if got := string(s.Live().Values[key]); got != strconv.Itoa(changes-1) {
		t.Errorf("the store says %s", got)
	}
}
