// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package v2_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
)

// versionPattern is the pattern that semver.org suggests, as the original definition has it.
const versionPattern = `^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$`

var states = []string{"Idle", "StagedAndPerformedUpdate", "RebootedIntoUpdate", "MonitoringUpdate", "ErrorReset"}

// definition reads the generated CustomResourceDefinition from the chart.
func definition(t *testing.T) apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "deploy", "charts", "bottlerocket-update-operator", "files",
		"brupop.bottlerocket.aws_bottlerocketshadows.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(data, &crd); err != nil {
		t.Fatal(err)
	}
	return crd
}

func TestIdentityOfTheDefinition(t *testing.T) {
	crd := definition(t)
	want := apiextensionsv1.CustomResourceDefinitionNames{
		Plural: "bottlerocketshadows", Singular: "bottlerocketshadow", Kind: "BottlerocketShadow", ListKind: "BottlerocketShadowList",
		ShortNames: []string{"brs"}, // and no categories: an empty list made tools report drift
	}
	if diff := cmp.Diff(want, crd.Spec.Names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if crd.Name != "bottlerocketshadows.brupop.bottlerocket.aws" || crd.Spec.Group != v2.GroupVersion.Group || crd.Spec.Scope != apiextensionsv1.NamespaceScoped {
		t.Errorf("name %q, group %q, scope %q", crd.Name, crd.Spec.Group, crd.Spec.Scope)
	}
	if n := len(crd.Spec.Versions); n != 2 {
		t.Fatalf("%d versions, want v1 and v2", n)
	}
	for _, name := range []string{"v1", "v2"} {
		v := version(t, name)
		if !v.Served || v.Storage != (name == "v2") || v.Subresources == nil || v.Subresources.Status == nil {
			t.Errorf("version %q served %v stored %v with subresources %v", v.Name, v.Served, v.Storage, v.Subresources)
		}
	}
}

// version returns one version of the definition.
func version(t *testing.T, name string) apiextensionsv1.CustomResourceDefinitionVersion {
	t.Helper()
	for _, v := range definition(t).Spec.Versions {
		if v.Name == name {
			return v
		}
	}
	t.Fatalf("the definition has no version %s", name)
	return apiextensionsv1.CustomResourceDefinitionVersion{}
}

func TestColumnsOfTheDefinition(t *testing.T) {
	want := []apiextensionsv1.CustomResourceColumnDefinition{
		{Name: "State", Type: "string", JSONPath: ".status.current_state"},
		{Name: "Version", Type: "string", JSONPath: ".status.current_version"},
		{Name: "Target State", Type: "string", JSONPath: ".spec.state"},
		{Name: "Target Version", Type: "string", JSONPath: ".spec.version"},
		{Name: "Crash Count", Type: "string", JSONPath: ".status.crash_count"},
	}
	if diff := cmp.Diff(want, version(t, "v2").AdditionalPrinterColumns); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[:4], version(t, "v1").AdditionalPrinterColumns); diff != "" {
		t.Errorf("columns of v1 (-want +got):\n%s", diff)
	}
}

// field is what the contract fixes of one field.
type field struct {
	Type     string
	Nullable bool
	Pattern  string
	Enum     []string
	Format   string
	Minimum  float64
}

func fieldsOf(t *testing.T, schema apiextensionsv1.JSONSchemaProps) map[string]field {
	t.Helper()
	fields := map[string]field{}
	for name, p := range schema.Properties {
		f := field{Type: p.Type, Nullable: p.Nullable, Pattern: p.Pattern, Format: p.Format, Minimum: -1}
		if p.Minimum != nil {
			f.Minimum = *p.Minimum
		}
		for _, e := range p.Enum {
			var s string
			if err := yaml.Unmarshal(e.Raw, &s); err != nil {
				t.Fatal(err)
			}
			f.Enum = append(f.Enum, s)
		}
		fields[name] = f
	}
	return fields
}

func TestFieldsOfTheDefinition(t *testing.T) {
	root := version(t, "v2").Schema.OpenAPIV3Schema
	spec, status := root.Properties["spec"], root.Properties["status"]
	if root.Title != "BottlerocketShadow" || root.Type != "object" || spec.Nullable || !status.Nullable {
		t.Errorf("title %q, type %q, spec nullable %v, status nullable %v", root.Title, root.Type, spec.Nullable, status.Nullable)
	}
	for name, got := range map[string][]string{"root": root.Required, "spec": spec.Required, "status": status.Required} {
		want := map[string][]string{
			"root":   {"spec"},
			"spec":   {"state"},
			"status": {"crash_count", "current_state", "current_version", "target_version"},
		}[name]
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("required of %s (-want +got):\n%s", name, diff)
		}
	}
	text := field{Type: "string", Minimum: -1}
	nullText := field{Type: "string", Nullable: true, Minimum: -1}
	state := field{Type: "string", Enum: states, Minimum: -1}
	semver := field{Type: "string", Pattern: versionPattern, Minimum: -1}
	nullVersion := field{Type: "string", Pattern: versionPattern, Nullable: true, Minimum: -1}
	wantSpec := map[string]field{"state": state, "state_transition_timestamp": nullText, "version": nullVersion}
	if diff := cmp.Diff(wantSpec, fieldsOf(t, spec)); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	wantStatus := map[string]field{
		"current_version": semver, "target_version": semver, "current_state": state,
		"crash_count":                        {Type: "integer", Format: "uint32"},
		"state_transition_failure_timestamp": nullText,
		"message":                            text, "last_error": text, "slot": text, "boot_id": text, // additions
		"conditions": {Type: "array", Minimum: -1}, "drain": {Type: "object", Minimum: -1}, "update_check": {Type: "object", Minimum: -1},
		"held_update": {Type: "object", Minimum: -1},
	}
	if diff := cmp.Diff(wantStatus, fieldsOf(t, status)); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestFieldsOfV1(t *testing.T) {
	root := version(t, "v1").Schema.OpenAPIV3Schema
	spec, status := root.Properties["spec"], root.Properties["status"]
	state := field{Type: "string", Enum: []string{"Idle", "StagedUpdate", "PerformedUpdate", "RebootedIntoUpdate", "MonitoringUpdate"}, Minimum: -1}
	semver := field{Type: "string", Pattern: versionPattern, Minimum: -1}
	wantSpec := map[string]field{
		"state": state, "state_transition_timestamp": {Type: "string", Nullable: true, Minimum: -1},
		"version": {Type: "string", Pattern: versionPattern, Nullable: true, Minimum: -1},
	}
	if diff := cmp.Diff(wantSpec, fieldsOf(t, spec)); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	wantStatus := map[string]field{"current_version": semver, "target_version": semver, "current_state": state}
	if diff := cmp.Diff(wantStatus, fieldsOf(t, status)); diff != "" || !status.Nullable {
		t.Errorf("status, nullable %v (-want +got):\n%s", status.Nullable, diff)
	}
}

func TestThePatternTakesVersions(t *testing.T) {
	re := regexp.MustCompile(versionPattern)
	for s, want := range map[string]bool{"1.20.0": true, "1.21.0-rc.1+build": true, "v1.20.0": false, "1.20": false, "": false} {
		if re.MatchString(s) != want {
			t.Errorf("%q: matches %v, want %v", s, !want, want)
		}
	}
}
