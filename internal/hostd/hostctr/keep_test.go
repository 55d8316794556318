// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostctr

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drydock-os/drydock/internal/testutil/containerdtest"
)

// What containerd's own settings change restarts it. Its containers do not notice.
func TestAContainerOutlivesItsContainerd(t *testing.T) {
	m := newMachine(t)
	r := m.connect(nil)
	c := Container{Name: "probe", Kind: Host, Source: m.source}
	_, stop := m.start(r, c)
	// Its program may run before containerd has said so, and a start that is cut off is a failed one.
	m.eventually(t, "it is started", func() bool { return strings.Contains(m.log.String(), "container started") })
	m.containerd.Restart()
	m.eventually(t, "it is noticed", func() bool { return strings.Contains(m.log.String(), "containerd is back") })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(m.root, c.storage(), "stopped")); err != nil {
		t.Errorf("it was not asked to stop: %v", err)
	}
	if n := strings.Count(m.log.String(), "container started"); n != 1 {
		t.Errorf("%d starts", n)
	}
	m.gone(r, "probe")
}

// A container keeps its last image, and none before.
func TestImagesThatNobodyNeedsGo(t *testing.T) {
	m := newMachine(t)
	r := m.connect(nil)
	v2 := m.registry + "/probe:2"
	containerdtest.Push(t, containerdtest.Image(t, containerdtest.Program(t, "./testdata/probe")), v2)
	run := func(name, source string, want ...string) {
		t.Helper()
		_, stop := m.start(r, Container{Name: name, Kind: Host, Source: source})
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		list, err := r.client.ImageService().List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, image := range list {
			got = append(got, image.Name)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("after %s ran from %s: images %q, want %q", name, source, got, want)
		}
	}
	run("one", m.source, m.source)
	run("two", m.source, m.source)
	run("one", v2, m.source, v2) // the other may start again
	run("two", v2, v2)
	if err := r.Pull(t.Context(), m.source, PullOptions{Labels: map[string]string{"keep": "yes"}}); err != nil {
		t.Fatal(err)
	}
	run("one", m.source, m.source, v2)
	run("one", v2, m.source, v2) // somebody wants it
}

func TestKeepStartsAContainerAgain(t *testing.T) {
	m := newMachine(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	c := Container{Name: "probe", Kind: Host, Source: m.source}
	go func() {
		done <- Keep(ctx, Config{
			Root: m.root, Socket: "/run/late.sock", Stdout: &m.stdout, Stderr: &m.stderr, Log: slog.New(slog.NewTextHandler(&m.log, nil)),
			Spread: func(time.Duration) time.Duration { return 10 * time.Millisecond },
		}, c)
	}()
	m.eventually(t, "it tries without containerd", func() bool { return strings.Contains(m.log.String(), "late.sock") })
	if err := os.Symlink(filepath.Join(m.root, DefaultSocket), filepath.Join(m.root, "run/late.sock")); err != nil {
		t.Fatal(err)
	}
	starts := func(n int) func() bool {
		return func() bool {
			data, _ := os.ReadFile(filepath.Join(m.root, c.storage(), "report.json"))
			var found report
			return json.Unmarshal(data, &found) == nil && found.Starts >= n
		}
	}
	m.eventually(t, "it starts", starts(1))
	if err := m.connect(nil).CleanUp(t.Context(), "probe"); err != nil {
		t.Fatal(err)
	}
	m.eventually(t, "it starts again", starts(2))
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	m.gone(m.connect(nil), "probe")
}
