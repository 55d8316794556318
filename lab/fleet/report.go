// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleet

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what a run found out. Durations are in seconds, rounded to milliseconds.
type Report struct {
	Nodes              int          `json:"nodes"`
	Updated            int          `json:"updated"`
	Failed             int          `json:"failed"`
	From               string       `json:"from"`
	To                 string       `json:"to"`
	MaxConcurrent      int          `json:"max_concurrent,omitempty"` // absent when unlimited
	DurationSeconds    float64      `json:"duration_seconds"`         // from the lab's start to the last node's end
	RollSeconds        float64      `json:"roll_seconds"`             // from the first node's start to the last node's end
	IdealSeconds       float64      `json:"ideal_seconds"`            // what the roll had taken if nodes did nothing but stage, drain and reboot
	OverIdeal          float64      `json:"over_ideal"`               // roll_seconds / ideal_seconds; 0 when nothing was updated
	MaxUnavailableSeen int          `json:"max_unavailable_seen"`
	PDBViolations      int          `json:"pdb_violations"`
	Violations         []string     `json:"violations"`
	PerNode            []NodeReport `json:"per_node"`
	OwnSeconds         OwnSeconds   `json:"own_seconds"`
	KubeRequests       KubeRequests `json:"kube_requests"`
	RSSBytes           RSSBytes     `json:"rss_bytes"`
	Scale              *ScaleReport `json:"scale,omitempty"` // of a simulated fleet
	// Reason is why the run as a whole failed; empty when every node was updated and every promise kept.
	Reason string `json:"reason,omitempty"`
}

// NodeReport is what happened to one node. A time that could not be measured is 0.
type NodeReport struct {
	Name          string  `json:"name"`
	Version       string  `json:"version"` // of the root image that runs
	Slot          string  `json:"slot"`
	BootIDChanged bool    `json:"boot_id_changed"`
	Attempts      int     `json:"attempts"`
	TotalSeconds  float64 `json:"total_seconds"`  // from leaving Idle to being Idle again
	DrainSeconds  float64 `json:"drain_seconds"`  // from the cordon to the last pod's end
	RebootSeconds float64 `json:"reboot_seconds"` // from the reboot request to the Node's Ready with the new boot id
	StageSeconds  float64 `json:"stage_seconds"`  // prepare and activate, measured by the host
	OwnSeconds    float64 `json:"own_seconds"`    // what remains: the operator's own share
	Problem       string  `json:"problem,omitempty"`
}

// OwnSeconds sums up the operator's own share over the updated nodes.
type OwnSeconds struct {
	P50 float64 `json:"p50"`
	Max float64 `json:"max"`
}

// KubeRequests counts requests at the kube-apiserver, from its audit log. Total and ByUserAgent count
// all clients from the first node's start to the last node's end; PerNodeUpdate counts the operator's
// parts alone, without Leases and watches, divided by the nodes updated.
type KubeRequests struct {
	Total         int            `json:"total"`
	PerNodeUpdate float64        `json:"per_node_update"`
	ByUserAgent   map[string]int `json:"by_user_agent"`
}

// RSSBytes is the resident memory of the largest process of each kind at the end of the run, with the
// shared pages of its program.
type RSSBytes struct {
	Agent      int64 `json:"agent"`
	Apiserver  int64 `json:"apiserver"`
	Controller int64 `json:"controller"`
	Hostd      int64 `json:"hostd"`
}

// Failure reports whether the run ends with exit code 1.
func (r *Report) Failure() bool { return r.Reason != "" }

// report sums up what the tracker saw. began is when the lab started.
func (t *tracker) report(cfg *Config, began, now time.Time) *Report {
	first, last := t.span()
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &Report{
		Nodes: len(t.nodes), From: cfg.From, To: cfg.To,
		MaxUnavailableSeen: t.maxUnavailable, PDBViolations: t.pdbViolations,
		Violations: append([]string{}, t.violations...),
	}
	if cfg.MaxConcurrent != Unlimited {
		r.MaxConcurrent = cfg.MaxConcurrent
	}
	var problems []string
	var ownSeconds []float64
	for _, n := range t.sorted() {
		nr := n.report(t.to)
		r.PerNode = append(r.PerNode, nr)
		if nr.Problem == "" {
			r.Updated++
			ownSeconds = append(ownSeconds, nr.OwnSeconds)
		} else {
			r.Failed++
			problems = append(problems, fmt.Sprintf("%s: %s", n.name, nr.Problem))
		}
	}
	if last.IsZero() {
		last = now
	}
	if !first.IsZero() {
		r.RollSeconds = seconds(last.Sub(first))
	}
	r.IdealSeconds = round(t.ideal())
	if r.IdealSeconds > 0 {
		r.OverIdeal = round(r.RollSeconds / r.IdealSeconds)
	}
	r.DurationSeconds = seconds(last.Sub(began))
	r.OwnSeconds = summarize(ownSeconds)
	r.Reason = strings.Join(append(problems, t.violations...), "; ")
	return r
}

func (n *nodeTrack) report(to string) NodeReport {
	nr := NodeReport{
		Name: n.name, Version: n.machine.Release.Version, Slot: slotName(n.machine),
		BootIDChanged: n.machine.ID != n.first.ID && n.bootID == n.machine.ID,
		Attempts:      len(n.attempts), Problem: n.problem(to),
	}
	if len(n.attempts) == 0 {
		return nr
	}
	a := n.attempts[len(n.attempts)-1]
	nr.TotalSeconds = between(a.start, a.end)
	nr.DrainSeconds = between(a.cordoned, a.drained)
	nr.RebootSeconds = between(a.rebootAsked, a.back)
	nr.StageSeconds = seconds(a.staging)
	if nr.TotalSeconds > 0 {
		nr.OwnSeconds = round(nr.TotalSeconds - nr.DrainSeconds - nr.RebootSeconds - nr.StageSeconds)
	}
	return nr
}

// ideal is how long the roll had taken at the least, in seconds: the attempts in the order in which they began, each
// in the place that is free first, and each as long as its staging, drain and reboot took together.
func (t *tracker) ideal() float64 {
	type work struct {
		start time.Time
		took  float64
	}
	var all []work
	for _, n := range t.nodes {
		for _, a := range n.attempts {
			all = append(all, work{a.start, a.staging.Seconds() + between(a.cordoned, a.drained) + between(a.rebootAsked, a.back)})
		}
	}
	slices.SortFunc(all, func(a, b work) int { return a.start.Compare(b.start) })
	free := make([]float64, min(t.maxConcurrent, len(all)))
	end := 0.0
	for _, w := range all {
		first := 0
		for i, at := range free {
			if at < free[first] {
				first = i
			}
		}
		free[first] += w.took
		end = max(end, free[first])
	}
	return end
}

func between(from, to time.Time) float64 {
	if from.IsZero() || to.Before(from) {
		return 0
	}
	return seconds(to.Sub(from))
}

func seconds(d time.Duration) float64 { return round(d.Seconds()) }

func round(s float64) float64 { return math.Round(s*1000) / 1000 }

// summarize takes the median as the mean of the two middle values when their number is even.
func summarize(values []float64) OwnSeconds {
	if len(values) == 0 {
		return OwnSeconds{}
	}
	v := slices.Sorted(slices.Values(values))
	mid := len(v) / 2
	p50 := v[mid]
	if len(v)%2 == 0 {
		p50 = round((v[mid-1] + v[mid]) / 2)
	}
	return OwnSeconds{P50: p50, Max: v[len(v)-1]}
}

// Print writes the report for a person.
func (r *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "\n%d of %d nodes updated from %s to %s in %.1f s; at most %d unavailable at once, %d violations of the PodDisruptionBudget\n\n",
		r.Updated, r.Nodes, r.From, r.To, r.RollSeconds, r.MaxUnavailableSeen, r.PDBViolations)
	if r.Scale == nil {
		r.printNodes(w)
	}
	fmt.Fprintf(w, "staging, drains and reboots alone would have taken %.1f s: the roll took %.2f times that\n", r.IdealSeconds, r.OverIdeal)
	fmt.Fprintf(w, "the operator itself added %.2f s per node (median; worst %.2f s) and %.1f requests to the kube-apiserver\n",
		r.OwnSeconds.P50, r.OwnSeconds.Max, r.KubeRequests.PerNodeUpdate)
	if r.Scale != nil {
		var text strings.Builder
		r.Scale.print(&text)
		_, _ = io.WriteString(w, text.String())
		return
	}
	fmt.Fprintf(w, "resident memory: agent %s, apiserver %s, controller %s, hostd %s\n",
		mebibytes(r.RSSBytes.Agent), mebibytes(r.RSSBytes.Apiserver), mebibytes(r.RSSBytes.Controller), mebibytes(r.RSSBytes.Hostd))
}

func (r *Report) printNodes(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NODE\tVERSION\tSLOT\tTOTAL\tSTAGE\tDRAIN\tREBOOT\tOPERATOR")
	for _, n := range r.PerNode {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%.2fs\t%.2fs\t%.2fs\t%.2fs\t%.2fs\n",
			n.Name, n.Version, n.Slot, n.TotalSeconds, n.StageSeconds, n.DrainSeconds, n.RebootSeconds, n.OwnSeconds)
	}
	tw.Flush()
	fmt.Fprintln(w)
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
