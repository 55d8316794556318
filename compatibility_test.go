// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package drydock_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// defects is how many of the original are known: D1 to this one.
const defects = 67

// TestEveryKnownDefectIsAnsweredFor holds docs/compatibility.md to the tests it names: each defect of the original has a
// row, and each test in a row exists. A name that ends in … stands for at least one that begins so.
func TestEveryKnownDefectIsAnsweredFor(t *testing.T) {
	page, err := os.ReadFile("docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testNames(t)
	number := regexp.MustCompile(`D[0-9]+`)
	answered := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		row, isRow := strings.CutPrefix(line, "| ")
		if !isRow {
			continue
		}
		first, _, _ := strings.Cut(row, "|")
		for _, d := range number.FindAllString(first, -1) {
			answered[d] = true
		}
		for _, code := range codeSpans(row) {
			if !strings.HasPrefix(code, "Test") && !strings.HasPrefix(code, "Fuzz") {
				continue
			}
			name, _, _ := strings.Cut(code, "/") // what follows is a subtest
			prefix, open := strings.CutSuffix(name, "…")
			if !slices.ContainsFunc(tests, func(test string) bool { return test == name || open && strings.HasPrefix(test, prefix) }) {
				t.Errorf("there is no test %s", code)
			}
		}
	}
	for i := range defects {
		if d := fmt.Sprintf("D%d", i+1); !answered[d] {
			t.Errorf("nothing is said of %s", d)
		}
	}
	for d := range answered {
		var n int
		if _, err := fmt.Sscanf(d, "D%d", &n); err != nil || n < 1 || n > defects {
			t.Errorf("%s is no defect of the original", d)
		}
	}
}

// testNames lists the tests and fuzz tests of all modules.
func testNames(t *testing.T) []string {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	names := map[string]bool{}
	for _, f := range listFiles(t) {
		if !strings.HasSuffix(f.name, "_test.go") {
			continue
		}
		for _, m := range declared.FindAllStringSubmatch(string(f.data), -1) {
			names[m[1]] = true
		}
	}
	return slices.Collect(maps.Keys(names))
}
