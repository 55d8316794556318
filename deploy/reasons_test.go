// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package deploy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestEveryReasonIsExplained holds the troubleshooting page against the reasons that the plan can give, and those of the
// apiserver's events.
func TestEveryReasonIsExplained(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "operator", "troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "internal", "plan", "reasons.go"), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		kind, _ := spec.Type.(*ast.Ident)
		lit, isLit := spec.Values[0].(*ast.BasicLit)
		if kind == nil || !isLit || !strings.HasSuffix(kind.Name, "Reason") {
			return true
		}
		word, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		reasons[word] = true
		if !strings.Contains(string(page), "| `"+word+"`") {
			t.Errorf("docs/operator/troubleshooting.md does not explain %s", word)
		}
		return true
	})
	handlers, err := os.ReadFile(filepath.Join("..", "internal", "apiserver", "handlers.go"))
	if err != nil {
		t.Fatal(err)
	}
	notes := regexp.MustCompile(`s\.note\(ctx, node, (?:true|false), "(\w+)"`).FindAllStringSubmatch(string(handlers), -1)
	if len(notes) < 4 {
		t.Errorf("only %d events of the apiserver were found", len(notes))
	}
	for _, m := range notes {
		reasons[m[1]] = true
		if !strings.Contains(string(page), "| `"+m[1]+"`") {
			t.Errorf("docs/operator/troubleshooting.md does not explain the event %s", m[1])
		}
	}
	if len(reasons) < 20 {
		t.Errorf("only %d reasons were found", len(reasons))
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z][A-Za-z]+)`( \\||, )").FindAllStringSubmatch(string(page), -1) {
		if !reasons[m[1]] {
			t.Errorf("docs/operator/troubleshooting.md explains %s, which nothing says", m[1])
		}
	}
}
