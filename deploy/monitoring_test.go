// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package deploy_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// metricName matches the names of our metrics, and of the original's.
var metricName = regexp.MustCompile(`\b(?:brupop|drydock)_[a-z_]+`)

// registered returns the names of all metrics that the sources of controller and apiserver make.
func registered(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, role := range []string{"controller", "apiserver"} {
		files, err := filepath.Glob(filepath.Join("..", "internal", role, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if s, err := strconv.Unquote(lit.Value); err == nil && metricName.FindString(s) == s && s != "" {
						names[s] = true
					}
				}
				return true
			})
		}
	}
	return names
}

func TestAlertsAndDashboardUseMetricsThatExist(t *testing.T) {
	exists := registered(t)
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr string
				Annotations struct{ Summary, Description string }
			}
		}
	}
	data, err := os.ReadFile(filepath.Join("monitoring", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &rules); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join("..", "docs", "operator", "monitoring.md"))
	if err != nil {
		t.Fatal(err)
	}
	expressions := map[string][]string{}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			expressions["alert "+r.Alert] = append(expressions["alert "+r.Alert], r.Expr)
			if r.Annotations.Summary == "" || r.Annotations.Description == "" {
				t.Errorf("alert %s does not say what it means", r.Alert)
			}
			if !strings.Contains(string(page), "`"+r.Alert+"`") {
				t.Errorf("docs/operator/monitoring.md does not say what to do about %s", r.Alert)
			}
		}
	}
	var dashboard struct {
		UID    string
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if data, err = os.ReadFile(filepath.Join("monitoring", "dashboard.json")); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			expressions["panel "+p.Title] = append(expressions["panel "+p.Title], target.Expr)
		}
	}
	if len(expressions) < 10 {
		t.Fatalf("only %d expressions were found", len(expressions))
	}
	used := map[string]bool{}
	for where, list := range expressions {
		names := metricName.FindAllString(strings.Join(list, " "), -1)
		if len(names) == 0 {
			t.Errorf("%s asks for none of our metrics: %v", where, list)
		}
		for _, name := range names {
			base := name
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				if trimmed, ok := strings.CutSuffix(name, suffix); ok && exists[trimmed] {
					base = trimmed
				}
			}
			used[base] = true
			if !exists[base] {
				t.Errorf("%s asks for %s, which nothing registers", where, name)
			}
		}
	}
	for name := range exists {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/operator/monitoring.md does not know the metric %s", name)
		}
	}
}
