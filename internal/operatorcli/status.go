// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/program"
)

func (t *tool) statusCommand() *cobra.Command {
	var out format
	var watch, exitCode bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show every node: its state, version, slot, and what it does or waits for",
		Long: `Show every node: its state, version, slot, and what it does or waits for.

With --watch the answer is kept current: one table on a terminal, elsewhere one line (or with --output json one
JSON object on a line) for each change, until Ctrl-C.

Exit codes: 0 all is fine or being worked on, 1 the cluster did not answer, 2 the command line is wrong,
3 with --exit-code: the last attempt of at least one node failed, or its record cannot be read.`,
		Example: fmt.Sprintf("  %[1]s status\n  %[1]s status --watch\n  %[1]s status -o json | jq '.nodes[] | select(.failed)'", t.Program),
		Args:    program.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch && exitCode {
				return usageOf(cmd, "--exit-code is about one moment and --watch about many: give one of them")
			}
			c, err := t.connect()
			if err != nil {
				return err
			}
			if watch {
				return t.watchStatus(cmd.Context(), c, &out)
			}
			ctx, cancel := t.bounded(cmd.Context(), readTimeout)
			defer cancel()
			return t.status(ctx, c, &out, exitCode)
		},
	}
	out.addFlag(cmd, wideTable)
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "keep the answer current until Ctrl-C")
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "end with status 3 when the last attempt of a node failed")
	return cmd
}

// nobody is said instead of an empty table.
const nobody = "No node takes part. 'kubectl label node NAME " + v2.UpdaterInterfaceLabel + "=" + v2.UpdaterInterfaceVersion + "' brings one in."

// statusReport is what status prints for programs.
type statusReport struct {
	Namespace string       `json:"namespace"`
	Nodes     []nodeReport `json:"nodes"`
}

func (t *tool) status(ctx context.Context, c *cluster, out *format, exitCode bool) error {
	f, err := t.load(ctx, c)
	if err != nil {
		return err
	}
	for _, w := range f.warnings() {
		t.warn("%s", w)
	}
	now := t.Now()
	report := f.report(now)
	switch {
	case out.data():
		err = out.encode(t.Stdout, statusReport{c.namespace, report})
	case len(report) == 0:
		fmt.Fprintln(t.Stderr, nobody)
	default:
		s := t.screen()
		err = statusTable(report, now, *out == wideTable).write(t.Stdout, 0, s.colour)
		if s.live {
			fmt.Fprintf(t.Stdout, "\n%s\n", f.summary(report, now))
		}
	}
	if err != nil {
		return fmt.Errorf("printing the nodes: %w", err)
	}
	if exitCode && slices.ContainsFunc(report, func(r nodeReport) bool { return r.Failed }) {
		return ErrNodeFailed
	}
	return nil
}

// statusTable lays the nodes out.
func statusTable(report []nodeReport, now time.Time, wide bool) *grid {
	g := &grid{header: []string{"NODE", "STATE", "VERSION", "TARGET", "SLOT", "FAILURES", "SINCE", "DOING"}}
	if wide {
		g.header = []string{"NODE", "READY", "CORDONED", "STATE", "WANTED", "VERSION", "TARGET", "SLOT", "BOOT-ID", "FAILURES", "SINCE", "DOING"}
	}
	for i := range report {
		r := &report[i]
		target := r.TargetVersion
		if target == r.Version {
			target = ""
		}
		failures, since, doing := cell{text: strconv.FormatUint(uint64(r.Failures), 10)}, cell{text: age(r.Since, now)}, cell{text: r.doing()}
		if r.Failures > 0 {
			failures.colour = red
		}
		if wide {
			g.add(cell{text: r.Name}, cell{text: yesNo(r.Ready)}, cell{text: r.cordon()}, cell{word(r.State), r.colour()}, cell{text: word(r.WantedState)},
				cell{text: word(r.Version)}, cell{text: word(target)}, cell{text: word(r.Slot)}, cell{text: word(r.BootID)}, failures, since, doing)
			continue
		}
		g.add(cell{text: r.Name}, cell{word(r.state()), r.colour()}, cell{text: word(r.Version)}, cell{text: word(target)}, cell{text: word(r.Slot)}, failures, since, doing)
	}
	return g
}

// summary counts the nodes in one line.
func (f *fleet) summary(report []nodeReport, now time.Time) string {
	var current, moving, failed int
	for i := range report {
		switch r := &report[i]; {
		case r.Failed:
			failed++
		case r.moving():
			moving++
		case r.upToDate():
			current++
		}
	}
	parts := []string{cli.Count(len(report), "node")}
	for _, p := range []struct {
		n    int
		what string
	}{{current, "up to date"}, {moving, "being updated"}, {failed, "failed"}, {len(report) - current - moving - failed, "waiting"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	line := parts[0]
	if len(parts) > 1 {
		line += ": " + strings.Join(parts[1:], ", ")
	}
	if f.settings.problem == nil {
		line += "; at most " + f.settings.at(now).MaxConcurrent.String() + " at once"
	}
	return line
}

func (r *nodeReport) cordon() string {
	switch {
	case r.CordonedByDrydock:
		return "drydock"
	case !r.Schedulable:
		return "yes"
	}
	return "no"
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// age is the time since t in the style of kubectl.
func age(t *time.Time, now time.Time) string {
	if t == nil {
		return ""
	}
	return duration.HumanDuration(max(now.Sub(*t), 0))
}
