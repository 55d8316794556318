// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/fleetview"
	"github.com/drydock-os/drydock/internal/plan"
)

// Values of the component label, and the name of the controller's Lease.
const (
	controllerComponent = "brupop-controller"
	controllerLease     = "drydock-controller"
)

// settings is what the deployed controller decides by.
type settings struct {
	// at is the snapshot without nodes and shadows; nil if there is a problem.
	at SnapshotAt
	// problem is why the settings are not known.
	problem error
	// ready and wanted count the controller's replicas.
	ready, wanted int32
	// leader is the pod that decides; empty if that is not known.
	leader string
}

// fleet is everything that an answer is made from.
type fleet struct {
	nodes    []corev1.Node
	shadows  []v2.BottlerocketShadow
	settings settings
}

// elsewhere is what to try where the operator is not found.
const elsewhere = "if the operator is in another namespace, name it with -n"

// optedIn selects the nodes that the controller watches.
var optedIn = client.MatchingLabels{v2.UpdaterInterfaceLabel: v2.UpdaterInterfaceVersion}

// load reads the fleet. Nodes and shadows are needed; what becomes of the settings is noted in them.
func (t *tool) load(ctx context.Context, c *cluster) (*fleet, error) {
	var f fleet
	var nodeList corev1.NodeList
	var shadowList v2.BottlerocketShadowList
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.list(ctx, &shadowList, shadows, client.InNamespace(c.namespace)) })
	g.Go(func() error { return c.list(ctx, &nodeList, nodes, optedIn) })
	g.Go(func() error {
		f.settings = t.loadSettings(ctx, c)
		return nil
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	f.nodes, f.shadows = nodeList.Items, shadowList.Items
	return &f, nil
}

// loadSettings reads what the deployed controller decides by.
func (t *tool) loadSettings(ctx context.Context, c *cluster) settings {
	var list appsv1.DeploymentList
	if err := c.list(ctx, &list, deployments, client.InNamespace(c.namespace),
		client.MatchingLabels{v2.ComponentLabel: controllerComponent}); err != nil {
		return settings{problem: err}
	}
	if len(list.Items) == 0 {
		return settings{problem: cli.WithHint(fmt.Errorf("no controller is deployed in namespace %s", c.namespace), elsewhere)}
	}
	leader, node := c.leader(ctx)
	s := t.settingsOf(&list.Items[0], node)
	s.leader = leader
	return s
}

// settingsOf reads the settings as a controller of that Deployment would read them on that node.
func (t *tool) settingsOf(d *appsv1.Deployment, node string) settings {
	s := settings{ready: d.Status.ReadyReplicas, wanted: 1}
	if d.Spec.Replicas != nil {
		s.wanted = *d.Spec.Replicas
	}
	env, foreign := map[string]string{}, map[string]bool{}
	for _, c := range d.Spec.Template.Spec.Containers {
		for _, e := range c.Env {
			switch from := e.ValueFrom; {
			case from == nil:
				env[e.Name] = e.Value
			case from.FieldRef == nil:
				foreign[e.Name] = true
			case from.FieldRef.FieldPath == "spec.nodeName":
				env[e.Name] = node
			case from.FieldRef.FieldPath == "metadata.namespace":
				env[e.Name] = d.Namespace
			}
		}
	}
	var err error
	if s.at, err = t.Settings(func(name string) string {
		if foreign[name] {
			s.problem = cli.WithHint(fmt.Errorf("the controller takes %s from another object, which is not looked into", name),
				"give it to the controller as a plain value")
		}
		return env[name]
	}); err != nil && s.problem == nil {
		s.problem = cli.WithHint(fmt.Errorf("the settings of the controller are wrong: %w", err),
			"correct the variable; with Helm it comes from a value or controller.extraEnv")
	}
	return s
}

// leader returns the pod that holds the controller's Lease, and its node. Both are left empty when they cannot
// be read: they only tell which node goes last.
func (c *cluster) leader(ctx context.Context) (pod, node string) {
	var lease coordinationv1.Lease
	if err := c.client.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: controllerLease}, &lease); err != nil {
		return "", ""
	}
	// The holder is named by its host, which is its pod, and a random part.
	pod, _, _ = strings.Cut(fleetview.Text(lease.Spec.HolderIdentity), "_")
	if pod == "" {
		return "", ""
	}
	var p corev1.Pod
	if err := c.client.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: pod}, &p); err != nil {
		return pod, ""
	}
	return pod, p.Spec.NodeName
}

// warnings are what a person should know beside the answer.
func (f *fleet) warnings() []string {
	var w []string
	switch s := &f.settings; {
	case s.problem != nil && errors.Is(s.problem, context.Canceled):
	case s.problem != nil:
		text := "what nodes wait for is known only as far as they report it: " + short(s.problem)
		if hint := cli.Hint(s.problem); hint != "" {
			text += "; " + hint
		}
		w = append(w, text)
	case s.wanted == 0:
		w = append(w, "the controller is scaled to 0: no node moves")
	case s.ready == 0:
		w = append(w, "no controller is ready: no node moves until one is")
	}
	return w
}

// snapshot is the fleet as the controller sees it. The settings have to be known.
func (f *fleet) snapshot(now time.Time) plan.Snapshot {
	s := f.settings.at(now)
	s.Nodes = make([]plan.Node, 0, len(f.nodes))
	for i := range f.nodes {
		s.Nodes = append(s.Nodes, fleetview.Node(&f.nodes[i]))
	}
	s.Shadows = make([]plan.Shadow, 0, len(f.shadows))
	for i := range f.shadows {
		if fleetview.NodeName(&f.shadows[i]) != "" {
			s.Shadows = append(s.Shadows, fleetview.Shadow(&f.shadows[i]))
		}
	}
	return s
}
