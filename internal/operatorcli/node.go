// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/cli"
)

func (t *tool) nodeCommand() *cobra.Command {
	var out format
	cmd := &cobra.Command{
		Use:   "node NAME",
		Short: "Show one node: what it does or waits for, its conditions and its history",
		Long: `Show one node: what it does or waits for, its conditions and its history.

The history is made of the events of the node and of its record, which a cluster keeps for an hour by default.`,
		Example: fmt.Sprintf("  %s node worker-1", t.Program),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return nil
			}
			return cli.WithHint(cli.Usagef("%s takes the name of one node, not %d", cmd.CommandPath(), len(args)), "'%s status' lists them", t.Program)
		},
		ValidArgsFunction: t.completeNode,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := t.connect()
			if err != nil {
				return err
			}
			ctx, cancel := t.bounded(cmd.Context(), readTimeout)
			defer cancel()
			return t.node(ctx, c, strings.TrimPrefix(args[0], "node/"), &out)
		},
	}
	out.addFlag(cmd)
	return cmd
}

// completeNode offers the names of the nodes that take part to a shell.
func (t *tool) completeNode(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := t.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	var list corev1.NodeList
	if err := c.list(ctx, &list, nodes, optedIn); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names := make([]cobra.Completion, len(list.Items))
	for i := range list.Items {
		names[i] = list.Items[i].Name
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// nodeDetail is what node prints for programs.
type nodeDetail struct {
	nodeReport
	// OptedIn is whether the node takes part.
	OptedIn bool `json:"optedIn"`
	// Conditions are those of the update, NodeConditions those of the Kubernetes node.
	Conditions     []metav1.Condition     `json:"conditions,omitempty"`
	NodeConditions []corev1.NodeCondition `json:"nodeConditions,omitempty"`
	History        []happening            `json:"history"`
}

func (t *tool) node(ctx context.Context, c *cluster, name string, out *format) error {
	f, err := t.load(ctx, c)
	if err != nil {
		return err
	}
	d := nodeDetail{nodeReport: nodeReport{Name: name}, History: []happening{}}
	inFleet := false
	now := t.Now()
	for _, r := range f.report(now) {
		if r.Name == name {
			d.nodeReport, inFleet = r, true
		}
	}
	var node corev1.Node
	switch err := c.client.Get(ctx, client.ObjectKey{Name: name}, &node); {
	case apierrors.IsNotFound(err) && !inFleet:
		return cli.WithHint(fmt.Errorf("there is no node %q", name), "'%s status' lists those that take part", t.Program)
	case apierrors.IsNotFound(err):
	case err != nil:
		return c.explain(err, "get", nodes)
	default:
		d.takeNode(&node)
		d.OptedIn = node.Labels[v2.UpdaterInterfaceLabel] == v2.UpdaterInterfaceVersion
		d.NodeConditions = node.Status.Conditions
	}
	for _, w := range f.warnings() {
		t.warn("%s", w)
	}
	if d.Conditions, err = c.conditions(ctx, name); err != nil {
		t.warn("conditions: %s", short(err))
	}
	if d.History, err = c.history(ctx, name); err != nil {
		t.warn("no history: %s", short(err))
	}
	if out.data() {
		err = out.encode(t.Stdout, &d)
	} else {
		s := t.screen()
		err = d.print(t.Stdout, now, s.colour)
	}
	if err != nil {
		return fmt.Errorf("printing the node: %w", err)
	}
	return nil
}

// conditions reads those of the node's record, if its definition has any.
func (c *cluster) conditions(ctx context.Context, name string) ([]metav1.Condition, error) {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(v2.GroupVersion.WithKind("BottlerocketShadow"))
	err := c.client.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: v2.ShadowName(name)}, u)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, c.explain(err, "get", shadows)
	}
	return conditionsOf(u)
}

func conditionsOf(u *unstructured.Unstructured) ([]metav1.Condition, error) {
	items, _, err := unstructured.NestedSlice(u.Object, "status", "conditions")
	if err != nil {
		return nil, fmt.Errorf("reading the conditions: %w", err)
	}
	var all []metav1.Condition
	for _, item := range items {
		m, ok := item.(map[string]any)
		if !ok {
			return nil, errors.New("reading the conditions: one is not an object")
		}
		var cond metav1.Condition
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(m, &cond); err != nil {
			return nil, fmt.Errorf("reading the conditions: %w", err)
		}
		all = append(all, cond)
	}
	return all, nil
}

func (d *nodeDetail) print(w io.Writer, now time.Time, colours bool) error {
	var head grid
	line := func(name, text string, c colour) {
		if text != "" {
			head.add(cell{text: name}, cell{text, c})
		}
	}
	line("Node:", d.Name, plain)
	version := d.Version
	if d.TargetVersion != "" && d.TargetVersion != version {
		version += ", to become " + d.TargetVersion
	}
	line("Version:", version, plain)
	state := d.state()
	if d.Since != nil {
		state += fmt.Sprintf(" (asked for %s ago, at %s)", age(d.Since, now), d.Since.Format(time.RFC3339))
	}
	line("State:", state, d.colour())
	line("Slot:", d.Slot, plain)
	line("Boot ID:", d.BootID, plain)
	if len(d.NodeConditions) > 0 {
		line("Ready:", yesNo(d.Ready), plain)
		ours := "by drydock, until the update is done"
		if !d.moving() {
			ours = "by drydock, although no update is under way"
		}
		line("Cordoned:", map[string]string{"drydock": ours, "yes": "yes, not by drydock: it stays", "no": "no"}[d.cordon()], plain)
	}
	if d.Failures > 0 || d.LastError != "" {
		failed := cli.Count(int(d.Failures), "failed attempt")
		if d.FailedAt != "" {
			failed += ", the last at " + seconds(d.FailedAt)
		}
		line("Failures:", failed, red)
		if n := d.Next; n == nil || !strings.Contains(n.Text, d.LastError) { // else it is told below
			line("Last error:", d.LastError, red)
		}
	}
	switch n := d.Next; {
	case n != nil && n.Kind == nextWait:
		line("Waits for:", n.Who+" ("+n.Reason+"): "+n.Text, plain)
	case n != nil:
		line("Next:", n.Text+" ("+n.Reason+")", plain)
	case !d.OptedIn && len(d.NodeConditions) > 0:
		line("Takes part:", "no; 'kubectl label node "+d.Name+" "+v2.UpdaterInterfaceLabel+"="+v2.UpdaterInterfaceVersion+"' brings it in", plain)
	}
	if n := d.Next; n == nil || !strings.Contains(n.Text, strings.TrimPrefix(d.Message, "update check failed: ")) {
		line("Message:", d.Message, plain)
	}

	var b strings.Builder
	if err := head.write(&b, 0, colours); err != nil {
		return err
	}
	if err := d.printConditions(&b, now, colours); err != nil {
		return err
	}
	if err := printHistory(&b, d.History, colours); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// seconds is a time without the fractions that it may have.
func seconds(at string) string {
	if t, err := time.Parse(time.RFC3339Nano, at); err == nil {
		return t.UTC().Format(time.RFC3339)
	}
	return at
}

func (d *nodeDetail) printConditions(b *strings.Builder, now time.Time, colours bool) error {
	g := grid{header: []string{"OF", "TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"}}
	for _, c := range d.Conditions {
		g.add(cell{text: "update"}, cell{text: c.Type}, cell{text: string(c.Status)}, cell{text: c.Reason},
			cell{text: age(known(c.LastTransitionTime.Time), now)}, cell{text: c.Message})
	}
	for _, c := range d.NodeConditions {
		g.add(cell{text: "node"}, cell{text: string(c.Type)}, cell{text: string(c.Status)}, cell{text: c.Reason},
			cell{text: age(known(c.LastTransitionTime.Time), now)}, cell{text: c.Message})
	}
	if len(g.rows) == 0 {
		return nil
	}
	b.WriteString("\nConditions:\n")
	return g.write(b, 0, colours)
}
