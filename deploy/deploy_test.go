// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package deploy_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/drydock-os/drydock/deploy"
	"github.com/drydock-os/drydock/internal/testutil/kubetest"
)

const namespace = "brupop-bottlerocket-aws"

// document is one object of the manifest, as text.
type document struct {
	object *unstructured.Unstructured
	text   []byte
}

// parse splits the manifest into its objects.
func parse(t *testing.T) []document {
	t.Helper()
	var docs []document
	r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(deploy.Manifest)))
	for {
		text, err := r.Read()
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(text, &u.Object); err != nil {
			t.Fatalf("document %d: %v", len(docs)+1, err)
		}
		if u.Object != nil {
			docs = append(docs, document{u, text})
		}
	}
}

// all returns every object of a kind, decoded strictly: a field that Kubernetes does not know is an error.
func all[T any](t *testing.T, kind string) []T {
	t.Helper()
	var found []T
	for _, d := range parse(t) {
		if d.object.GetKind() != kind {
			continue
		}
		var o T
		if err := yaml.UnmarshalStrict(d.text, &o); err != nil {
			t.Fatalf("%s %s: %v", kind, d.object.GetName(), err)
		}
		found = append(found, o)
	}
	if len(found) == 0 {
		t.Fatalf("the manifest has no %s", kind)
	}
	return found
}

func TestNamesOfTheContract(t *testing.T) {
	got := map[string]bool{}
	for _, d := range parse(t) {
		name := d.object.GetKind() + "/" + d.object.GetName()
		if got[name] {
			t.Errorf("%s is there twice", name)
		}
		got[name] = true
		if ns := d.object.GetNamespace(); ns != "" && ns != namespace {
			t.Errorf("%s is in namespace %q", name, ns)
		}
	}
	for _, want := range []string{
		"Namespace/" + namespace,
		"CustomResourceDefinition/bottlerocketshadows.brupop.bottlerocket.aws",
		"DaemonSet/brupop-agent",
		"Deployment/brupop-apiserver",
		"Deployment/brupop-controller-deployment",
		"Service/brupop-apiserver",
		"Service/brupop-controller-server",
		"ServiceAccount/brupop-agent-service-account",
		"ServiceAccount/brupop-apiserver-service-account",
		"ServiceAccount/brupop-controller-service-account",
		"ClusterRole/brupop-apiserver-role",
		"ClusterRole/brupop-controller-role",
		"ClusterRoleBinding/brupop-apiserver-role-binding",
		"ClusterRoleBinding/brupop-controller-role-binding",
		"PriorityClass/brupop-controller-high-priority",
	} {
		if !got[want] {
			t.Errorf("the manifest has no %s", want)
		}
	}
	if got["ServiceMonitor/brupop-controller"] {
		t.Error("there is a ServiceMonitor, whose kind most clusters do not have")
	}
}

func TestSelectorsAndLabels(t *testing.T) {
	const key = "brupop.bottlerocket.aws/component"
	check := func(name, component string, selector, pod, object map[string]string) {
		t.Helper()
		want := map[string]string{key: component}
		if diff := cmp.Diff(want, selector); diff != "" {
			t.Errorf("%s: selector (-want +got):\n%s", name, diff)
		}
		if pod != nil && pod[key] != component {
			t.Errorf("%s: pods have the labels %v", name, pod)
		}
		for k, v := range map[string]string{key: component, "app.kubernetes.io/component": component, "app.kubernetes.io/managed-by": "brupop", "app.kubernetes.io/part-of": "brupop"} {
			if object[k] != v {
				t.Errorf("%s: label %s is %q, want %q", name, k, object[k], v)
			}
		}
	}
	components := map[string]string{
		"brupop-apiserver": "apiserver", "brupop-controller-deployment": "brupop-controller", "brupop-controller-server": "brupop-controller",
	}
	for _, d := range all[appsv1.Deployment](t, "Deployment") {
		check(d.Name, components[d.Name], d.Spec.Selector.MatchLabels, d.Spec.Template.Labels, d.Labels)
	}
	for _, d := range all[appsv1.DaemonSet](t, "DaemonSet") {
		check(d.Name, "agent", d.Spec.Selector.MatchLabels, d.Spec.Template.Labels, d.Labels)
	}
	for _, s := range all[corev1.Service](t, "Service") {
		check(s.Name, components[s.Name], s.Spec.Selector, nil, s.Labels)
	}
	for _, p := range all[policyv1.PodDisruptionBudget](t, "PodDisruptionBudget") {
		if p.Spec.Selector.MatchLabels[key] == "" {
			t.Errorf("budget %s selects %v", p.Name, p.Spec.Selector)
		}
	}
	if p := all[schedulingv1.PriorityClass](t, "PriorityClass")[0]; p.Value != 1000000 || *p.PreemptionPolicy != corev1.PreemptNever {
		t.Errorf("priority class: %+v", p)
	}
}

func TestPortsOfTheContract(t *testing.T) {
	for _, s := range all[corev1.Service](t, "Service") {
		p := s.Spec.Ports[0]
		got := []any{p.Name, p.Port, p.TargetPort.IntVal}
		want := map[string][]any{"brupop-apiserver": {"", int32(443), int32(8443)}, "brupop-controller-server": {"main", int32(80), int32(8080)}}[s.Name]
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.Name, diff)
		}
	}
}

// pods returns the pod templates by the name of their workload.
func pods(t *testing.T) map[string]corev1.PodSpec {
	t.Helper()
	specs := map[string]corev1.PodSpec{}
	for _, d := range all[appsv1.Deployment](t, "Deployment") {
		specs[d.Name] = d.Spec.Template.Spec
	}
	for _, d := range all[appsv1.DaemonSet](t, "DaemonSet") {
		specs[d.Name] = d.Spec.Template.Spec
	}
	return specs
}

func TestPodsOfTheContract(t *testing.T) {
	logging := []string{"LOGGING_FORMATTER", "LOGGING_ANSI_ENABLED", "TRACING_FILTER_DIRECTIVE"}
	tests := map[string]struct {
		command string
		account string
		env     []string
	}{
		"brupop-agent":                 {"./agent", "brupop-agent-service-account", append(logging, "MY_NODE_NAME", "APISERVER_SERVICE_PORT", "EXCLUDE_FROM_LB_WAIT_TIME_IN_SEC")},
		"brupop-apiserver":             {"./apiserver", "brupop-apiserver-service-account", append(logging, "APISERVER_INTERNAL_PORT")},
		"brupop-controller-deployment": {"./controller", "brupop-controller-service-account", append(logging, "MY_NODE_NAME", "MAX_CONCURRENT_UPDATE", "SCHEDULER_CRON_EXPRESSION")},
	}
	specs := pods(t)
	for name, want := range tests {
		spec := specs[name]
		if len(spec.Containers) != 1 || spec.Containers[0].Name != "brupop" || spec.ServiceAccountName != want.account {
			t.Fatalf("%s: containers %v of account %q", name, spec.Containers, spec.ServiceAccountName)
		}
		c := spec.Containers[0]
		if diff := cmp.Diff([]string{want.command}, c.Command); diff != "" {
			t.Errorf("%s: command (-want +got):\n%s", name, diff)
		}
		for _, v := range want.env {
			if !slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == v }) {
				t.Errorf("%s: no variable %s", name, v)
			}
		}
		if !c.Resources.Limits.Cpu().IsZero() {
			t.Errorf("%s: has a CPU limit, which throttles it", name)
		}
	}
}

func TestD63PodsAreHardened(t *testing.T) {
	for name, spec := range pods(t) {
		s := spec.Containers[0].SecurityContext
		if s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
			s.Privileged != nil || len(s.Capabilities.Add) != 0 || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("%s: container security %+v", name, s)
		}
		p := spec.SecurityContext
		if p.SeccompProfile == nil || p.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: no seccomp profile", name)
		}
		if spec.HostNetwork || spec.HostPID || spec.HostIPC {
			t.Errorf("%s: shares a namespace with the host", name)
		}
		if name == "brupop-agent" {
			if s.SELinuxOptions == nil || s.SELinuxOptions.Type != "super_t" {
				t.Errorf("%s: SELinux options %+v", name, s.SELinuxOptions)
			}
			continue
		}
		if p.RunAsNonRoot == nil || !*p.RunAsNonRoot {
			t.Errorf("%s: may run as root", name)
		}
		if len(spec.Volumes) != 1 || spec.Volumes[0].ConfigMap == nil || !*spec.Volumes[0].ConfigMap.Optional {
			t.Errorf("%s: has other volumes than the levels of its log: %v", name, spec.Volumes)
		}
	}
}

func TestMountsOfTheAgent(t *testing.T) {
	spec := pods(t)["brupop-agent"]
	got := map[string]string{}
	for _, m := range spec.Containers[0].VolumeMounts {
		got[m.MountPath] = m.Name
	}
	want := map[string]string{
		"/run/api.sock":            "bottlerocket-api-socket",
		"/var/run/secrets/tokens/": "bottlerocket-agent-service-account-token",
		"/etc/brupop-tls-keys":     "bottlerocket-tls-keys",
		"/etc/drydock/logging":     "log-levels",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
	for _, v := range spec.Volumes {
		switch {
		case v.HostPath != nil && (v.HostPath.Path != "/run/api.sock" || *v.HostPath.Type != corev1.HostPathSocket):
			t.Errorf("host path %+v, want nothing but the socket", v.HostPath)
		case v.Projected != nil:
			token := v.Projected.Sources[0].ServiceAccountToken
			if token.Audience != "brupop-apiserver" || token.Path != "bottlerocket-agent-service-account-token" {
				t.Errorf("token %+v", token)
			}
		case v.Secret != nil && v.Secret.SecretName != "brupop-apiserver-client-certificate":
			t.Errorf("secret %q", v.Secret.SecretName)
		}
	}
}

func TestRightsAreNamedOneByOne(t *testing.T) {
	rules := map[string][]rbacv1.PolicyRule{}
	for _, r := range all[rbacv1.ClusterRole](t, "ClusterRole") {
		rules["ClusterRole "+r.Name] = r.Rules
	}
	for _, r := range all[rbacv1.Role](t, "Role") {
		rules["Role "+r.Name] = r.Rules
	}
	for name, list := range rules {
		for _, rule := range list {
			for _, words := range [][]string{rule.APIGroups, rule.Resources, rule.Verbs} {
				if len(words) == 0 || slices.ContainsFunc(words, func(s string) bool { return strings.Contains(s, "*") }) {
					t.Errorf("%s: %+v is not named one by one", name, rule)
				}
			}
			if slices.Contains(rule.Resources, "secrets") && !slices.Equal(rule.Verbs, []string{"create"}) && len(rule.ResourceNames) == 0 {
				t.Errorf("%s reads or changes any secret: %+v", name, rule)
			}
			if strings.HasPrefix(name, "ClusterRole") && slices.Contains(rule.Resources, "secrets") {
				t.Errorf("%s has rights on secrets of all namespaces", name)
			}
			if strings.HasSuffix(name, "controller-role") && slices.ContainsFunc(rule.Resources, func(r string) bool { return r == "nodes" || r == "bottlerocketshadows/status" }) &&
				slices.ContainsFunc(rule.Verbs, func(v string) bool { return v != "get" && v != "list" && v != "watch" }) {
				t.Errorf("%s may change what it only reads: %+v", name, rule)
			}
		}
	}
}

func TestTheAgentHasNoKubernetesRights(t *testing.T) {
	const agent = "brupop-agent-service-account"
	var subjects []rbacv1.Subject
	for _, b := range all[rbacv1.ClusterRoleBinding](t, "ClusterRoleBinding") {
		subjects = append(subjects, b.Subjects...)
	}
	for _, b := range all[rbacv1.RoleBinding](t, "RoleBinding") {
		subjects = append(subjects, b.Subjects...)
	}
	for _, s := range subjects {
		if s.Name == agent || s.Kind != rbacv1.ServiceAccountKind {
			t.Errorf("a role is bound to %+v", s)
		}
	}
	spec := pods(t)["brupop-agent"]
	if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
		t.Error("the agent's pods get a token for the Kubernetes API")
	}
}

func TestD61TheDefinitionOutlivesTheRelease(t *testing.T) {
	crd := all[apiextensionsv1.CustomResourceDefinition](t, "CustomResourceDefinition")[0]
	if crd.Annotations["helm.sh/resource-policy"] != "keep" {
		t.Error("uninstalling the chart deletes the state of all nodes")
	}
}

// TestAnAPIServerTakesTheManifest creates every object for real, with strict checking of fields.
func TestAnAPIServerTakesTheManifest(t *testing.T) {
	c := kubetest.Start(t).Client(t)
	for _, d := range parse(t) {
		u := d.object
		opts := []client.ApplyOption{client.FieldOwner("test"), client.ForceOwnership}
		if err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(u), opts...); err != nil {
			t.Errorf("%s %s: %v", u.GetKind(), u.GetName(), err)
		}
	}
}
