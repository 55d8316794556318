// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
)

// Names and labels of the first two are those of the original, which dashboards know.
var (
	hostsState = prometheus.NewDesc("brupop_hosts_state",
		"Number of hosts that have reported each state of an update.", []string{"state"}, nil)
	hostsVersion = prometheus.NewDesc("brupop_hosts_version",
		"Number of hosts that run each version of the operating system.", []string{"bottlerocket_version"}, nil)
)

func newMoveCounter() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "drydock_moves_total",
		Help: "Number of changes made to the wanted state of a host, by reason.",
	}, []string{"reason"})
}

// metricsHandler serves /metrics. The gauges of hosts come from the replica that holds the Lease alone, which
// closes leading: a sum over all replicas is then right.
func metricsHandler(ctx context.Context, reader client.Reader, namespace string, leading <-chan struct{}, moves *prometheus.CounterVec) http.Handler {
	own := prometheus.NewRegistry()
	own.MustRegister(moves, &hosts{ctx: ctx, reader: reader, namespace: namespace, leading: leading})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(prometheus.Gatherers{own, metrics.Registry}, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4,
		Timeout:             20 * time.Second,
	}))
	return mux
}

// hosts counts on each scrape what the cache holds at that moment.
type hosts struct {
	ctx       context.Context // Collect has none
	reader    client.Reader
	namespace string
	leading   <-chan struct{}
}

func (h *hosts) Describe(ch chan<- *prometheus.Desc) {
	ch <- hostsState
	ch <- hostsVersion
}

func (h *hosts) Collect(ch chan<- prometheus.Metric) {
	select {
	case <-h.leading:
	default:
		return
	}
	var list v2.BottlerocketShadowList
	if err := h.reader.List(h.ctx, &list, client.InNamespace(h.namespace), client.UnsafeDisableDeepCopy); err != nil {
		ch <- prometheus.NewInvalidMetric(hostsState, err)
		return
	}
	// All states are always there: a sum that ends in nothing is hard to tell from one that was never made.
	states := map[v2.State]int{v2.Idle: 0, v2.StagedAndPerformedUpdate: 0, v2.RebootedIntoUpdate: 0, v2.MonitoringUpdate: 0, v2.ErrorReset: 0}
	versions := map[v2.Version]int{}
	for i := range list.Items {
		if st := list.Items[i].Status; st != nil {
			states[st.CurrentState]++
			versions[st.CurrentVersion]++
		}
	}
	for state, n := range states {
		ch <- gauge(hostsState, n, string(state))
	}
	for version, n := range versions {
		ch <- gauge(hostsVersion, n, string(version))
	}
}

func gauge(desc *prometheus.Desc, n int, label string) prometheus.Metric {
	m, err := prometheus.NewConstMetric(desc, prometheus.GaugeValue, float64(n), label)
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return m
}
