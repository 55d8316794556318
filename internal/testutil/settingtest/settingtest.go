// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package settingtest knows of every environment variable of the programs what it takes and what it does not, and
// holds a program to that: what cannot be honoured ends it at the start, with the name, the value and what is
// allowed. A setting that a program declares and that has no case here fails the program's test.
package settingtest

import (
	"slices"
	"strings"
	"testing"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/setting"
)

// kind is what a variable takes and what it does not. One that takes any text has no bad values, and says so.
type kind struct {
	good, bad []string
	anything  bool
	// says is what the error has to contain, if it is not what the setting declares as allowed.
	says string
}

var (
	duration = kind{
		good: []string{"1s", "90s", "1h30m", "0.5h", "8760h"},
		bad:  []string{"0", "0s", "-1s", "10", "10 minutes", "1d", "forever", "8760h1s", "9223372036854775807h", "1O m"},
	}
	boolean = kind{good: []string{"true", "false", "True", "FALSE"}, bad: []string{"yes", "1", "on", "t", "tru", "true "}}
	port    = kind{good: []string{"1", "443", "65535"}, bad: []string{"0", "-1", "65536", "70000", "4294967739", "https", "44.3", "443 ", "0x1bb", "+443"}}
	object  = kind{
		good: []string{"n", "ip-10-0-0-1.eu-central-1.compute.internal", "1"},
		bad:  []string{"Node", "-n", "n-", "n.", "a b", "n/1", "n\n", "knoten-ü", strings.Repeat("n", 254)},
	}
	anything = kind{good: []string{"x", "a b", strings.Repeat("y", 5000)}, anything: true}
	// A state that includes other parts' waits is compared with them, which its own test looks at.
	rebooted = kind{good: []string{"10m1s", "8760h"}, bad: duration.bad}
)

// kinds are those of all variables of all programs.
var kinds = map[string]kind{
	"MAX_CONCURRENT_UPDATE": {
		good: []string{"0", "1", "5000", "1%", "100%", "unlimited", "UNLIMITED", "Unlimited"},
		bad:  []string{"-1", "1.5", "0%", "101%", "110%", "%", "five", "1e3", "99999999999999999999", "unlimited!", "1 %", "+1", "0x10"},
	},
	"COUNT_UNAVAILABLE_NODES": boolean,
	"UPDATE_CORDONED_NODES":   boolean,
	"SCHEDULER_CRON_EXPRESSION": {
		good: []string{"* * * * * * *", " 0 0 22 * * Fri ", "@daily", "* * 22-23,0-3 ? * Mon-Fri/2 2030-2040"},
		bad: []string{
			"*/5 * * * *", "* * * * *", "* * * * * * * *", "60 * * * * *", "* 60 * * * *", "* * 24 * * *", "* * * 0 * *", "* * * 32 * *", "* * * * 13 *",
			"* * * * * 0", "* * * * * 8", "* * * * * * 1969", "* * * * * * 2101", "* * 5-1 * * *", "*/0 * * * * *", "* * * L * *", "* * * * * Mon#2",
			"* * * * * Mon/2", "@reboot", "@every 1h", "always", "? * * * * *", strings.Repeat("0,", 2000) + "0 * * * * *",
		},
		says: "may only be",
	},
	"SCHEDULER_TIME_ZONE": {
		good: []string{"UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"},
		bad:  []string{"Local", "Europe/Berlim", "GMT+25", "../etc/passwd", "/etc/localtime", "UTC\x00"},
	},
	"SCHEDULER_WINDOW_DURATION": {good: []string{"1s", "4h", "744h"}, bad: []string{"0s", "-4h", "4", "745h", "0.5s", "a while", "1d"}},
	"UPDATE_WINDOW_START":       {good: []string{"1:2:3", "23:59:59", "00:00:00"}, bad: []string{"24:0:0", "1:60:0", "1:0:60", "1:00", "noon", "-1:0:0", "1:0:0 "}, says: "may only be"},
	"UPDATE_WINDOW_STOP":        {good: []string{"1:2:3", "23:59:59"}, bad: []string{"24:0:0", "1:60:0", "1:0:60", "1:00", "noon", "-1:0:0"}, says: "may only be"},
	"STATE_TIMEOUT_STAGED":      duration,
	"STATE_TIMEOUT_REBOOTED":    rebooted,
	"STATE_TIMEOUT_MONITORING":  duration,
	"STATE_TIMEOUT_IDLE":        duration,
	"LEASE_DURATION":            {good: []string{"4s", "1m"}, bad: slices.Concat(duration.bad, []string{"3.1s", "2500ms"})},
	"LEASE_RENEW_DEADLINE":      {good: []string{"1.3s", "2.9s"}, bad: duration.bad},
	"LEASE_RETRY_PERIOD":        {good: []string{"100ms", "1.6s"}, bad: duration.bad},
	"DRAIN_TIMEOUT":             duration,
	"DRAIN_ON_TIMEOUT":          {good: []string{"abort", "force"}, bad: []string{"Force", "abort ", "wait", "true"}},
	"EXCLUDE_FROM_LB_WAIT_TIME_IN_SEC": {
		good: []string{"0", "180", "2147483647"},
		bad:  []string{"3O", "-1", "1.5", "10s", "2147483648", "18446744073709551616", "ten", " 5", "+5"},
	},
	"MY_NODE_NAME":            object,
	"POD_NAME":                object,
	"POD_NAMESPACE":           {good: []string{"brupop-bottlerocket-aws", "a"}, bad: []string{"a.b", "A", "-a", "a-", "a b", "a/b", "a\n", strings.Repeat("a", 64)}},
	"APISERVER_INTERNAL_PORT": port,
	"APISERVER_SERVICE_PORT":  port,
	"TLS_MODE":                {good: []string{"own", "files"}, bad: []string{"cert-manager", "secret", "Own", "none"}},
	"UPDATE_CHECK_INTERVAL":   {good: []string{"10s", "2m", "24h"}, bad: []string{"0s", "9.9s", "24h1s", "2", "-2m", "often"}},
	"LOGGING_FORMATTER":       {good: []string{"full", "compact", "pretty", "json"}, bad: []string{"xml", "JSON", "text", "json "}},
	"LOGGING_ANSI_ENABLED":    boolean,
	// A filter never keeps a program from starting: those of the original name what does not exist here.
	"TRACING_FILTER_DIRECTIVE": {good: []string{"debug", "info,drain=debug", "a[b{c=d}]=trace,,=,x=y", strings.Repeat("[", 5000)}, anything: true},
	"LOGGING_LEVELS_FILE":      anything,
	"TERMINATION_LOG":          {bad: []string{"/", "/nowhere/at/all/log", "/dev/null/log"}},
}

// Start calls the program with these variables over a good environment, and returns what it ended with. It must not
// get as far as to work.
type Start func(env map[string]string) (code int, stderr string)

// Check holds a program to what is known of the settings that it declares. With good values it has to get to where
// arrived is in its errors.
func Check(t *testing.T, settings []setting.Setting, arrived string, start Start) {
	t.Helper()
	for _, s := range settings {
		k, known := kinds[s.Name]
		if !known || !k.anything && len(k.bad) == 0 {
			t.Errorf("%s: no bad values are known: give it some in package settingtest", s.Name)
			continue
		}
		if k.anything != (s.Allowed == "") && s.Name != "LOGGING_LEVELS_FILE" {
			t.Errorf("%s: the declaration says %q of what is allowed", s.Name, s.Allowed)
		}
		for _, value := range slices.Concat(k.good, []string{""}) {
			if value == "" && (s.Required || s.Name == "POD_NAMESPACE") { // the latter has to come from somewhere
				continue
			}
			if code, stderr := start(with(s.Name, value)); code == cli.ExitUsage || !strings.Contains(stderr, arrived) {
				t.Errorf("%s=%.50q: exit %d with %.500q, want it taken", s.Name, value, code, stderr)
			}
		}
		says := k.says
		if says == "" {
			says = s.Allowed
		}
		for _, value := range k.bad {
			code, stderr := start(with(s.Name, value))
			quoted := strings.Trim(setting.Quote(value), `"`)
			if code != cli.ExitUsage || len(stderr) > 2000 {
				t.Errorf("%s=%.50q: exit %d with %d bytes: %.500q, want %d", s.Name, value, code, len(stderr), stderr, cli.ExitUsage)
			}
			for _, want := range []string{s.Name, quoted, says} {
				if !strings.Contains(stderr, want) {
					t.Errorf("%s=%.50q: %.500q does not say %.500q", s.Name, value, stderr, want)
				}
			}
		}
		if s.Required {
			code, stderr := start(with(s.Name, ""))
			if code != cli.ExitUsage || !strings.Contains(stderr, s.Name+" is not set") || !strings.Contains(stderr, s.Allowed) {
				t.Errorf("%s unset: exit %d with %q", s.Name, code, stderr)
			}
		}
	}
}

// with is the environment for one value. The older window takes part only as a pair.
func with(name, value string) map[string]string {
	env := map[string]string{name: value}
	switch {
	case name == "UPDATE_WINDOW_START" && value != "":
		env["UPDATE_WINDOW_STOP"] = "12:0:0"
	case name == "UPDATE_WINDOW_STOP" && value != "":
		env["UPDATE_WINDOW_START"] = "12:0:0"
	}
	return env
}
