// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
)

// lintChart returns every message of helm's linter that is a warning or worse.
func lintChart(dir, namespace string) error {
	result := lint.All(dir, nil, namespace, true)
	var found []error
	for _, m := range result.Messages {
		if m.Severity >= support.WarningSev {
			found = append(found, errors.New(m.Error()))
		}
	}
	return errors.Join(found...)
}

// renderChart appends the chart's objects to out, in the order in which helm would install them. The values
// lie over the chart's defaults; what its schema does not allow is an error. What helm runs after an uninstallation
// is left out.
func renderChart(out *bytes.Buffer, dir, namespace string, overrides map[string]any) error {
	manifests, _, err := renderAll(dir, namespace, overrides)
	if err != nil {
		return err
	}
	for _, m := range manifests {
		writeObject(out, m.Name, m.Content)
	}
	return nil
}

// renderWithHooks is renderChart, followed by what helm runs after an uninstallation.
func renderWithHooks(out *bytes.Buffer, dir, namespace string, overrides map[string]any) error {
	manifests, hooks, err := renderAll(dir, namespace, overrides)
	if err != nil {
		return err
	}
	for _, m := range manifests {
		writeObject(out, m.Name, m.Content)
	}
	for _, h := range hooks {
		writeObject(out, h.Path, h.Manifest)
	}
	return nil
}

func writeObject(out *bytes.Buffer, source, text string) {
	fmt.Fprintf(out, "---\n# Source: %s\n%s\n", source, strings.TrimSpace(strings.TrimPrefix(text, "---")))
}

// renderAll returns the objects of a release and its hooks, which are all of helm's event post-delete: for any other
// the chart would need helm to work.
func renderAll(dir, namespace string, overrides map[string]any) ([]releaseutil.Manifest, []*release.Hook, error) {
	c, err := loader.LoadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("loading: %w", err)
	}
	options := chartutil.ReleaseOptions{Name: c.Name(), Namespace: namespace, Revision: 1, IsInstall: true}
	values, err := chartutil.ToRenderValues(c, overrides, options, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, nil, fmt.Errorf("reading values: %w", err)
	}
	files, err := engine.Render(c, values)
	if err != nil {
		return nil, nil, err
	}
	for name := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			delete(files, name)
		}
	}
	hooks, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return nil, nil, fmt.Errorf("sorting objects: %w", err)
	}
	for _, h := range hooks {
		if !slices.Equal(h.Events, []release.HookEvent{release.HookPostDelete}) {
			return nil, nil, fmt.Errorf("template %s is a hook: a static manifest has nobody to run hooks", h.Path)
		}
	}
	return manifests, hooks, nil
}
