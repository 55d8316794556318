// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package deploy_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
)

// otherwise are the fields of the original's objects that ours have otherwise, or not, and why.
var otherwise = map[string]string{
	"CustomResourceDefinition/bottlerocketshadows.brupop.bottlerocket.aws metadata.annotations.cert-manager.io/inject-ca-from": "D1: it named a Certificate that does not exist",
	"CustomResourceDefinition/bottlerocketshadows.brupop.bottlerocket.aws spec.conversion.webhook.conversionReviewVersions":    "D2: v2 is no version of a ConversionReview",
	"ClusterRole/brupop-apiserver-role rules":                                                              "fewer rights; those in one namespace are in a Role",
	"ClusterRole/brupop-controller-role rules":                                                             "fewer rights; those in one namespace are in a Role",
	"DaemonSet/brupop-agent spec.template.spec.containers[brupop].image":                                   "our image",
	"Deployment/brupop-apiserver spec.template.spec.containers[brupop].image":                              "our image",
	"Deployment/brupop-controller-deployment spec.template.spec.containers[brupop].image":                  "our image",
	"DaemonSet/brupop-agent spec.template.spec.containers[brupop].resources.limits.cpu":                    "D34: it throttled the agent",
	"DaemonSet/brupop-agent spec.template.spec.containers[brupop].volumeMounts[/bin/apiclient]":            "the agent uses the host's socket",
	"DaemonSet/brupop-agent spec.template.spec.volumes[bottlerocket-apiclient]":                            "the agent uses the host's socket",
	"Deployment/brupop-apiserver spec.strategy.rollingUpdate.maxUnavailable":                               "D61: 33% of three are none",
	"Deployment/brupop-apiserver spec.template.spec.containers[brupop].livenessProbe.initialDelaySeconds":  "a startup probe waits as long as needed",
	"Deployment/brupop-apiserver spec.template.spec.containers[brupop].readinessProbe.initialDelaySeconds": "a startup probe waits as long as needed",
	"Deployment/brupop-apiserver spec.template.spec.containers[brupop].livenessProbe.httpGet.port":         "the name of that port",
	"Deployment/brupop-apiserver spec.template.spec.containers[brupop].readinessProbe.httpGet.port":        "the name of that port",
	"Deployment/brupop-apiserver spec.template.spec.containers[brupop].volumeMounts[/etc/brupop-tls-keys]": "it makes its own certificates, unless tls.mode says otherwise",
	"Deployment/brupop-apiserver spec.template.spec.volumes[bottlerocket-tls-keys]":                        "it makes its own certificates, unless tls.mode says otherwise",
	"Deployment/brupop-controller-deployment spec.replicas":                                                "D39: one leads, another takes over",
}

// TestEveryFieldOfTheOriginalsObjectsIsThere compares what the original leaves in a cluster with the manifest, field by
// field: names, labels, annotations, selectors, ports, commands, variables with their values, mounts, resources, where
// pods may run, and the definition with its schemas and columns.
func TestEveryFieldOfTheOriginalsObjectsIsThere(t *testing.T) {
	ours := map[string]map[string]any{}
	for _, d := range parse(t) {
		ours[d.object.GetKind()+"/"+d.object.GetName()] = d.object.Object
	}
	seen := map[string]bool{}
	for _, u := range read(t, "brupop-1.4.0-objects.yaml") {
		name := u.GetKind() + "/" + u.GetName()
		if leftOver[name] {
			continue
		}
		if ours[name] == nil {
			t.Errorf("there is no %s", name)
			continue
		}
		contains(u.Object, ours[name], "", func(path string) bool {
			return otherwise[name+" "+path] != ""
		}, func(path string, want, got any) {
			where := name + " " + path
			if otherwise[where] == "" {
				t.Errorf("%s: the original has %v, ours %v", where, want, got)
			}
			seen[where] = true
		})
	}
	for where := range otherwise {
		if !seen[where] {
			t.Errorf("%s is as in the original, or not in it: take it out of this list", where)
		}
	}
}

// contains calls missing for each value of want that got does not have in the same place, for one that is whole only as
// that. Members of a list are found by what names them.
func contains(want, got any, path string, whole func(path string) bool, missing func(path string, want, got any)) {
	if whole(path) {
		if !reflect.DeepEqual(want, got) {
			missing(path, want, got)
		}
		return
	}
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			missing(path, want, got)
			return
		}
		for key, value := range w {
			at := key
			if path != "" {
				at = path + "." + key
			}
			if _, there := g[key]; !there {
				missing(at, value, nil)
				continue
			}
			contains(value, g[key], at, whole, missing)
		}
	case []any:
		g, _ := got.([]any)
		for i, member := range w {
			id := identity(member)
			switch {
			case id == nil && i < len(g) && isMap(member):
				contains(member, g[i], fmt.Sprintf("%s[%d]", path, i), whole, missing)
			case id == nil && !isMap(member): // a set of words
				if len(w) != len(g) || !slices.ContainsFunc(g, func(o any) bool { return reflect.DeepEqual(o, member) }) {
					missing(path, want, got)
					return
				}
			default:
				at := fmt.Sprintf("%s[%v]", path, id)
				j := slices.IndexFunc(g, func(o any) bool { return id != nil && identity(o) == id })
				if j < 0 {
					missing(at, member, nil)
					continue
				}
				contains(member, g[j], at, whole, missing)
			}
		}
	default:
		if !reflect.DeepEqual(want, got) {
			missing(path, want, got)
		}
	}
}

func isMap(o any) bool { _, ok := o.(map[string]any); return ok }

// identity is what names a member of a list among the others; nil if nothing does.
func identity(o any) any {
	m, _ := o.(map[string]any)
	for _, key := range []string{"mountPath", "name", "key"} {
		if id, ok := m[key].(string); ok {
			return id
		}
	}
	return nil
}
