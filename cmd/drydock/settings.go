// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the image has no time zones of its own

	"github.com/drydock-os/drydock/internal/apiserver/drain"
	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/controller"
	"github.com/drydock-os/drydock/internal/logging"
	"github.com/drydock-os/drydock/internal/plan"
	"github.com/drydock-os/drydock/internal/setting"
	"github.com/drydock-os/drydock/internal/termination"
	"github.com/drydock-os/drydock/internal/window"
)

// controllerEnv is what the environment of a controller says.
type controllerEnv struct {
	controller.Config
	schedule window.Config
	log      logging.Config

	drain, lbWait time.Duration // of the other parts: they are waited for
}

// bootTime is what a node gets to reboot and be back, beside its drain.
const bootTime = 15 * time.Minute

// waits derives and checks the limit of the state in which other parts have limits of their own.
func (e *controllerEnv) waits() error {
	limit := &e.Timeouts.Rebooted
	switch before := e.lbWait + e.drain; {
	case *limit == 0:
		*limit = e.lbWait + e.drain + e.drain/2 + bootTime
	case *limit <= before:
		return setting.Bad("STATE_TIMEOUT_REBOOTED", limit.String(), fmt.Sprintf(
			"a time above %v, since a node may wait that long before it reboots (EXCLUDE_FROM_LB_WAIT_TIME_IN_SEC and DRAIN_TIMEOUT)", before))
	}
	return nil
}

// wholeSeconds takes what a Lease can hold: of a fraction of a second the other replicas would not know.
func wholeSeconds(s string) (time.Duration, error) {
	d, err := setting.Duration(s)
	if err == nil && d%time.Second != 0 {
		return 0, strconv.ErrSyntax
	}
	return d, err
}

// lease checks the times of the Lease, which the elector compares with one another.
func (e *controllerEnv) lease() error {
	le := &e.LeaderElection
	switch {
	case le.RenewDeadline >= le.LeaseDuration:
		return setting.Bad("LEASE_RENEW_DEADLINE", le.RenewDeadline.String(), fmt.Sprintf("a time below LEASE_DURATION, which is %v", le.LeaseDuration))
	case le.RetryPeriod*6/5 >= le.RenewDeadline:
		return setting.Bad("LEASE_RETRY_PERIOD", le.RetryPeriod.String(), fmt.Sprintf(
			"a time that is, with a fifth of it added, below LEASE_RENEW_DEADLINE, which is %v", le.RenewDeadline))
	}
	return nil
}

// controllerTable are the settings of the controller, in the order in which people read of them.
func controllerTable(e *controllerEnv) []setting.Setting {
	cfg, schedule := &e.Config, &e.schedule
	return append([]setting.Setting{
		{
			Name: "MAX_CONCURRENT_UPDATE", Fallback: "1",
			Meaning: "nodes updated at the same time: a whole number, 0 to start nothing, a share of the opted-in nodes such as 25% (rounded down, at least 1), or unlimited",
			Allowed: "a whole number from 0, where 0 starts nothing, a percentage from 1% to 100%, or unlimited",
			Set:     setting.Into(&cfg.MaxConcurrent, plan.ParseLimit),
		},
		{
			Name: "COUNT_UNAVAILABLE_NODES", Fallback: "true",
			Meaning: "whether opted-in nodes that are not Ready, or cordoned by anybody, count against that limit",
			Allowed: setting.ABool, Set: setting.Into(&cfg.CountUnavailable, setting.Bool),
		},
		{
			Name: "UPDATE_CORDONED_NODES", Fallback: "false",
			Meaning: "whether nodes that somebody else has cordoned are updated; they stay cordoned",
			Allowed: setting.ABool, Set: setting.Into(&cfg.UpdateCordoned, setting.Bool),
		},
		{
			Name: "SCHEDULER_CRON_EXPRESSION", Fallback: alwaysOpen,
			Meaning: "when updates may start: second, minute, hour, day of month, month, day of week and optionally year",
			Allowed: "6 or 7 fields as docs/operator/scheduling.md describes them, or @yearly, @monthly, @weekly, @daily or @hourly",
		},
		{
			Name: "SCHEDULER_TIME_ZONE", Fallback: "UTC",
			Meaning: "time zone of the schedule, such as Europe/Berlin",
			Allowed: "the name of a time zone, such as UTC or Europe/Berlin",
			Set:     setting.Into(&schedule.Location, parseZone),
		},
		{
			Name:    "SCHEDULER_WINDOW_DURATION",
			Meaning: "makes each time of the schedule the beginning of a window of this length, such as 4h",
			Allowed: "a time from 1s to 744h, such as 4h",
			Set:     setting.Into(&schedule.Length, parseLength),
		},
		{
			Name:    "UPDATE_WINDOW_START",
			Meaning: "daily window as hours:minutes:seconds; only without SCHEDULER_CRON_EXPRESSION",
			Allowed: aTimeOfDay,
		},
		{
			Name:    "UPDATE_WINDOW_STOP",
			Meaning: "end of that window, on the next day if it is earlier than the start",
			Allowed: aTimeOfDay,
		},
		{
			Name: "STATE_TIMEOUT_STAGED", Fallback: "12m",
			Meaning: "how long a node may take to download and write an update",
			Allowed: setting.ADuration, Set: setting.Into(&cfg.Timeouts.Staged, setting.Duration),
		},
		{
			Name:    "STATE_TIMEOUT_REBOOTED",
			Meaning: "how long a node may take to be drained, reboot and come back; unset: the wait for load balancers, one and a half DRAIN_TIMEOUT, and 15m",
			Allowed: setting.ADuration, Set: setting.Into(&cfg.Timeouts.Rebooted, setting.Duration),
		},
		{
			Name: "STATE_TIMEOUT_MONITORING", Fallback: "5m",
			Meaning: "how long a node may take to be Ready and confirm the update after its reboot",
			Allowed: setting.ADuration, Set: setting.Into(&cfg.Timeouts.Monitoring, setting.Duration),
		},
		{
			Name: "STATE_TIMEOUT_IDLE", Fallback: "2m",
			Meaning: "how long a node may take to clean up before its slot is given to another",
			Allowed: setting.ADuration, Set: setting.Into(&cfg.Timeouts.Idle, setting.Duration),
		},
		{
			Name: "LEASE_DURATION", Fallback: "3s",
			Meaning: "how long the other replicas wait for a silent leader, in whole seconds",
			Allowed: "a time in whole seconds, above zero and up to a year, such as 3s or 1m30s", Set: setting.Into(&cfg.LeaderElection.LeaseDuration, wholeSeconds),
		},
		{
			Name: "LEASE_RENEW_DEADLINE", Fallback: "2s",
			Meaning: "how long the leader tries to stay it; shorter than LEASE_DURATION",
			Allowed: setting.ADuration, Set: setting.Into(&cfg.LeaderElection.RenewDeadline, setting.Duration),
		},
		{
			Name: "LEASE_RETRY_PERIOD", Fallback: "400ms",
			Meaning: "pause between two tries of both; shorter than LEASE_RENEW_DEADLINE. After the death of a leader the next one leads within LEASE_DURATION and 4.4 times this",
			Allowed: setting.ADuration, Set: setting.Into(&cfg.LeaderElection.RetryPeriod, setting.Duration),
		},
		{
			Name: "DRAIN_TIMEOUT", Fallback: drain.DefaultDeadline.String(),
			Meaning: "that of the apiserver; counts for the default of STATE_TIMEOUT_REBOOTED",
			Allowed: setting.ADuration, Set: setting.Into(&e.drain, setting.Duration),
		},
		{
			Name: "EXCLUDE_FROM_LB_WAIT_TIME_IN_SEC", Fallback: "0",
			Meaning: "that of the agents; counts for the default of STATE_TIMEOUT_REBOOTED",
			Allowed: setting.ASeconds, Set: setting.Into(&e.lbWait, setting.Seconds),
		},
		{
			Name:    "MY_NODE_NAME",
			Meaning: "node of this pod, which is updated last",
			Allowed: setting.AnObjectName, Set: setting.Into(&cfg.NodeName, setting.ObjectName),
		},
		namespaceSetting,
		termination.Setting(),
	}, e.log.Settings("controller")...)
}

// aTimeOfDay is what the older window takes.
const aTimeOfDay = "a time of day as hours:minutes:seconds, such as 22:30:0"

// namespaceSetting is read by process.namespace.
var namespaceSetting = setting.Setting{
	Name: "POD_NAMESPACE", Meaning: "namespace of the operator's objects; that of the pod if unset", Allowed: setting.ANamespace,
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
func (p process) schedule(s *window.Config) (*window.Schedule, error) {
	const start, stop = "UPDATE_WINDOW_START", "UPDATE_WINDOW_STOP"
	s.Expression, s.Start, s.Stop = strings.TrimSpace(p.env("SCHEDULER_CRON_EXPRESSION")), p.env(start), p.env(stop)
	legacy := s.Start != "" || s.Stop != ""
	switch {
	case s.Expression == "" && !legacy:
		s.Expression = alwaysOpen
	case s.Expression != "":
	case s.Start == "":
		return nil, setting.Bad(start, "", "a time such as 22:0:0, since "+stop+" is set")
	case s.Stop == "":
		return nil, setting.Bad(stop, "", "a time such as 4:30:0, since "+start+" is set")
	}
	schedule, err := window.New(*s)
	switch {
	case err == nil:
		return schedule, nil
	case s.Expression != "":
		return nil, cli.WithHint(cli.Usagef("SCHEDULER_CRON_EXPRESSION is %s: %w", setting.Quote(s.Expression), err),
			"\"0 0 22 * * Fri\" is Friday at 22:00; docs/operator/scheduling.md has more")
	default:
		return nil, cli.Usagef("%s is %s, %s is %s: %w", start, setting.Quote(s.Start), stop, setting.Quote(s.Stop), err)
	}
}
