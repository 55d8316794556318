// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/program"
)

func (t *tool) versionCommand() *cobra.Command {
	var out format
	var clientOnly bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program and, if a cluster answers, of what is deployed",
		Long: `Print the version of this program and, if a cluster answers, of what is deployed.

A cluster that does not answer, or that has no operator, is no error: what is known is printed.`,
		Args: program.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report := versionReport{Client: t.Version, Go: runtime.Version()}
			if !clientOnly {
				ctx, cancel := context.WithTimeoutCause(cmd.Context(), versionTimeout, fmt.Errorf("no complete answer within %v", versionTimeout))
				defer cancel()
				t.askCluster(ctx, &report)
			}
			if out.data() {
				return out.encode(t.Stdout, &report)
			}
			return report.print(t)
		},
	}
	out.addFlag(cmd)
	cmd.Flags().BoolVar(&clientOnly, "client", false, "leave the cluster alone")
	return cmd
}

// versionReport is what version prints for programs.
type versionReport struct {
	Client     string      `json:"client"`
	Go         string      `json:"go"`
	Kubernetes string      `json:"kubernetes,omitempty"`
	Components []component `json:"components,omitempty"`

	// absent names the namespace that was looked into in vain.
	absent string
}

// component is a part of the operator in the cluster.
type component struct {
	Name   string `json:"name"`
	Image  string `json:"image"`
	Ready  int32  `json:"ready"`
	Wanted int32  `json:"wanted"`
}

// askCluster adds what the cluster says, and warns of what it does not.
func (t *tool) askCluster(ctx context.Context, report *versionReport) {
	c, err := t.connect()
	if err == nil {
		report.Kubernetes, err = c.serverVersion(ctx)
		err = c.explain(err, "get", "the cluster's version")
	}
	if err != nil {
		t.warn("only this program's version is known: %s", short(err))
		return
	}
	switch report.Components, err = c.components(ctx); {
	case err != nil:
		t.warn("what is deployed is not known: %s", short(err))
	case len(report.Components) == 0:
		report.absent = c.namespace
	}
}

// components reads what is deployed of the operator.
func (c *cluster) components(ctx context.Context) ([]component, error) {
	var all []component
	var deployed appsv1.DeploymentList
	if err := c.list(ctx, &deployed, deployments, client.InNamespace(c.namespace), client.HasLabels{v2.ComponentLabel}); err != nil {
		return nil, err
	}
	for i := range deployed.Items {
		d := &deployed.Items[i]
		wanted := int32(1)
		if d.Spec.Replicas != nil {
			wanted = *d.Spec.Replicas
		}
		all = append(all, component{d.Labels[v2.ComponentLabel], image(&d.Spec.Template.Spec), d.Status.ReadyReplicas, wanted})
	}
	var onNodes appsv1.DaemonSetList
	if err := c.list(ctx, &onNodes, daemonSets, client.InNamespace(c.namespace), client.HasLabels{v2.ComponentLabel}); err != nil {
		return nil, err
	}
	for i := range onNodes.Items {
		d := &onNodes.Items[i]
		all = append(all, component{d.Labels[v2.ComponentLabel], image(&d.Spec.Template.Spec), d.Status.NumberReady, d.Status.DesiredNumberScheduled})
	}
	return all, nil
}

func image(pod *corev1.PodSpec) string {
	if len(pod.Containers) == 0 {
		return ""
	}
	return pod.Containers[0].Image
}

func (r *versionReport) print(t *tool) error {
	if _, err := io.WriteString(t.Stdout, "drydock "+cli.Version(r.Client)+"\n"); err != nil {
		return err
	}
	var g grid
	if r.Kubernetes != "" {
		g.add(cell{text: "kubernetes"}, cell{text: r.Kubernetes})
	}
	for _, c := range r.Components {
		ready := cell{text: fmt.Sprintf("%d of %d ready", c.Ready, c.Wanted)}
		if c.Ready < c.Wanted {
			ready.colour = red
		}
		g.add(cell{text: c.Name}, cell{text: c.Image}, ready)
	}
	if r.absent != "" {
		g.add(cell{text: "operator"}, cell{text: "not found in namespace " + r.absent})
	}
	return g.write(t.Stdout, 0, t.screen().colour)
}
