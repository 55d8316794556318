// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	brupopv2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/lab/kubelet"
)

// ScaleReport is what only a simulated fleet tells: its size makes these figures interesting.
type ScaleReport struct {
	// DecisionSeconds is how long the controller took for its decisions about the whole fleet, by its own histogram.
	DecisionSeconds Decisions `json:"decision_seconds"`
	// PeakRSSBytes is the most memory that the largest process of each kind ever had.
	PeakRSSBytes RSSBytes `json:"peak_rss_bytes"`
	Idle         *Idle    `json:"idle,omitempty"`
	Restart      *Restart `json:"restart,omitempty"`
}

// Decisions sums up a histogram. P50 and P99 are the upper ends of the steps that they fall into.
type Decisions struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
}

// Idle is what the operator asked the kube-apiserver while there was nothing to do, without Leases and watches.
type Idle struct {
	Seconds   float64        `json:"seconds"`
	Requests  int            `json:"requests"`
	PerHour   float64        `json:"per_hour"`
	ByRequest map[string]int `json:"by_request"`
}

// Restart is what happened after the controller that led was killed.
type Restart struct {
	// LeaderAfterSeconds is when another one had decided about the fleet.
	LeaderAfterSeconds float64 `json:"leader_after_seconds"`
	// Lists is the most often that one process read all objects of a type, by list or by the beginning of a watch.
	Lists map[string]int `json:"lists"`
}

// Waits of the measurements after a roll.
const (
	leaderLimit   = 2 * time.Minute        // for the first decision of a new leader
	scrapePause   = 100 * time.Millisecond // metrics have no event
	scrapeTimeout = 5 * time.Second
	calm          = 10 * time.Second // until what belongs to the roll is over
)

// observe measures a simulated fleet after its roll.
func (l *Lab) observe(ctx context.Context) (*ScaleReport, error) {
	r := &ScaleReport{}
	_, leader, err := l.leader(ctx)
	if err != nil {
		return r, err
	}
	r.DecisionSeconds = decisions(leader)
	if s := l.cfg.Simulated; s.Idle > 0 {
		if r.Idle, err = l.idle(ctx, s.Idle); err != nil {
			return r, err
		}
	}
	if r.PeakRSSBytes, err = memory("VmHWM:"); err != nil {
		return r, err
	}
	if l.cfg.Simulated.Restart {
		r.Restart, err = l.restart(ctx)
	}
	return r, err
}

// idle counts requests while nothing is to be done.
func (l *Lab) idle(ctx context.Context, d time.Duration) (*Idle, error) {
	if err := l.wait(ctx, calm); err != nil {
		return nil, err
	}
	l.display.say("watching the idle fleet for %v", d)
	from := time.Now()
	if err := l.wait(ctx, d); err != nil {
		return nil, err
	}
	i := &Idle{ByRequest: map[string]int{}}
	to := time.Now()
	err := readAudit(l.plane.AuditLog(), func(e auditEntry) {
		if e.countsFor(from, to) {
			i.Requests++
			i.ByRequest[e.String()]++
		}
	})
	i.Seconds = seconds(to.Sub(from))
	i.PerHour = round(float64(i.Requests) / to.Sub(from).Hours())
	return i, err
}

// restart kills the controller that leads, waits until another one does and the killed one is back, and then kills
// all of them: a watch is in the audit log only when it has ended.
func (l *Lab) restart(ctx context.Context) (*Restart, error) {
	lead, _, err := l.leader(ctx)
	if err != nil {
		return nil, err
	}
	from := time.Now()
	killed := l.killWhere(func(_ string, p kubelet.Process) bool { return p.Pod == lead.Name })
	l.display.say("killed %d process: the controller that leads, on %s", killed, lead.Spec.NodeName)
	if _, _, err := l.leader(ctx); err != nil {
		return nil, err
	}
	led := time.Now()
	if err := l.wait(ctx, calm); err != nil {
		return nil, err
	}
	to := time.Now()
	l.kill("controller", "")
	if _, _, err := l.leader(ctx); err != nil {
		return nil, err
	}
	byProcess := map[string]map[string]int{} // by the address of the pod
	err = readAudit(l.plane.AuditLog(), func(e auditEntry) {
		if e.agent() != "drydock-controller" || !e.in(from, to) || !e.readsAll() || len(e.SourceIPs) == 0 {
			return
		}
		lists := byProcess[e.SourceIPs[0]]
		if lists == nil {
			lists = map[string]int{}
			byProcess[e.SourceIPs[0]] = lists
		}
		lists[e.ObjectRef.Resource]++
	})
	r := &Restart{LeaderAfterSeconds: seconds(led.Sub(from)), Lists: map[string]int{}}
	for _, lists := range byProcess {
		for resource, n := range lists {
			r.Lists[resource] = max(r.Lists[resource], n)
		}
	}
	return r, err
}

func (l *Lab) wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-l.failed:
		return err
	case <-t.C:
		return nil
	}
}

// leader returns the pod of the controller that leads, and its metrics, as soon as it has decided. Who was killed
// answers no more.
func (l *Lab) leader(ctx context.Context) (*corev1.Pod, metrics, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, leaderLimit, fmt.Errorf("no controller led within %v", leaderLimit))
	defer cancel()
	for {
		var pods corev1.PodList
		if err := l.client.List(ctx, &pods, client.InNamespace(brupopv2.DefaultNamespace),
			client.MatchingLabels{brupopv2.ComponentLabel: "brupop-controller"}); err == nil {
			for i := range pods.Items {
				m, err := scrape(ctx, pods.Items[i].Status.PodIP)
				if err == nil && m.value("drydock_leader") == 1 && decisions(m).Count > 0 {
					return &pods.Items[i], m, nil
				}
			}
		}
		if err := l.wait(ctx, scrapePause); err != nil {
			return nil, nil, errors.Join(err, context.Cause(ctx))
		}
	}
}

// metrics is one answer of a /metrics endpoint.
type metrics map[string]*dto.MetricFamily

func scrape(ctx context.Context, pod string) (metrics, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(pod, "8080")+"/metrics", nil)
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	return families, nil
}

// value is a metric without labels; 0 when it is not there.
func (m metrics) value(name string) float64 {
	if series := m[name].GetMetric(); len(series) > 0 {
		return series[0].GetGauge().GetValue()
	}
	return 0
}

// decisions reads the controller's histogram.
func decisions(m metrics) Decisions {
	series := m["drydock_decision_seconds"].GetMetric()
	if len(series) == 0 {
		return Decisions{}
	}
	h := series[0].GetHistogram() // it has no labels
	d := Decisions{Count: h.GetSampleCount()}
	if d.Count == 0 {
		return d
	}
	d.Mean = h.GetSampleSum() / float64(d.Count)
	d.P50, d.P99 = quantile(h, 0.5), quantile(h, 0.99)
	return d
}

// quantile is the upper end of the step that the quantile falls into.
func quantile(h *dto.Histogram, q float64) float64 {
	for _, b := range h.GetBucket() {
		if float64(b.GetCumulativeCount()) >= q*float64(h.GetSampleCount()) {
			return b.GetUpperBound()
		}
	}
	return h.GetSampleSum() // above all steps: it is at most this
}

// print writes the report for a person.
func (s *ScaleReport) print(w *strings.Builder) {
	fmt.Fprintf(w, "%d decisions about the whole fleet: %.1f ms in the mean, 99 %% within %.1f ms\n",
		s.DecisionSeconds.Count, 1000*s.DecisionSeconds.Mean, 1000*s.DecisionSeconds.P99)
	fmt.Fprintf(w, "at most resident: apiserver %s, controller %s\n", mebibytes(s.PeakRSSBytes.Apiserver), mebibytes(s.PeakRSSBytes.Controller))
	if s.Idle != nil {
		fmt.Fprintf(w, "idle: %d requests in %.0f s, %.0f in an hour\n", s.Idle.Requests, s.Idle.Seconds, s.Idle.PerHour)
	}
	if s.Restart != nil {
		fmt.Fprintf(w, "after the end of the controller that led another one had decided within %.1f s; lists of one process: %v\n", s.Restart.LeaderAfterSeconds, s.Restart.Lists)
	}
}
