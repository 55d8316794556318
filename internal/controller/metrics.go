// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"math"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/plan"
)

// Names and labels of the first two are those of the original, which dashboards know.
var (
	hostsState = prometheus.NewDesc("brupop_hosts_state",
		"Number of hosts that have reported each state of an update.", []string{"state"}, nil)
	hostsVersion = prometheus.NewDesc("brupop_hosts_version",
		"Number of hosts that run each version of the operating system.", []string{"bottlerocket_version"}, nil)
	nodesWaiting = prometheus.NewDesc("drydock_nodes_waiting",
		"Number of nodes that wait, by what they wait for.", []string{"reason"}, nil)
	checksFailing = prometheus.NewDesc("drydock_update_check_failing_seconds",
		"How long the node that has failed longest to look for updates has done so, in seconds; 0 if all nodes can.", nil, nil)
	slotsUsed = prometheus.NewDesc("drydock_slots_used",
		"Number of nodes that count against the limit of concurrent updates.", nil, nil)
	slotsLimit = prometheus.NewDesc("drydock_slots_limit",
		"Limit of concurrent updates in nodes; +Inf without one.", nil, nil)
	nextWindow = prometheus.NewDesc("drydock_next_window_seconds",
		"Seconds until updates may start; 0 while they may, +Inf if they never may again.", nil, nil)
	leader = prometheus.NewDesc("drydock_leader",
		"Whether this replica leads: 1 or 0.", nil, nil)
	buildInfo = prometheus.NewDesc("drydock_build_info",
		"Always 1, with the version of the controller.", []string{"version", "go_version"}, nil)
)

// counters are what has happened since this replica leads.
type counters struct {
	moves     *prometheus.CounterVec
	completed prometheus.Counter
	failures  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	decisions prometheus.Histogram
}

// moveReasons are all reasons of moves.
var moveReasons = []plan.MoveReason{
	plan.UpdateAvailable, plan.UpdateStaged, plan.NodeRebooted, plan.UpdateVerified, plan.UpdateComplete,
	plan.AttemptFailed, plan.StateTimedOut, plan.ClockStarted, plan.SpecRepaired,
}

func newCounters() *counters {
	c := &counters{
		moves: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "drydock_moves_total",
			Help: "Number of changes made to the wanted state of a host, by reason.",
		}, []string{"reason"}),
		completed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "drydock_updates_total",
			Help: "Number of updates that were completed.",
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "drydock_update_failures_total",
			Help: "Number of updates that were called off, by reason and by the state that was wanted then.",
		}, []string{"reason", "state"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "drydock_state_duration_seconds",
			Help:    "Time from asking a host for a state until it was asked for the next, in seconds.",
			Buckets: []float64{0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600},
		}, []string{"state"}),
		decisions: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "drydock_decision_seconds",
			Help: "Time of one decision about the whole fleet, from looking at what is known to knowing the moves, in seconds.",
			// The promise is 20 ms at 1,000 nodes, so the steps are finest around that.
			Buckets: []float64{0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.0125, 0.015, 0.0175, 0.02, 0.0225, 0.025, 0.03, 0.04, 0.05, 0.1, 0.25, 1},
		}),
	}
	// Each series begins at 0: Prometheus takes a series that begins at 1 for one that has not changed.
	for _, reason := range moveReasons {
		c.moves.WithLabelValues(string(reason))
	}
	for _, reason := range []plan.MoveReason{plan.AttemptFailed, plan.StateTimedOut} {
		for _, state := range []plan.State{plan.StagedAndPerformedUpdate, plan.RebootedIntoUpdate, plan.MonitoringUpdate} {
			c.failures.WithLabelValues(string(reason), string(state))
		}
	}
	return c
}

func (c *counters) collectors() []prometheus.Collector {
	return []prometheus.Collector{c.moves, c.completed, c.failures, c.durations, c.decisions}
}

// count takes down a move of the shadow as it was before.
func (c *counters) count(before *v2.BottlerocketShadow, m plan.Move, now time.Time) {
	c.moves.WithLabelValues(string(m.Reason)).Inc()
	switch m.Reason {
	case plan.UpdateVerified:
		c.completed.Inc()
	case plan.AttemptFailed, plan.StateTimedOut:
		c.failures.WithLabelValues(string(m.Reason), string(m.From)).Inc()
	}
	if before.Spec.StateTransitionTimestamp == nil || m.From == plan.Idle || m.From == m.To || m.Reason == plan.SpecRepaired {
		return // idling is no part of an update, nor is what must not be
	}
	since, err := time.Parse(time.RFC3339Nano, *before.Spec.StateTransitionTimestamp)
	if err != nil || now.Before(since) {
		return // written by hand
	}
	c.durations.WithLabelValues(string(m.From)).Observe(now.Sub(since).Seconds())
}

// metricsHandler serves /metrics. The gauges of the fleet come from the replica that holds the Lease alone, which
// closes leading: a sum over all replicas is then right.
func metricsHandler(r *reconciler, leading <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(prometheus.Gatherers{newRegistry(r, leading), metrics.Registry}, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4,
		Timeout:             20 * time.Second,
	}))
	return mux
}

func newRegistry(r *reconciler, leading <-chan struct{}) *prometheus.Registry {
	own := prometheus.NewRegistry()
	own.MustRegister(r.counters.collectors()...)
	own.MustRegister(&gauges{reconciler: r, leading: leading})
	return own
}

// gauges are read on each scrape: of hosts from what is known at that moment, of the plan from its last
// decision, which is taken anew on every change.
type gauges struct {
	*reconciler
	leading <-chan struct{}
}

func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{hostsState, hostsVersion, nodesWaiting, checksFailing, slotsUsed, slotsLimit, nextWindow, leader, buildInfo} {
		ch <- d
	}
}

func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	ch <- gauge(buildInfo, 1, g.cfg.Version, runtime.Version())
	select {
	case <-g.leading:
		ch <- gauge(leader, 1)
	default:
		ch <- gauge(leader, 0)
		return
	}
	g.collectHosts(ch)
	d := g.decision.Load()
	if d == nil {
		return // elected a moment ago
	}
	waiting := map[plan.WaitReason]float64{}
	failing := 0.0
	for _, w := range d.Waiting {
		waiting[w.Reason]++
		if w.Reason == plan.CheckFailing && !w.Since.IsZero() {
			failing = max(failing, g.cfg.Now().Sub(w.Since).Seconds())
		}
	}
	ch <- gauge(checksFailing, failing)
	for reason, n := range waiting {
		ch <- gauge(nodesWaiting, n, string(reason))
	}
	limit := float64(d.Limit)
	if d.Limit == plan.Unlimited {
		limit = math.Inf(1)
	}
	ch <- gauge(slotsUsed, float64(d.Slots))
	ch <- gauge(slotsLimit, limit)
	ch <- gauge(nextWindow, g.untilWindow(d.Window))
}

// untilWindow is how many seconds it is until updates may start.
func (g *gauges) untilWindow(last plan.Window) float64 {
	now, s := g.cfg.Now(), g.cfg.Schedule
	if s == nil || s.Contains(now) || s.OneShot() && !last.Closed {
		return 0
	}
	next := s.Next(now)
	if next.IsZero() {
		return math.Inf(1)
	}
	return next.Sub(now).Seconds()
}

func (g *gauges) collectHosts(ch chan<- prometheus.Metric) {
	states, versions := g.mirror.hosts()
	for state, n := range states {
		ch <- gauge(hostsState, n, string(state))
	}
	for version, n := range versions {
		ch <- gauge(hostsVersion, n, version)
	}
}

// short cuts a word of a shadow, where anything may have been written by hand, to what a label or a line of a log can bear.
func short[S ~string](s S) S {
	const most = 128 // bytes
	if len(s) > most {
		return S(strings.ToValidUTF8(string(s[:most]), "")) + "…"
	}
	return s
}

func gauge(desc *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	m, err := prometheus.NewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return m
}
