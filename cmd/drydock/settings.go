// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the image has no time zones of its own

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/controller"
	"github.com/drydock-os/drydock/internal/plan"
	"github.com/drydock-os/drydock/internal/window"
)

// setting is one environment variable of a role.
type setting struct {
	name     string
	fallback string // when unset or empty; empty for none
	meaning  string // for the help and the documents
	allowed  string // for who got it wrong
	set      func(value string) error
}

// apply reads the settings from the environment. A value that cannot be honoured is an error now rather than a
// surprise when it would first matter.
func (p process) apply(settings []setting) error {
	for _, s := range settings {
		value := p.envOr(s.name, s.fallback)
		if value == "" || s.set == nil {
			continue
		}
		if err := s.set(value); err != nil {
			return badEnv(s.name, value, s.allowed)
		}
	}
	return nil
}

// helpOf lists settings for the help of a command.
func helpOf(settings []setting) string {
	var b strings.Builder
	for _, s := range settings {
		fallback := ""
		if s.fallback != "" {
			fallback = " (default " + s.fallback + ")"
		}
		fmt.Fprintf(&b, "  %-26s %s%s\n", s.name, s.meaning, fallback)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// scheduleEnv holds what the schedule is made of until all of it has been read.
type scheduleEnv struct{ window.Config }

// controllerTable are the settings of the controller, in the order in which people read of them.
func controllerTable(cfg *controller.Config, schedule *scheduleEnv) []setting {
	const duration = "a time above zero, such as 90s, 10m or 1h30m"
	return []setting{
		{
			name: "MAX_CONCURRENT_UPDATE", fallback: "1",
			meaning: "nodes updated at the same time: a whole number, 0 to start nothing, a share of the opted-in nodes such as 25% (rounded down, at least 1), or unlimited",
			allowed: "a whole number from 0, where 0 starts nothing, a percentage from 1% to 100%, or unlimited",
			set:     parsed(&cfg.MaxConcurrent, plan.ParseLimit),
		},
		{
			name: "COUNT_UNAVAILABLE_NODES", fallback: "true",
			meaning: "whether opted-in nodes that are not Ready, or cordoned by anybody, count against that limit",
			allowed: "true or false", set: parsed(&cfg.CountUnavailable, parseBool),
		},
		{
			name: "UPDATE_CORDONED_NODES", fallback: "false",
			meaning: "whether nodes that somebody else has cordoned are updated; they stay cordoned",
			allowed: "true or false", set: parsed(&cfg.UpdateCordoned, parseBool),
		},
		{
			name: "SCHEDULER_CRON_EXPRESSION", fallback: alwaysOpen,
			meaning: "when updates may start: second, minute, hour, day of month, month, day of week and optionally year",
		},
		{
			name: "SCHEDULER_TIME_ZONE", fallback: "UTC",
			meaning: "time zone of the schedule, such as Europe/Berlin",
			allowed: "the name of a time zone, such as UTC or Europe/Berlin",
			set:     parsed(&schedule.Location, parseZone),
		},
		{
			name:    "SCHEDULER_WINDOW_DURATION",
			meaning: "makes each time of the schedule the beginning of a window of this length, such as 4h",
			allowed: "a time from 1s to 744h, such as 4h",
			set:     parsed(&schedule.Length, parseLength),
		},
		{
			name:    "UPDATE_WINDOW_START",
			meaning: "daily window as hours:minutes:seconds; only without SCHEDULER_CRON_EXPRESSION",
		},
		{
			name:    "UPDATE_WINDOW_STOP",
			meaning: "end of that window, on the next day if it is earlier than the start",
		},
		{
			name: "STATE_TIMEOUT_STAGED", fallback: "12m",
			meaning: "how long a node may take to download and write an update",
			allowed: duration, set: parsed(&cfg.Timeouts.Staged, parseDuration),
		},
		{
			name: "STATE_TIMEOUT_REBOOTED", fallback: "30m",
			meaning: "how long a node may take to be drained, reboot and come back",
			allowed: duration, set: parsed(&cfg.Timeouts.Rebooted, parseDuration),
		},
		{
			name: "STATE_TIMEOUT_MONITORING", fallback: "5m",
			meaning: "how long a node may take to be Ready and confirm the update after its reboot",
			allowed: duration, set: parsed(&cfg.Timeouts.Monitoring, parseDuration),
		},
		{
			name: "STATE_TIMEOUT_IDLE", fallback: "2m",
			meaning: "how long a node may take to clean up before its slot is given to another",
			allowed: duration, set: parsed(&cfg.Timeouts.Idle, parseDuration),
		},
		{
			name: "LEASE_DURATION", fallback: "4s",
			meaning: "how long the other replicas wait for a silent leader",
			allowed: duration, set: parsed(&cfg.LeaderElection.LeaseDuration, parseDuration),
		},
		{
			name: "LEASE_RENEW_DEADLINE", fallback: "3s",
			meaning: "how long the leader tries to stay it; shorter than LEASE_DURATION",
			allowed: duration, set: parsed(&cfg.LeaderElection.RenewDeadline, parseDuration),
		},
		{
			name: "LEASE_RETRY_PERIOD", fallback: "1s",
			meaning: "pause between two tries of both; shorter than LEASE_RENEW_DEADLINE",
			allowed: duration, set: parsed(&cfg.LeaderElection.RetryPeriod, parseDuration),
		},
		{
			name:    "MY_NODE_NAME",
			meaning: "node of this pod, which is updated last",
			set:     func(v string) error { cfg.NodeName = v; return nil },
		},
		{
			name:    "POD_NAMESPACE",
			meaning: "namespace of the operator's objects; that of the pod if unset",
		},
		{
			name: "LOGGING_FORMATTER", fallback: "pretty",
			meaning: "form of the log: json, or full, compact, pretty for text",
		},
		{
			name: "TRACING_FILTER_DIRECTIVE", fallback: "info",
			meaning: "level of the log: trace, debug, info, warn, error or off",
		},
		{
			name: "LOGGING_ANSI_ENABLED", fallback: "true",
			meaning: "true or false, for compatibility: there is no colour",
		},
	}
}

// parsed stores what parse makes of a value.
func parsed[T any](field *T, parse func(string) (T, error)) func(string) error {
	return func(value string) error {
		v, err := parse(value)
		if err == nil {
			*field = v
		}
		return err
	}
}

func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, strconv.ErrSyntax
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err == nil && d <= 0 {
		return 0, strconv.ErrRange
	}
	return d, err
}

func parseLength(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err == nil && (d < window.MinLength || d > window.MaxLength) {
		return 0, strconv.ErrRange
	}
	return d, err
}

// parseZone refuses the zone of the machine: it would be that of whatever node the pod runs on.
func parseZone(s string) (*time.Location, error) {
	if s == "Local" {
		return nil, strconv.ErrSyntax
	}
	return time.LoadLocation(s)
}

// schedule builds the schedule. A legacy window beside an expression is ignored, right or wrong.
func (p process) schedule(s *scheduleEnv) (*window.Schedule, error) {
	const start, stop = "UPDATE_WINDOW_START", "UPDATE_WINDOW_STOP"
	s.Expression, s.Start, s.Stop = strings.TrimSpace(p.env("SCHEDULER_CRON_EXPRESSION")), p.env(start), p.env(stop)
	legacy := s.Start != "" || s.Stop != ""
	switch {
	case s.Expression == "" && !legacy:
		s.Expression = alwaysOpen
	case s.Expression != "":
	case s.Start == "":
		return nil, badEnv(start, "", "a time such as 22:0:0, since "+stop+" is set")
	case s.Stop == "":
		return nil, badEnv(stop, "", "a time such as 4:30:0, since "+start+" is set")
	}
	schedule, err := window.New(s.Config)
	switch {
	case err == nil:
		return schedule, nil
	case s.Expression != "":
		return nil, cli.WithHint(cli.Usagef("SCHEDULER_CRON_EXPRESSION is %q: %w", s.Expression, err),
			"\"0 0 22 * * Fri\" is Friday at 22:00; docs/operator/scheduling.md has more")
	default:
		return nil, cli.Usagef("%s is %q, %s is %q: %w", start, s.Start, stop, s.Stop, err)
	}
}
