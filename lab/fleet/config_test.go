// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleet

import (
	"strings"
	"testing"
	"time"

	brupopv2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/google/go-cmp/cmp"
)

func good() Config {
	return Config{Nodes: 3, From: "1.20.0", To: "1.21.0", MaxConcurrent: 1, ImageSize: 32 << 20, Replicas: 2, Timeout: time.Minute}
}

func TestBadConfigurationIsNamed(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no nodes", func(c *Config) { c.Nodes = 0 }, "--nodes 0"},
		{"one node", func(c *Config) { c.Nodes = 1 }, "--nodes 1"},
		{"too many nodes", func(c *Config) { c.Nodes = 5000 }, "at most"},
		{"same version", func(c *Config) { c.To = "1.20.0" }, "both 1.20.0"},
		{"backwards", func(c *Config) { c.To = "1.19.0" }, "older than"},
		{"leading v", func(c *Config) { c.From = "v1.20.0" }, `--from "v1.20.0": not a version`},
		{"two numbers", func(c *Config) { c.To = "1.21" }, `--to "1.21": not a version`},
		{"tiny image", func(c *Config) { c.ImageSize = 1 << 20 }, "--image-size 1MiB: between 28MiB and 4GiB"},
		{"negative reboot", func(c *Config) { c.RebootTime = -time.Second }, "--reboot-time"},
		{"negative replicas", func(c *Config) { c.Replicas = -1 }, "--workload-replicas"},
		{"no time", func(c *Config) { c.Timeout = 0 }, "--timeout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := good()
			tt.change(&c)
			if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	c := good()
	if err := c.Validate(); err != nil {
		t.Errorf("a good configuration is refused: %v", err)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"32MiB": 32 << 20, "1GiB": 1 << 30, "512KiB": 512 << 10, "7B": 7, "2 MiB": 2 << 20} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "32", "MiB", "-1MiB", "1.5GiB", "99999999999999GiB", "3MB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q was read as %d", text, got)
		}
	}
	if got := FormatSize(48 << 20); got != "48MiB" {
		t.Errorf("got %s", got)
	}
}

func TestFaultsReadWhatTheyPrint(t *testing.T) {
	for _, want := range []Fault{
		{Action: FlipByte},
		{Action: Kill, Component: "agent", State: brupopv2.StagedAndPerformedUpdate},
		{Action: Kill, Component: "hostd", State: brupopv2.Idle},
		{Action: PowerCut, State: brupopv2.RebootedIntoUpdate},
		{Action: DeleteShadow, State: brupopv2.MonitoringUpdate},
	} {
		got, err := ParseFault(want.String())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	for _, text := range []string{"", "kill", "kill=", "kill=kubelet@Idle", "kill=agent@Nowhere", "flip", "flip-byte@Idle", "power-cut", "power-cut=agent@Idle", "kill@Idle"} {
		if _, err := ParseFault(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestRequestsAreCountedByAgentAndTime(t *testing.T) {
	line := func(second int, agent, verb, resource string) string {
		at := time.Unix(int64(second), 0).UTC().Format(time.RFC3339Nano)
		return `{"verb":"` + verb + `","userAgent":"` + agent + `","requestReceivedTimestamp":"` + at + `","objectRef":{"resource":"` + resource + `"}}` + "\n"
	}
	log := line(5, "drydock-controller/1", "patch", "bottlerocketshadows") + // before
		line(10, "drydock-controller/1", "patch", "bottlerocketshadows") +
		line(11, "drydock-apiserver/1", "create", "tokenreviews") +
		line(12, "drydock-apiserver/1", "watch", "pods") +
		line(13, "drydock-controller/1", "update", "leases") +
		line(14, "drydock-lab", "list", "nodes") +
		line(15, "drydock-controller/1", "patch", "bottlerocketshadows") +
		line(30, "drydock-controller/1", "patch", "bottlerocketshadows") + // after
		`{"verb":"get","userAg` // cut off
	got, err := countEntries(strings.NewReader(log), time.Unix(10, 0), time.Unix(20, 0), 2)
	if err != nil {
		t.Fatal(err)
	}
	want := KubeRequests{Total: 6, PerNodeUpdate: 1.5, ByUserAgent: map[string]int{
		"drydock-controller": 3, "drydock-apiserver": 2, "drydock-lab": 1,
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
