// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package storewolf

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/drydock-os/drydock/internal/hostd/store"
)

func key(t testing.TB, name string) store.Key {
	t.Helper()
	k, err := store.ParseKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// boot prepares the store of a host as the given boot would.
func boot(t testing.TB, cfg Config, bootID string) *store.Store {
	t.Helper()
	cfg.BootID = bootID
	s, err := Prepare(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func host(t testing.TB) Config {
	return Config{Root: t.TempDir(), Version: "1.2.3", Variant: "aws-k8s-1.33", Log: slog.New(slog.DiscardHandler)}
}

func TestFirstBootFillsInDefaults(t *testing.T) {
	cfg := host(t)
	s := boot(t, cfg, "one")
	defer s.Close()
	if s.Version() != "1.2.3" {
		t.Errorf("version %s", s.Version())
	}
	motd := key(t, "settings.motd")
	if _, counts := s.Live().Values[motd]; counts {
		t.Error("a default counts before it is committed")
	}
	if _, ok := s.Live().Values[key(t, "services.motd.restart-commands")]; !ok {
		t.Error("no services")
	}
	if _, ok := s.Live().Inherited(key(t, "settings.kubernetes.max-pods"), store.AffectedServices); !ok {
		t.Error("no metadata")
	}
	if _, err := s.Commit(LaunchTransaction); err != nil || string(s.Live().Values[motd]) != `"Welcome to Bottlerocket!"` {
		t.Errorf("after committing: %s, %v", s.Live().Values[motd], err)
	}
}

func TestLaterBootsKeepWhatIsSet(t *testing.T) {
	cfg := host(t)
	motd := key(t, "settings.motd")
	s := boot(t, cfg, "one")
	if err := s.Put(LaunchTransaction, map[store.Key]store.Value{motd: store.Value(`"mine"`)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(LaunchTransaction); err != nil {
		t.Fatal(err)
	}
	if err := s.Put("default", map[store.Key]store.Value{motd: store.Value(`"pending"`)}); err != nil {
		t.Fatal(err)
	}
	s.Close()

	s = boot(t, cfg, "one") // the daemon starts again within one boot
	if pending, err := s.Pending("default"); err != nil || len(pending) != 1 {
		t.Errorf("a restart lost a transaction: %v %v", pending, err)
	}
	s.Close()

	cfg.Variant = "aws-k8s-1.34"
	s = boot(t, cfg, "two")
	defer s.Close()
	if names, err := s.Transactions(); err != nil || len(names) != 0 {
		t.Errorf("transactions after a reboot: %v %v", names, err)
	}
	if got := string(s.Live().Values[motd]); got != `"mine"` {
		t.Errorf("motd is %s", got)
	}
}

func TestMissingDefaultsAreFilledIn(t *testing.T) {
	cfg := host(t)
	s := boot(t, cfg, "one")
	s.Close()
	live := filepath.Join(cfg.Root, Dir, "current", "live")
	for _, gone := range []string{"services/motd", "settings/updates.affected-services"} {
		if err := os.RemoveAll(filepath.Join(live, gone)); err != nil {
			t.Fatal(err)
		}
	}
	s = boot(t, cfg, "two")
	defer s.Close()
	for _, back := range []string{"services/motd/restart-commands", "settings/updates.affected-services"} {
		if _, err := os.Stat(filepath.Join(live, back)); err != nil {
			t.Error(err)
		}
	}
	if names, err := s.Transactions(); err != nil || len(names) != 1 || names[0] != LaunchTransaction {
		t.Errorf("transactions: %v %v", names, err)
	}
}

func TestPrepareAgainDropsTransactions(t *testing.T) {
	cfg := host(t)
	s := boot(t, cfg, "one")
	if err := s.Put("x", map[store.Key]store.Value{key(t, "settings.motd"): store.Value(`"x"`)}); err != nil {
		t.Fatal(err)
	}
	if _, err := PrepareAgain(cfg); !errors.Is(err, store.ErrLocked) {
		t.Errorf("while another process has it open: %v", err)
	}
	s.Close()
	s, err := PrepareAgain(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if pending, err := s.Pending("x"); err != nil || len(pending) != 0 {
		t.Errorf("pending: %v %v", pending, err)
	}
}

func BenchmarkFirstBoot(b *testing.B) {
	for b.Loop() {
		boot(b, host(b), "one").Close()
	}
}

func BenchmarkLaterStart(b *testing.B) {
	cfg := host(b)
	boot(b, cfg, "one").Close()
	for b.Loop() {
		boot(b, cfg, "one").Close()
	}
}
