// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package setting

import (
	"strings"
	"testing"
	"time"

	"github.com/drydock-os/drydock/internal/cli"
)

func TestApply(t *testing.T) {
	type config struct {
		on   bool
		wait time.Duration
		port uint16
		word string
	}
	for _, tc := range []struct {
		env  string
		want config
		err  string
	}{
		{"PORT=1", config{wait: time.Minute, port: 1}, ""},
		{"PORT=65535 ON=TRUE WAIT=90s WORD=b", config{true, 90 * time.Second, 65535, "b"}, ""},
		{"", config{}, "PORT is not set, and has to be a port from 1 to 65535"},
		{"PORT=0", config{}, `PORT is "0", but may only be a port from 1 to 65535`},
		{"PORT=65536", config{}, "PORT"},
		{"PORT=1 ON=yes", config{}, `ON is "yes", but may only be true or false`},
		{"PORT=1 WAIT=0s", config{}, "WAIT"},
		{"PORT=1 WAIT=-1m", config{}, "WAIT"},
		{"PORT=1 WAIT=10", config{}, "WAIT"},
		{"PORT=1 WORD=A", config{}, "WORD"},
		{"PORT=1 WORD=" + strings.Repeat("x", 5000), config{}, "x…"},
	} {
		var got config
		env := Env(func(name string) string {
			for pair := range strings.FieldsSeq(tc.env) {
				if v, ok := strings.CutPrefix(pair, name+"="); ok {
					return v
				}
			}
			return ""
		})
		err := Apply(env, []Setting{
			{Name: "ON", Allowed: ABool, Set: Into(&got.on, Bool)},
			{Name: "WAIT", Fallback: "1m", Allowed: ADuration, Set: Into(&got.wait, Duration)},
			{Name: "PORT", Required: true, Allowed: APort, Set: Into(&got.port, Port)},
			{Name: "WORD", Allowed: "a or b", Set: Into(&got.word, OneOf("a", "b"))},
			{Name: "ELSEWHERE", Fallback: "x"},
		})
		if tc.err == "" && (err != nil || got != tc.want) {
			t.Errorf("%s: %+v, %v", tc.env, got, err)
		}
		if tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err) || cli.ExitCode(err) != cli.ExitUsage || len(err.Error()) > 500) {
			t.Errorf("%.50s: %v, want %q", tc.env, err, tc.err)
		}
	}
}
