// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"bytes"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// listRights appends every right that the roles of a chart grant, one per line: what a change of it does to the
// rights of a cluster shows in review.
func listRights(out *bytes.Buffer, dir, namespace string, values map[string]any) error {
	var rendered bytes.Buffer
	if err := renderWithHooks(&rendered, dir, namespace, values); err != nil {
		return err
	}
	var objects []map[string]any
	for text := range strings.SplitSeq(rendered.String(), "\n---\n") {
		var o map[string]any
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			return fmt.Errorf("reading a rendered object: %w", err)
		}
		objects = append(objects, o)
	}
	for _, line := range rightsOf(objects) {
		fmt.Fprintln(out, line)
	}
	return nil
}

// rightsOf writes each rule of each role as one line.
func rightsOf(objects []map[string]any) []string {
	var lines []string
	for _, o := range objects {
		kind, _ := o["kind"].(string)
		if kind != "ClusterRole" && kind != "Role" {
			continue
		}
		metadata, _ := o["metadata"].(map[string]any)
		rules, _ := o["rules"].([]any)
		for _, r := range rules {
			rule, _ := r.(map[string]any)
			line := fmt.Sprintf("%s/%v: %s of %s in %s", kind, metadata["name"], words(rule["verbs"]), words(rule["resources"]), words(rule["apiGroups"]))
			if only := rule["resourceNames"]; only != nil {
				line += " named " + words(only)
			}
			lines = append(lines, line)
		}
	}
	return lines
}

// words joins a list; the empty name is that of the core group.
func words(list any) string {
	l, _ := list.([]any)
	var out []string
	for _, w := range l {
		if w == "" {
			w = "core"
		}
		out = append(out, fmt.Sprint(w))
	}
	return strings.Join(out, ",")
}
