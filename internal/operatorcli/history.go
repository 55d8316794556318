// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/cli"
)

// happening is an event, in one form for all the ways in which events are written.
type happening struct {
	Time    time.Time `json:"time"`
	Warning bool      `json:"warning,omitempty"`
	Source  string    `json:"source"`
	Reason  string    `json:"reason"`
	Text    string    `json:"text"`
	// Count is how often it happened, the last time at Time.
	Count int32 `json:"count"`
}

// history reads the events of a node and of its record, oldest first.
func (c *cluster) history(ctx context.Context, name string) ([]happening, error) {
	var ofNode, ofShadow corev1.EventList
	// Events of a node are kept in the namespace default, whoever writes them.
	if err := c.list(ctx, &ofNode, eventsName, client.InNamespace(metav1.NamespaceDefault), regarding("Node", name)); err != nil {
		return []happening{}, err
	}
	if err := c.list(ctx, &ofShadow, eventsName, client.InNamespace(c.namespace), regarding("BottlerocketShadow", v2.ShadowName(name))); err != nil {
		return []happening{}, err
	}
	all := make([]happening, 0, len(ofNode.Items)+len(ofShadow.Items))
	for i := range ofNode.Items {
		all = append(all, happeningOf(&ofNode.Items[i]))
	}
	for i := range ofShadow.Items {
		// The controller tells of a move at the node and at its record.
		if h := happeningOf(&ofShadow.Items[i]); !slices.ContainsFunc(all, h.same) {
			all = append(all, h)
		}
	}
	slices.SortStableFunc(all, func(a, b happening) int { return a.Time.Compare(b.Time) })
	return all, nil
}

func regarding(kind, name string) client.MatchingFieldsSelector {
	return client.MatchingFieldsSelector{Selector: fields.SelectorFromSet(fields.Set{"involvedObject.kind": kind, "involvedObject.name": name})}
}

// sameMoment is how far the times of one happening in two events may be apart.
const sameMoment = 2 * time.Second

func (h happening) same(o happening) bool {
	return h.Source == o.Source && h.Reason == o.Reason && h.Text == o.Text && h.Time.Sub(o.Time).Abs() < sameMoment
}

func happeningOf(e *corev1.Event) happening {
	h := happening{
		Warning: e.Type == corev1.EventTypeWarning, Reason: e.Reason, Text: e.Message,
		Source: cmp.Or(e.ReportingController, e.Source.Component), Count: max(e.Count, 1),
	}
	for _, t := range []time.Time{e.LastTimestamp.Time, e.EventTime.Time, e.FirstTimestamp.Time, e.CreationTimestamp.Time} {
		if h.Time.IsZero() {
			h.Time = t.UTC()
		}
	}
	if s := e.Series; s != nil {
		h.Time, h.Count = s.LastObservedTime.UTC(), max(s.Count, h.Count)
	}
	return h
}

func printHistory(b *strings.Builder, history []happening, colours bool) error {
	if len(history) == 0 {
		b.WriteString("\nHistory: no events are kept.\n")
		return nil
	}
	b.WriteString("\nHistory:\n")
	g := grid{header: []string{"TIME", "BY", "WHAT", "TEXT"}}
	for _, h := range history {
		text := h.Text
		if h.Count > 1 {
			text += " (" + cli.Count(int(h.Count), "time") + ")"
		}
		reason := cell{text: h.Reason}
		if h.Warning {
			reason.colour = red
		}
		g.add(cell{text: h.Time.Format(time.RFC3339)}, cell{text: h.Source}, reason, cell{text: text})
	}
	return g.write(b, 0, colours)
}
