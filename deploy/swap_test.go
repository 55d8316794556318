// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package deploy_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/drydock-os/drydock/internal/testutil/kubetest"
)

// read returns the objects of a file of testdata.
func read(t *testing.T, name string) []*unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var all []*unstructured.Unstructured
	for r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
		text, err := r.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(text, &u.Object); err != nil {
			t.Fatalf("%s: object %d: %v", name, len(all)+1, err)
		}
		if u.Object != nil {
			all = append(all, u)
		}
	}
}

// leftOver are the objects of the original that ours does not have: a manifest that is applied over the
// original leaves them, and docs/operator/upgrade-from-brupop.md says to delete them.
var leftOver = map[string]bool{
	"ClusterRole/brupop-agent-role":                                   true,
	"ClusterRoleBinding/brupop-agent-role-binding":                    true,
	"ClusterRoleBinding/brupop-apiserver-auth-delegator-role-binding": true,
	"Issuer/selfsigned-issuer":                                        true,
	"Issuer/brupop-root-certificate-issuer":                           true,
	"Certificate/brupop-selfsigned-ca":                                true,
	"Certificate/brupop-apiserver-certificate":                        true,
	"Certificate/brupop-apiserver-client-certificate":                 true,
}

func TestWhatTheOriginalLeavesBehindIsDocumented(t *testing.T) {
	ours := map[string]bool{}
	for _, d := range parse(t) {
		ours[d.object.GetKind()+"/"+d.object.GetName()] = true
	}
	got := map[string]bool{}
	for _, file := range []string{"brupop-1.4.0-objects.yaml", "brupop-1.4.0-cert-manager.yaml"} {
		for _, u := range read(t, file) {
			if name := u.GetKind() + "/" + u.GetName(); !ours[name] {
				got[name] = true
			}
		}
	}
	if diff := cmp.Diff(leftOver, got); diff != "" {
		t.Errorf("left over (-want +got):\n%s", diff)
	}
	page, err := os.ReadFile(filepath.Join("..", "docs", "operator", "upgrade-from-brupop.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range leftOver {
		if base := filepath.Base(name); !bytes.Contains(page, []byte(base)) {
			t.Errorf("the upgrade page does not name %s", name)
		}
	}
}

// TestOurObjectsReplaceThoseOfTheOriginal installs the original's objects and applies ours over them, as an
// upgrade does: nothing immutable may differ.
func TestOurObjectsReplaceThoseOfTheOriginal(t *testing.T) {
	c := kubetest.Start(t).Client(t)
	apply := func(u *unstructured.Unstructured) {
		t.Helper()
		opts := []client.ApplyOption{client.FieldOwner("upgrade"), client.ForceOwnership}
		if err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(u), opts...); err != nil {
			t.Errorf("%s %s: %v", u.GetKind(), u.GetName(), err)
		}
	}
	// Whatever an earlier test applied is gone first; namespaces and definitions stay, they only merge.
	for _, u := range read(t, "brupop-1.4.0-objects.yaml") {
		if kind := u.GetKind(); kind != "Namespace" && kind != "CustomResourceDefinition" {
			if err := c.Delete(t.Context(), u.DeepCopy()); err != nil && !apierrors.IsNotFound(err) {
				t.Fatal(err)
			}
		}
	}
	for _, u := range read(t, "brupop-1.4.0-objects.yaml") {
		apply(u)
	}
	if t.Failed() {
		t.FailNow()
	}
	for _, d := range parse(t) {
		apply(d.object)
	}
	var agent appsv1.DaemonSet
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "brupop-agent"}, &agent); err != nil {
		t.Fatal(err)
	}
	for _, v := range agent.Spec.Template.Spec.Volumes {
		if v.Name == "bottlerocket-apiclient" {
			t.Error("the agent still mounts the host's apiclient")
		}
	}
	if !agent.Spec.Template.Spec.Containers[0].Resources.Limits.Cpu().IsZero() {
		t.Error("the agent still has the CPU limit that throttled it")
	}
}
