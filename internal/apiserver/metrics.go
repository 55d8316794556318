// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/drydock-os/drydock/internal/apiserver/drain"
)

// metrics are served on a port of their own, in the clear and without a token, so that any scraper reads them.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	streams  prometheus.Gauge
	draining prometheus.Gauge
	blocked  prometheus.Gauge
	forced   prometheus.Counter
	drains   *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "drydock_apiserver_request_duration_seconds",
			Help:    "Time to answer requests, in seconds; streams are left out. Those of /ping, /readyz and /crdconvert are not of agents.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 600},
		}, []string{"route", "method", "code"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "drydock_apiserver_streams", Help: "Agents connected to the stream of the desired state.",
		}),
		draining: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "drydock_apiserver_drains_running", Help: "Drains that run in this replica now.",
		}),
		blocked: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "drydock_apiserver_drains_blocked", Help: "Drains in this replica in which a pod keeps being refused now.",
		}),
		forced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "drydock_apiserver_drains_forced_total", Help: "Drains that deleted pods past their budgets when their limit was over.",
		}),
		drains: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "drydock_apiserver_drains_total", Help: "Drains that ended in this replica, by result: done, failed, interrupted.",
		}, []string{"result"}),
	}
	for _, result := range []string{"done", "failed", "interrupted"} {
		m.drains.WithLabelValues(result) // so that the first failure is a change from 0
	}
	m.registry.MustRegister(m.requests, m.streams, m.draining, m.blocked, m.forced, m.drains,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// observe counts one request. The route is a pattern of ours, the method one we know: strangers cannot
// make new series.
func (m *metrics) observe(route string, r *http.Request, code int, took time.Duration) {
	method := "other"
	if r != nil {
		switch r.Method {
		case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodHead:
			method = r.Method
		}
	}
	if route == "" {
		route = "unknown"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(code)).Observe(took.Seconds())
}

// setBlocked counts a drain as blocked or not, by its progress before and now.
func (m *metrics) setBlocked(before *drain.Progress, now drain.Progress) {
	switch was, is := before.Blocking != nil, now.Blocking != nil; {
	case is && !was:
		m.blocked.Inc()
	case was && !is:
		m.blocked.Dec()
	}
}

func (m *metrics) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Timeout: 10 * time.Second}))
	return mux
}
