// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package logging makes the log of the operator's programs: text or JSON on one writer, with a level for the whole and
// others for single components, which can be changed while the program runs.
//
// The environment variables are those of the original, and so is the form of the directives: a level, or
// component=level, with commas between them. A filter never keeps a program from starting: what it asks for that does
// not exist here, such as the spans of the original, is ignored.
package logging

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/drydock-os/drydock/internal/setting"
)

// ComponentKey is the key of the attribute by which a logger says of which component it is.
const ComponentKey = "component"

// Dir holds a file per role with directives that go before those of the environment. It is mounted from a ConfigMap,
// so that levels can be changed without a restart.
const Dir = "/etc/drydock/logging"

// off is above every level that is used.
const off = slog.Level(math.MaxInt32)

// levels maps components to levels; "" is every other one.
type levels map[string]slog.Level

func (l levels) of(component string) slog.Level {
	if level, ok := l[component]; ok {
		return level
	}
	return l[""]
}

// parse reads directives. Of two for one component the later counts.
func parse(directives string) levels {
	l := levels{"": slog.LevelInfo}
	for d := range strings.FieldsFuncSeq(directives, func(r rune) bool { return r == ',' || r == '\n' }) {
		component, word, named := strings.Cut(d, "=")
		if !named {
			component, word = "", d
		}
		component = strings.TrimSpace(component)
		if strings.ContainsAny(d, "[]{}") || named && component == "" {
			continue
		}
		if level, ok := levelOf(word); ok {
			l[component] = level
		}
	}
	return l
}

func levelOf(word string) (slog.Level, bool) {
	switch strings.ToLower(strings.TrimSpace(word)) {
	case "trace", "debug":
		return slog.LevelDebug, true
	case "info":
		return slog.LevelInfo, true
	case "warn":
		return slog.LevelWarn, true
	case "error":
		return slog.LevelError, true
	case "off":
		return off, true
	}
	return 0, false
}

// Config holds what the environment says of the log.
type Config struct {
	format, directives string
	file               string
}

// Settings are the variables of the log, for a program that plays this role.
func (c *Config) Settings(role string) []setting.Setting {
	return []setting.Setting{
		{
			Name: "LOGGING_FORMATTER", Fallback: "pretty", Meaning: "form of the log: json, or one of full, compact and pretty for text",
			Allowed: "full, compact, pretty or json", Set: setting.Into(&c.format, setting.OneOf("full", "compact", "pretty", "json")),
		},
		{
			Name: "TRACING_FILTER_DIRECTIVE", Fallback: "info",
			Meaning: "level of the log (trace, debug, info, warn, error or off), and with component=level behind commas those of single components",
			Set:     setting.Into(&c.directives, setting.Text),
		},
		{
			Name: "LOGGING_LEVELS_FILE", Fallback: Dir + "/" + role,
			Meaning: "file with such directives that go before the variable, read again whenever it changes",
			Allowed: "the path of a file, which need not exist", Set: setting.Into(&c.file, setting.Text),
		},
		{
			Name: "LOGGING_ANSI_ENABLED", Fallback: "true", Meaning: "true or false, for compatibility: there is no colour",
			Allowed: setting.ABool, Set: func(v string) error { _, err := setting.Bool(v); return err },
		},
	}
}

// Log is the log of one program.
type Log struct {
	cfg    Config
	levels atomic.Pointer[levels]
	logger *slog.Logger
}

// New makes the log of a program after its settings were read.
func New(cfg Config, role string, w io.Writer) *Log {
	l := &Log{cfg: cfg}
	l.use(cfg.directives)
	opts := &slog.HandlerOptions{Level: slog.Level(math.MinInt32)} // the decision is made before
	var out slog.Handler = slog.NewTextHandler(w, opts)
	if cfg.format == "json" {
		out = slog.NewJSONHandler(w, opts)
	}
	l.logger = slog.New(handler{out, l, role, false})
	return l
}

// Logger returns the logger of the program. The role is its component until an attribute names another.
func (l *Log) Logger() *slog.Logger { return l.logger }

func (l *Log) use(directives string) (changed bool) {
	now := parse(directives)
	before := l.levels.Swap(&now)
	return before != nil && !maps.Equal(*before, now)
}

// String lists the levels in force.
func (l *Log) String() string {
	now := *l.levels.Load()
	var parts []string
	for _, component := range slices.Sorted(maps.Keys(now)) {
		word := strings.ToLower(now[component].String())
		if now[component] == off {
			word = "off"
		}
		if component != "" {
			word = component + "=" + word
		}
		parts = append(parts, word)
	}
	return strings.Join(parts, ",")
}

// handler decides by component, before it passes on.
type handler struct {
	out       slog.Handler
	log       *Log
	component string
	grouped   bool // attributes are in a group, so none of them names the component
}

func (h handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.log.levels.Load().of(h.component)
}

func (h handler) Handle(ctx context.Context, r slog.Record) error { return h.out.Handle(ctx, r) }

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		if a.Key == ComponentKey && !h.grouped {
			h.component = a.Value.String()
		}
	}
	h.out = h.out.WithAttrs(attrs)
	return h
}

func (h handler) WithGroup(name string) slog.Handler {
	h.grouped = h.grouped || name != ""
	h.out = h.out.WithGroup(name)
	return h
}
