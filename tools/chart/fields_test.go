// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// kinds are those of Kubernetes itself; of others we know no types.
var kinds = map[string]func() any{
	"ConfigMap":                func() any { return new(corev1.ConfigMap) },
	"ClusterRole":              func() any { return new(rbacv1.ClusterRole) },
	"ClusterRoleBinding":       func() any { return new(rbacv1.ClusterRoleBinding) },
	"CustomResourceDefinition": func() any { return new(apiextensionsv1.CustomResourceDefinition) },
	"DaemonSet":                func() any { return new(appsv1.DaemonSet) },
	"Deployment":               func() any { return new(appsv1.Deployment) },
	"Job":                      func() any { return new(batchv1.Job) },
	"PodDisruptionBudget":      func() any { return new(policyv1.PodDisruptionBudget) },
	"PriorityClass":            func() any { return new(schedulingv1.PriorityClass) },
	"Role":                     func() any { return new(rbacv1.Role) },
	"RoleBinding":              func() any { return new(rbacv1.RoleBinding) },
	"Service":                  func() any { return new(corev1.Service) },
	"ServiceAccount":           func() any { return new(corev1.ServiceAccount) },
}

// TestKubernetesKnowsEveryField decodes what every branch of the templates makes: a field at the wrong place or
// with a slip of the pen would be dropped by a cluster without a word.
func TestKubernetesKnowsEveryField(t *testing.T) {
	original, err := os.ReadFile("testdata/values-1.4.0.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range map[string]string{
		"defaults":     ``,
		"original":     string(original),
		"cert-manager": `tls: {mode: cert-manager}`,
		"secrets":      `tls: {mode: secret}`,
		"everything": `{podAnnotations: {a: b}, podLabels: {c: d}, update_window_start: "1:0:0", scheduler_window_duration: 4h,
prometheus: {controller: {serviceMonitor: {enabled: true}}, apiserver: {podMonitor: {enabled: true}}, rules: {enabled: true}, dashboard: {enabled: true}},
controller: {extraEnv: [{name: A, value: b}]}, apiserver: {extraEnv: [{name: A, value: b}]}, agent: {extraEnv: [{name: A, value: b}]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			for id, object := range mustRender(t, values) {
				group, _, _ := strings.Cut(object["apiVersion"].(string), "/")
				kind := kinds[object["kind"].(string)]
				if kind == nil {
					if !strings.HasSuffix(group, ".coreos.com") && group != "cert-manager.io" {
						t.Errorf("%s is of an unknown kind", id)
					}
					continue
				}
				text, err := yaml.Marshal(object)
				if err != nil {
					t.Fatal(err)
				}
				if err := yaml.UnmarshalStrict(text, kind()); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			}
		})
	}
}

func TestChartsAreOfTheVersionOfTheTree(t *testing.T) {
	version, err := os.ReadFile(filepath.Join("..", "..", "VERSION"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{operator, definition} {
		c, err := loader.LoadDir(filepath.Join("..", "..", dir))
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.TrimSpace(string(version)); c.Metadata.Version != want || c.Metadata.AppVersion != want {
			t.Errorf("%s is version %s for %s, want %s", dir, c.Metadata.Version, c.Metadata.AppVersion, want)
		}
	}
}
