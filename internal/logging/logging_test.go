// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package logging

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/drydock-os/drydock/internal/setting"
)

// start makes a log as a program does, from an environment.
func start(t *testing.T, w io.Writer, env map[string]string) *Log {
	t.Helper()
	var cfg Config
	if err := setting.Apply(func(name string) string { return env[name] }, cfg.Settings("apiserver")); err != nil {
		t.Fatal(err)
	}
	return New(cfg, "apiserver", w)
}

func TestLevelsByComponent(t *testing.T) {
	for _, tc := range []struct{ directives, role, drain, auth, inForce string }{
		{"", "info", "info", "info", "info"},
		{"debug", "debug", "debug", "debug", "debug"},
		{"TRACE", "debug", "debug", "debug", "debug"},
		{"warn,drain=debug", "warn", "debug", "warn", "warn,drain=debug"},
		{"drain=debug, error", "error", "debug", "error", "error,drain=debug"},
		{"apiserver=debug,auth=off", "debug", "info", "off", "info,apiserver=debug,auth=off"},
		{"off", "off", "off", "off", "off"},
		{"info,apiserver::api[span{node=n}]=trace,hyper=warn,nonsense,=debug,drain=loud", "info", "info", "info", "info,hyper=warn"},
		{"debug,info", "info", "info", "info", "info"},
	} {
		l := start(t, io.Discard, map[string]string{"TRACING_FILTER_DIRECTIVE": tc.directives})
		log := l.Logger()
		for who, logger := range map[string]*slog.Logger{tc.role: log.With("node", "n"), tc.drain: log.With(ComponentKey, "drain"), tc.auth: log.With(ComponentKey, "auth").With("a", 1)} {
			got := "off"
			for _, level := range []slog.Level{slog.LevelError, slog.LevelWarn, slog.LevelInfo, slog.LevelDebug} {
				if logger.Enabled(t.Context(), level) {
					got = strings.ToLower(level.String())
				}
			}
			if got != who {
				t.Errorf("%q: level %s, want %s", tc.directives, got, who)
			}
		}
		if l.String() != tc.inForce {
			t.Errorf("%q: in force are %s, want %s", tc.directives, l, tc.inForce)
		}
	}
	grouped := start(t, io.Discard, map[string]string{"TRACING_FILTER_DIRECTIVE": "drain=debug"}).Logger().WithGroup("g").With(ComponentKey, "drain")
	if grouped.Enabled(t.Context(), slog.LevelDebug) {
		t.Error("an attribute within a group was taken for the component")
	}
}

func TestForms(t *testing.T) {
	var b strings.Builder
	start(t, &b, map[string]string{"LOGGING_FORMATTER": "json"}).Logger().With(ComponentKey, "drain").Info("hello", "n", 1)
	var line map[string]any
	if err := json.Unmarshal([]byte(b.String()), &line); err != nil || line["msg"] != "hello" || line["component"] != "drain" {
		t.Errorf("%s: %v", b.String(), err)
	}
	for _, form := range []string{"", "full", "compact", "pretty"} {
		b.Reset()
		start(t, &b, map[string]string{"LOGGING_FORMATTER": form, "LOGGING_ANSI_ENABLED": "True"}).Logger().Info("hello", "n", 1)
		if !strings.HasSuffix(b.String(), "level=INFO msg=hello n=1\n") {
			t.Errorf("%s: %q", form, b.String())
		}
	}
	for name, value := range map[string]string{"LOGGING_FORMATTER": "xml", "LOGGING_ANSI_ENABLED": "maybe"} {
		var cfg Config
		err := setting.Apply(func(n string) string { return map[string]string{name: value}[n] }, cfg.Settings("agent"))
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), value) {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
}

// The levels follow a ConfigMap, as kubelet writes it: a directory of links that is exchanged whole.
func TestLevelsChangeWhileRunning(t *testing.T) {
	dir := t.TempDir()
	publish := func(generation, text string) {
		t.Helper()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(os.Mkdir(filepath.Join(dir, generation), 0o755))
		if text != "" {
			must(os.WriteFile(filepath.Join(dir, generation, "apiserver"), []byte(text), 0o600))
		}
		must(os.Symlink(generation, filepath.Join(dir, "..tmp")))
		must(os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
		if _, err := os.Lstat(filepath.Join(dir, "apiserver")); err != nil {
			must(os.Symlink("..data/apiserver", filepath.Join(dir, "apiserver")))
		}
	}
	lines, w := io.Pipe()
	l := start(t, w, map[string]string{"TRACING_FILTER_DIRECTIVE": "info", "LOGGING_LEVELS_FILE": filepath.Join(dir, "apiserver")})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); l.Follow(ctx) }()
	told := bufio.NewScanner(lines)
	expect := func(levels string) {
		t.Helper()
		if !told.Scan() || !strings.Contains(told.Text(), `msg="log levels changed" levels=`) || !strings.Contains(told.Text(), levels) {
			t.Fatalf("got %q, want %s", told.Text(), levels)
		}
	}
	publish("..1", "info,drain=debug\n")
	expect("info,drain=debug")
	if drain := l.Logger().With(ComponentKey, "drain"); !drain.Enabled(ctx, slog.LevelDebug) {
		t.Error("the new level does not hold")
	}
	publish("..2", "debug")
	expect("debug")
	publish("..3", "") // the key is gone: the environment holds again
	expect("info")
	cancel()
	<-ended
}

func TestNothingIsMounted(t *testing.T) {
	var b strings.Builder
	l := start(t, &b, map[string]string{"LOGGING_LEVELS_FILE": filepath.Join(t.TempDir(), "absent", "apiserver")})
	l.Follow(t.Context()) // returns at once
	if b.Len() != 0 {
		t.Errorf("logged %q", b.String())
	}
}

// The libraries log the bodies of requests, with tokens and keys in them, from klog's level 8 on. No word leads there.
func TestNoLevelShowsTheBodiesOfRequests(t *testing.T) {
	const klogBodies = slog.Level(-8)
	for _, word := range []string{"trace", "TRACE", "debug", "kubernetes=trace", "trace,kubernetes=trace", "kubernetes=8", "9"} {
		log := start(t, io.Discard, map[string]string{"TRACING_FILTER_DIRECTIVE": word}).Logger().With(ComponentKey, "kubernetes")
		if log.Enabled(t.Context(), klogBodies) {
			t.Errorf("%q shows bodies", word)
		}
	}
}
