// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	kschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
)

// cluster is what templates see of a cluster: its definitions.
type cluster struct{ definitions []runtime.Object }

func (c cluster) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	gv, err := kschema.ParseGroupVersion(apiVersion)
	if err != nil {
		return nil, false, err
	}
	resource := gv.WithResource(strings.ToLower(kind) + "s")
	return fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[kschema.GroupVersionResource]string{resource: kind + "List"},
		c.definitions...).Resource(resource), false, nil
}

// live is the definition as a release of helm installed it.
func live(release string) runtime.Object {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "bottlerocketshadows.brupop.bottlerocket.aws", "annotations": map[string]any{
			"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": "ops"}},
	}}
}

func TestTheDefinitionOfAnotherReleaseIsLeftAlone(t *testing.T) {
	for name, test := range map[string]struct {
		live     []runtime.Object
		values   map[string]any
		rendered bool
		noted    bool
	}{
		"new cluster":      {nil, nil, true, false},
		"our own":          {[]runtime.Object{live("operator")}, nil, true, false},
		"of another":       {[]runtime.Object{live("brupop-crd")}, nil, false, true},
		"adopted":          {[]runtime.Object{live("brupop-crd")}, map[string]any{"crds": map[string]any{"adopt": true}}, true, false},
		"not to install":   {nil, map[string]any{"crds": map[string]any{"install": false}}, false, false},
		"another's, known": {[]runtime.Object{live("brupop-crd")}, map[string]any{"crds": map[string]any{"install": false}}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := loader.LoadDir(filepath.Join("..", "..", operator))
			if err != nil {
				t.Fatal(err)
			}
			values, err := chartutil.ToRenderValues(c, test.values, chartutil.ReleaseOptions{Name: "operator", Namespace: "ops"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			files, err := engine.RenderWithClientProvider(c, values, cluster{test.live})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(files[c.Name()+"/templates/crd.yaml"], "CustomResourceDefinition"); got != test.rendered {
				t.Errorf("rendered: %v", got)
			}
			notes := files[c.Name()+"/templates/NOTES.txt"]
			if got := strings.Contains(notes, "belongs to the release ops/brupop-crd"); got != test.noted {
				t.Errorf("noted: %v in\n%s", got, notes)
			}
		})
	}
}

func TestReusedValuesOfTheOriginalGetAHint(t *testing.T) {
	c, err := loader.LoadDir(filepath.Join("..", "..", operator))
	if err != nil {
		t.Fatal(err)
	}
	old, err := chartutil.ReadValuesFile("testdata/values-1.4.0.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c.Values = old // as helm does with --reuse-values
	values, err := chartutil.ToRenderValues(c, nil, chartutil.ReleaseOptions{Name: "operator", Namespace: "ops"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = engine.Render(c, values); err == nil || !strings.Contains(err.Error(), "--reset-then-reuse-values") {
		t.Errorf("error %v", err)
	}
}
