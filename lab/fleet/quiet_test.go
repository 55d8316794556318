// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleet

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func TestDecisionsAreReadFromTheHistogram(t *testing.T) {
	read := func(text string) metrics {
		parser := expfmt.NewTextParser(model.UTF8Validation)
		m, err := parser.TextToMetricFamilies(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := read(`# TYPE drydock_leader gauge
drydock_leader 1
# TYPE drydock_decision_seconds histogram
drydock_decision_seconds_bucket{le="0.001"} 60
drydock_decision_seconds_bucket{le="0.005"} 98
drydock_decision_seconds_bucket{le="0.02"} 99
drydock_decision_seconds_bucket{le="+Inf"} 100
drydock_decision_seconds_sum 0.5
drydock_decision_seconds_count 100
`)
	if diff := cmp.Diff(Decisions{Count: 100, Mean: 0.005, P50: 0.001, P99: 0.02}, decisions(m)); diff != "" {
		t.Error(diff)
	}
	if m.value("drydock_leader") != 1 || m.value("absent") != 0 || decisions(read("")) != (Decisions{}) {
		t.Error("a value is not read, or one that is not there")
	}
}

// TestReadingAllIsCounted: a watch may begin with all objects, and then costs what a list does.
func TestReadingAllIsCounted(t *testing.T) {
	line := func(verb, uri string) string {
		return `{"verb":"` + verb + `","userAgent":"drydock-controller/1","requestURI":"` + uri + `","requestReceivedTimestamp":"` +
			time.Unix(10, 0).UTC().Format(time.RFC3339Nano) + `","sourceIPs":["10.244.0.7"],"objectRef":{"resource":"nodes"}}` + "\n"
	}
	log := line("list", "/api/v1/nodes") + line("watch", "/api/v1/nodes?sendInitialEvents=true&watch=true") +
		line("watch", "/api/v1/nodes?resourceVersion=7&watch=true") + line("get", "/api/v1/nodes/a")
	all, counted := 0, map[string]int{}
	if err := eachEntry(strings.NewReader(log), func(e auditEntry) {
		if e.readsAll() {
			all++
		}
		if e.countsFor(time.Unix(9, 0), time.Unix(11, 0)) {
			counted[e.String()]++
		}
	}); err != nil {
		t.Fatal(err)
	}
	if all != 2 {
		t.Errorf("%d requests read all nodes, want the list and the first watch", all)
	}
	if diff := cmp.Diff(map[string]int{"drydock-controller: list nodes": 1, "drydock-controller: get nodes": 1}, counted); diff != "" {
		t.Error(diff)
	}
}

func TestATallyHasARowForEachState(t *testing.T) {
	got := tally([]row{{state: "Idle", version: "1.21.0"}, {state: "Idle", version: "1.20.0"}, {state: "Idle", version: "1.21.0"}})
	if len(got) != 2 || got[0].name != "2 nodes" || got[0].version != "1.21.0" || got[1].count != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestASimulatedFleetHasLimitsOfItsOwn(t *testing.T) {
	c := good()
	c.Nodes, c.ImageSize, c.Simulated = 5000, 0, &Simulated{Idle: time.Hour, Apiservers: 3}
	if err := c.Validate(); err != nil {
		t.Errorf("a good configuration is refused: %v", err)
	}
	c.Nodes, c.Simulated = 10001, &Simulated{StageTime: -1, Idle: 25 * time.Hour, Apiservers: 11}
	err := c.Validate()
	for _, want := range []string{"at most 10000", "--stage-time", "--idle 25h", "--apiservers 11"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
