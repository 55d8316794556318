// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
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
// lie over the chart's defaults; what its schema does not allow is an error.
func renderChart(out *bytes.Buffer, dir, namespace string, overrides map[string]any) error {
	c, err := loader.LoadDir(dir)
	if err != nil {
		return fmt.Errorf("loading: %w", err)
	}
	release := chartutil.ReleaseOptions{Name: c.Name(), Namespace: namespace, Revision: 1, IsInstall: true}
	values, err := chartutil.ToRenderValues(c, overrides, release, chartutil.DefaultCapabilities)
	if err != nil {
		return fmt.Errorf("reading values: %w", err)
	}
	files, err := engine.Render(c, values)
	if err != nil {
		return err
	}
	for name := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			delete(files, name)
		}
	}
	hooks, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return fmt.Errorf("sorting objects: %w", err)
	}
	if len(hooks) > 0 {
		return fmt.Errorf("template %s is a hook: a static manifest has nobody to run hooks", hooks[0].Path)
	}
	for _, m := range manifests {
		fmt.Fprintf(out, "---\n# Source: %s\n%s\n", m.Name, strings.TrimSpace(strings.TrimPrefix(m.Content, "---")))
	}
	return nil
}
