// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/drydock-os/drydock/internal/hostd/store"
)

func keys(t testing.TB, names ...string) []store.Key {
	t.Helper()
	var out []store.Key
	for _, n := range names {
		k, err := store.ParseKey(n)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, k)
	}
	return out
}

func TestAFailureOfTheApplierIsVisible(t *testing.T) {
	h := documented(t, newHost(t, applyFunc(func(context.Context, []string) error { return errors.New("restarting ntp: exit status 3") }), true))
	h.play(
		exchange{"PATCH", "/settings", `{"motd":"x"}`, 204, ""},
		exchange{"POST", "/tx/commit_and_apply?wait=true", "", 500, "applying settings: restarting ntp: exit status 3"},
		exchange{"GET", "/settings?prefix=motd", "", 200, `{"motd":"x"}`},
		exchange{"GET", "/?prefix=status", "", 200, `~"keys":["settings.motd"],"error":"restarting ntp: exit status 3"`},
		exchange{"POST", "/tx/apply?wait=false", "", 204, ""},
	)
	if !strings.Contains(h.log.String(), `msg="settings not applied"`) {
		t.Errorf("log: %s", h.log)
	}
}

func TestRequestsThatComeWhileOneRunsShareTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls [][]string
		release := make(chan struct{})
		a := NewApplies(AppliesConfig{Log: slog.New(slog.DiscardHandler), Applier: applyFunc(func(_ context.Context, keys []string) error {
			calls = append(calls, keys)
			<-release
			return nil
		})})
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { a.Run(ctx) })
		start := func(names ...string) *round {
			r, err := a.start(keys(t, names...))
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		first := start("settings.b")
		synctest.Wait()
		second, third := start("settings.c"), start(`settings."a.b"`, "settings.c")
		if second != third || first == second {
			t.Error("what came during a run does not share one round")
		}
		if !a.status().Running {
			t.Error("status does not say that it runs")
		}
		release <- struct{}{}
		<-first.done
		synctest.Wait()
		everything := start()
		start("settings.d")
		release <- struct{}{}
		<-third.done
		release <- struct{}{}
		<-everything.done
		want := [][]string{{"settings.b"}, {`settings."a.b"`, "settings.c"}, nil}
		if diff := cmp.Diff(want, calls); diff != "" {
			t.Errorf("calls (-want +got)\n%s", diff)
		}
		cancel()
		run.Wait()
		if _, err := a.start(nil); !errors.Is(err, errStopping) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestStoppingFailsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewApplies(AppliesConfig{Log: slog.New(slog.DiscardHandler), Applier: applyFunc(func(ctx context.Context, _ []string) error {
			<-ctx.Done()
			return ctx.Err()
		})})
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { a.Run(ctx) })
		running, err := a.start(nil)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		waiting, err := a.start(keys(t, "settings.motd"))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		<-running.done
		<-waiting.done
		run.Wait()
		if !errors.Is(running.err, context.Canceled) || !errors.Is(waiting.err, errStopping) && !errors.Is(waiting.err, context.Canceled) {
			t.Errorf("%v, %v", running.err, waiting.err)
		}
	})
}

func TestARoundOfTooManyKeysIsEverything(t *testing.T) {
	a := NewApplies(AppliesConfig{Applier: applyFunc(nil)})
	for i := range maxRoundKeys + 1 {
		if _, err := a.start(keys(t, fmt.Sprintf("settings.k%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	if a.next.keys != nil {
		t.Errorf("%d keys are kept", len(a.next.keys))
	}
}

func TestManyClientsAtOnce(t *testing.T) {
	h := newHost(t, applyFunc(func(context.Context, []string) error { return nil }), true)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			tx, motd := fmt.Sprintf("t%d", i), fmt.Sprintf("from %d", i)
			for range 5 {
				h.play(
					exchange{"PATCH", "/settings?tx=" + tx, `{"motd":"` + motd + `","ntp":{"time-servers":["` + tx + `"]}}`, 204, ""},
					exchange{"POST", "/tx/commit_and_apply?wait=true&tx=" + tx, "", 200, `["settings.motd","settings.ntp.time-servers"]`},
				)
				_, got := h.do("GET", "/settings?keys=settings.motd,settings.ntp.time-servers", "")
				if !slices.ContainsFunc([]int{0, 1, 2, 3}, func(n int) bool {
					return got == fmt.Sprintf(`{"motd":"from %d","ntp":{"time-servers":["t%d"]}}`, n, n)
				}) {
					t.Errorf("half a commit: %s", got)
				}
			}
		})
	}
	all.Wait()
}
