// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	brupopv2 "github.com/drydock-os/drydock/api/brupop/v2"
)

// fieldOwner is the lab's name in the managed fields of what it applies.
const fieldOwner = client.FieldOwner("drydock-lab")

// The workload that must stay up while its nodes reboot.
const (
	workloadNamespace = "default"
	workloadName      = "web"
	workloadImage     = "registry.lab/web:1" // no lab maps it: its pods are simulated
	workloadGrace     = int64(1)             // seconds between the eviction of a pod and its end
)

// controllerDeployment runs what starts updates.
const controllerDeployment = "brupop-controller-deployment"

// crdLimit bounds the wait for the API server to serve a new kind.
const crdLimit = 30 * time.Second

// manifest is a list of objects in the order in which they are applied.
type manifest []*unstructured.Unstructured

// parseManifest reads a multi-document YAML file.
func parseManifest(data []byte) (manifest, error) {
	var m manifest
	docs := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		var o unstructured.Unstructured
		err := docs.Decode(&o)
		if errors.Is(err, io.EOF) {
			return m, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading document %d of the manifest: %w", len(m)+1, err)
		}
		if len(o.Object) > 0 {
			m = append(m, &o)
		}
	}
}

// setEnv sets a variable in every container of the workload that has it already, as a person would
// with a Helm value.
func (m manifest) setEnv(kind, name, variable, value string) error {
	for _, o := range m {
		if o.GetKind() != kind || o.GetName() != name {
			continue
		}
		containers, _, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
		if err != nil {
			return fmt.Errorf("reading containers of %s %s: %w", kind, name, err)
		}
		for _, c := range containers {
			env, _ := c.(map[string]any)["env"].([]any)
			for _, e := range env {
				if entry, ok := e.(map[string]any); ok && entry["name"] == variable {
					entry["value"] = value
					return unstructured.SetNestedSlice(o.Object, containers, "spec", "template", "spec", "containers")
				}
			}
		}
	}
	return fmt.Errorf("the manifest has no variable %s in %s %s", variable, kind, name)
}

// hold sets the replicas of a Deployment to 0, and returns how many it was to have.
func (m manifest) hold(deployment string) (int64, error) {
	for _, o := range m {
		if o.GetKind() != "Deployment" || o.GetName() != deployment {
			continue
		}
		n, found, err := unstructured.NestedInt64(o.Object, "spec", "replicas")
		if err != nil {
			return 0, fmt.Errorf("reading replicas of Deployment %s: %w", deployment, err)
		}
		if !found {
			n = 1 // the API's default
		}
		return n, unstructured.SetNestedField(o.Object, int64(0), "spec", "replicas")
	}
	return 0, fmt.Errorf("the manifest has no Deployment %s", deployment)
}

// scale sets the replicas of a Deployment of the operator.
func scale(ctx context.Context, c client.Client, deployment string, replicas int64) error {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: brupopv2.DefaultNamespace, Name: deployment}}
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	if err := c.Patch(ctx, d, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("scaling Deployment %s to %d: %w", deployment, replicas, err)
	}
	return nil
}

// images returns the image references of all pods in the manifest.
func (m manifest) images() []string {
	var images []string
	for _, o := range m {
		containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
		for _, c := range containers {
			if image, ok := c.(map[string]any)["image"].(string); ok {
				images = append(images, image)
			}
		}
	}
	return images
}

// apply applies the objects by server-side apply, definitions of kinds first and established before
// anything that may need them.
func (m manifest) apply(ctx context.Context, cfg *rest.Config) error {
	var definitions, others manifest
	for _, o := range m {
		if o.GetKind() == "CustomResourceDefinition" {
			definitions = append(definitions, o)
		} else {
			others = append(others, o)
		}
	}
	for _, part := range []manifest{definitions, others} {
		// A new client for each part: it learns the kinds that are served now.
		c, err := client.NewWithWatch(cfg, client.Options{})
		if err != nil {
			return fmt.Errorf("making a client to apply the manifest: %w", err)
		}
		for _, o := range part {
			if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), fieldOwner); err != nil {
				return fmt.Errorf("applying %s %s: %w", o.GetKind(), o.GetName(), err)
			}
		}
		for _, o := range part {
			if o.GetKind() == "CustomResourceDefinition" {
				if err := waitEstablished(ctx, c, o); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// waitEstablished watches a definition until its kind is served.
func waitEstablished(ctx context.Context, c client.WithWatch, o *unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeoutCause(ctx, crdLimit,
		fmt.Errorf("the API server did not serve %s within %v", o.GetName(), crdLimit))
	defer cancel()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(o.GroupVersionKind())
	w, err := c.Watch(ctx, list, client.MatchingFields{"metadata.name": o.GetName()})
	if err != nil {
		return fmt.Errorf("watching %s: %w", o.GetName(), err)
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e, ok := <-w.ResultChan():
			if !ok {
				return fmt.Errorf("waiting for %s: the watch ended", o.GetName())
			}
			crd, ok := e.Object.(*unstructured.Unstructured)
			if !ok {
				continue
			}
			conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
			for _, c := range conditions {
				if c, ok := c.(map[string]any); ok && c["type"] == "Established" && c["status"] == "True" {
					return nil
				}
			}
		}
	}
}

// concurrencyValue is how the operator's environment spells the limit.
func concurrencyValue(n int) string {
	if n == Unlimited {
		return "unlimited"
	}
	return strconv.Itoa(n)
}

// budget is how many pods of the workload may be missing at a time: one, or a tenth where many nodes move at once.
func budget(replicas int, simulated bool) int {
	if simulated {
		return max(1, replicas/10)
	}
	return 1
}

// deployWorkload creates the workload and its budget.
func deployWorkload(ctx context.Context, c client.Client, replicas int, simulated bool) error {
	labels := map[string]string{"app": workloadName}
	one, n, grace := intstr.FromInt(budget(replicas, simulated)), int32(replicas), workloadGrace
	pod := corev1.PodSpec{
		TerminationGracePeriodSeconds: &grace,
		Containers:                    []corev1.Container{{Name: workloadName, Image: workloadImage}},
	}
	if simulated {
		placeOnCrowd(&pod)
	}
	for _, o := range []client.Object{
		&policyv1.PodDisruptionBudget{
			ObjectMeta: metav1.ObjectMeta{Namespace: workloadNamespace, Name: workloadName},
			Spec: policyv1.PodDisruptionBudgetSpec{
				MaxUnavailable: &one, Selector: &metav1.LabelSelector{MatchLabels: labels},
			},
		},
		&appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: workloadNamespace, Name: workloadName},
			Spec: appsv1.DeploymentSpec{
				Replicas: &n,
				Selector: &metav1.LabelSelector{MatchLabels: labels},
				Template: corev1.PodTemplateSpec{
					ObjectMeta: metav1.ObjectMeta{Labels: labels},
					Spec:       pod,
				},
			},
		},
	} {
		if err := c.Create(ctx, o); err != nil {
			return fmt.Errorf("deploying the workload: %w", err)
		}
	}
	return nil
}

// optIn labels the nodes, which is what brings the agents onto them.
func optIn(ctx context.Context, c client.Client, nodes []string) error {
	patch := []byte(`{"metadata":{"labels":{"` + brupopv2.UpdaterInterfaceLabel + `":"` + brupopv2.UpdaterInterfaceVersion + `"}}}`)
	for _, name := range nodes {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := c.Patch(ctx, node, client.RawPatch(types.MergePatchType, patch)); err != nil {
			return fmt.Errorf("labelling node %s: %w", name, err)
		}
	}
	return nil
}
