// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	goruntime "runtime"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
)

// Bounds of one log, so that a chatty pod cannot fill a disk.
const (
	logLines = 10_000
	logBytes = 8 << 20
)

// bundleInfo is about.yaml.
type bundleInfo struct {
	Created   time.Time     `json:"created"`
	Namespace string        `json:"namespace"`
	Versions  versionReport `json:"versions"`
	// Missing says what could not be read, and why.
	Missing []string `json:"missing,omitempty"`
}

// collector gathers the entries and remembers what failed.
type collector struct {
	t       *tool
	c       *cluster
	entries []entry
	missing []string
}

// collect reads everything. Only a cluster that cannot be reached at all is an error.
func (t *tool) collect(ctx context.Context, c *cluster) (entries []entry, missing []string, err error) {
	about := bundleInfo{Created: t.Now().UTC(), Namespace: c.namespace, Versions: versionReport{Client: t.Version, Go: goruntime.Version()}}
	if about.Versions.Kubernetes, err = c.serverVersion(ctx); err != nil {
		return nil, nil, c.explain(err, "get", "the cluster's version")
	}
	k := &collector{t: t, c: c}
	k.note("versions", func() (err error) {
		about.Versions.Components, err = c.components(ctx)
		return err
	})
	k.note("status and plan", func() error { return k.answers(ctx) })
	operator := []client.ListOption{client.InNamespace(c.namespace), client.HasLabels{v2.ComponentLabel}}
	var podList corev1.PodList
	k.note(shadows, func() error {
		var l v2.BottlerocketShadowList
		return addList(ctx, k, "shadows.yaml", &l, shadows, &l.Items, client.InNamespace(c.namespace))
	})
	k.note(nodes, func() error { return k.nodes(ctx) })
	k.note(deployments, func() error {
		var l appsv1.DeploymentList
		return addList(ctx, k, "deployments.yaml", &l, deployments, &l.Items, operator...)
	})
	k.note(daemonSets, func() error {
		var l appsv1.DaemonSetList
		return addList(ctx, k, "daemonsets.yaml", &l, daemonSets, &l.Items, operator...)
	})
	k.note(pods, func() error { return addList(ctx, k, "pods.yaml", &podList, pods, &podList.Items, operator...) })
	k.note(leases, func() error {
		var l coordinationv1.LeaseList
		return addList(ctx, k, "leases.yaml", &l, leases, &l.Items, client.InNamespace(c.namespace))
	})
	k.note(eventsName, func() error {
		var l corev1.EventList
		return addList(ctx, k, "events.yaml", &l, eventsName, &l.Items, client.InNamespace(c.namespace))
	})
	k.note("events of nodes", func() error {
		var l corev1.EventList
		return addList(ctx, k, "events-nodes.yaml", &l, eventsName, &l.Items, client.InNamespace(metav1.NamespaceDefault),
			client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("involvedObject.kind", "Node")})
	})
	for i := range podList.Items {
		k.logs(ctx, &podList.Items[i])
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("collecting: %w", context.Cause(ctx))
	}
	about.Missing = k.missing
	doc, err := yaml.Marshal(&about)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding about.yaml: %w", err)
	}
	return append([]entry{{"about.yaml", doc}}, k.entries...), k.missing, nil
}

// note runs one part and remembers that it failed.
func (k *collector) note(what string, part func() error) {
	if err := part(); err != nil {
		k.missing = append(k.missing, redactText(what+": "+short(err)))
	}
}

func (k *collector) add(name string, data []byte) {
	k.entries = append(k.entries, entry{name, data})
}

// addList reads a list of objects and adds them as one file.
func addList[T any, P interface {
	*T
	client.Object
}](ctx context.Context, k *collector, name string, list client.ObjectList, resource string, items *[]T, opts ...client.ListOption) error {
	if err := k.c.list(ctx, list, resource, opts...); err != nil {
		return err
	}
	doc, err := redactedYAML[T, P](*items)
	if err != nil {
		return err
	}
	k.add(name, doc)
	return nil
}

// answers adds what the other commands would have printed.
func (k *collector) answers(ctx context.Context) error {
	f, err := k.t.load(ctx, k.c)
	if err != nil {
		return err
	}
	now := k.t.Now()
	report := f.report(now)
	var out bytes.Buffer
	for _, w := range f.warnings() {
		fmt.Fprintf(&out, "warning: %s\n", w)
	}
	fmt.Fprintf(&out, "%s\n\n", f.summary(report, now))
	if err := statusTable(report, now, true).write(&out, 0, false); err != nil {
		return err
	}
	k.add("status.txt", []byte(redactText(out.String())))
	if f.settings.problem != nil {
		return nil // status.txt says so
	}
	var planned bytes.Buffer
	p := f.plan(now)
	if err := p.print(&planned, now, false); err != nil {
		return err
	}
	k.add("plan.txt", []byte(redactText(planned.String())))
	return nil
}

// nodeExcerpt is all that is passed on of a node.
type nodeExcerpt struct {
	Name          string                 `json:"name"`
	UID           string                 `json:"uid"`
	Labels        map[string]string      `json:"labels,omitempty"`
	Unschedulable bool                   `json:"unschedulable"`
	CordonedBy    string                 `json:"cordonedBy,omitempty"`
	Conditions    []corev1.NodeCondition `json:"conditions,omitempty"`
}

func (k *collector) nodes(ctx context.Context) error {
	var list corev1.NodeList
	if err := k.c.list(ctx, &list, nodes); err != nil {
		return err
	}
	var out []byte
	for i := range list.Items {
		n := &list.Items[i]
		doc, err := yaml.Marshal(&nodeExcerpt{
			Name: n.Name, UID: string(n.UID), Labels: n.Labels, Unschedulable: n.Spec.Unschedulable,
			CordonedBy: n.Annotations[v2.CordonedByAnnotation], Conditions: n.Status.Conditions,
		})
		if err != nil {
			return fmt.Errorf("encoding node %s: %w", n.Name, err)
		}
		out = append(append(out, "---\n"...), redactText(string(doc))...)
	}
	k.add("nodes.yaml", out)
	return nil
}

// logs adds the logs of a pod, also those of the run before the last restart.
func (k *collector) logs(ctx context.Context, pod *corev1.Pod) {
	restarted := map[string]bool{}
	for _, s := range append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...) {
		restarted[s.Name] = s.RestartCount > 0
	}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			name := list[i].Name
			k.note("log of "+pod.Name+"/"+name, func() error { return k.log(ctx, pod.Name, name, false) })
			if restarted[name] {
				k.note("log before the restart of "+pod.Name+"/"+name, func() error { return k.log(ctx, pod.Name, name, true) })
			}
		}
	}
}

func (k *collector) log(ctx context.Context, pod, container string, previous bool) error {
	stream, err := k.c.logs(ctx, pod, container, previous)
	if err != nil {
		return k.c.explain(err, "get", "pods/log")
	}
	defer stream.Close()
	data, err := io.ReadAll(io.LimitReader(stream, logBytes))
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	file := container + ".log"
	if previous {
		file = container + ".previous.log"
	}
	k.add(path.Join("logs", pod, file), []byte(redactText(strings.ToValidUTF8(string(data), "�"))))
	return nil
}
