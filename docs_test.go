// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package drydock_test

import (
	"debug/elf"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// codeSpans returns the code of a Markdown text: each line of fenced blocks, and each `span`.
func codeSpans(text string) []string {
	var spans []string
	fenced := false
	span := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			continue
		}
		if fenced {
			code, _, _ := strings.Cut(line, " # ")
			spans = append(spans, strings.TrimSpace(code))
			continue
		}
		for _, m := range span.FindAllStringSubmatch(line, -1) {
			spans = append(spans, m[1])
		}
	}
	return spans
}

func documents(t *testing.T) []file {
	return slices.DeleteFunc(slices.Clone(listFiles(t)), func(f file) bool { return !strings.HasSuffix(f.name, ".md") })
}

func TestDocumentsNameMakeTargetsThatExist(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z-]*):`).FindAllStringSubmatch(string(makefile), -1) {
		targets[m[1]] = true
	}
	command := regexp.MustCompile(`(?:^|\s)make ([a-z][a-z-]*)`)
	for _, f := range documents(t) {
		for _, code := range codeSpans(string(f.data)) {
			for _, m := range command.FindAllStringSubmatch(code, -1) {
				if !targets[m[1]] {
					t.Errorf("%s: %q: the Makefile has no target %s", f.name, code, m[1])
				}
			}
		}
	}
}

// builtPrograms returns the directory of the built programs, which 'make test' names.
func builtPrograms(t *testing.T) string {
	dir := os.Getenv("DRYDOCK_BIN")
	if dir == "" {
		t.Skip("DRYDOCK_BIN is not set: run 'make test'")
	}
	return dir
}

// onPath are the programs that documents also call by their bare names.
var onPath = []string{"drydock", "imgtool"}

func TestDocumentsNameFlagsThatExist(t *testing.T) {
	bin := builtPrograms(t)
	help := map[string]string{}
	word := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	command := regexp.MustCompile(`^(\$ )?([A-Z_]+=\S+ )*`) // what may stand before it
	for _, f := range documents(t) {
		for _, code := range codeSpans(string(f.data)) {
			program, rest, ok := strings.Cut(strings.TrimPrefix(code, command.FindString(code)), " ")
			if !ok || path.Dir(program) != "bin" && !slices.Contains(onPath, program) {
				continue
			}
			fields := strings.Fields(rest)
			sub := fields
			if i := slices.IndexFunc(fields, func(s string) bool { return !word.MatchString(s) }); i >= 0 {
				sub = fields[:i]
			}
			call := strings.Join(append([]string{path.Base(program)}, sub...), " ")
			if _, seen := help[call]; !seen {
				// The exit status of --help differs between flag packages; its text is what counts.
				out, _ := exec.CommandContext(t.Context(), filepath.Join(bin, path.Base(program)), append(slices.Clone(sub), "--help")...).CombinedOutput()
				help[call] = string(out)
				if usage := regexp.MustCompile(`(?m)^ *(?:Usage: )?` + regexp.QuoteMeta(call) + `\b`); !usage.MatchString(help[call]) && path.Base(program) == "drydock" {
					t.Errorf("%s: %q: there is no %s", f.name, code, call)
				}
			}
			for _, field := range fields {
				flag := regexp.MustCompile(`^\[?--([a-z][a-z-]*)`).FindStringSubmatch(field)
				if flag != nil && !regexp.MustCompile(`(^|[\s,\[])--?`+flag[1]+`\b`).MatchString(help[call]) {
					t.Errorf("%s: %q: %s --help does not show --%s", f.name, code, call, flag[1])
				}
			}
		}
	}
}

func TestLinksBetweenDocumentsHold(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)]*))?\)`)
	sections := map[string]map[string]bool{}
	for _, f := range documents(t) {
		sections[f.name] = anchors(string(f.data))
	}
	for _, f := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(string(f.data), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			to := f.name
			if m[1] != "" {
				to = path.Join(path.Dir(f.name), m[1])
			}
			if _, err := os.Stat(filepath.FromSlash(to)); err != nil {
				t.Errorf("%s links to %s, which does not exist", f.name, m[1])
			} else if m[2] != "" && !sections[to][m[2]] {
				t.Errorf("%s links to the section #%s of %s, which does not exist", f.name, m[2], to)
			}
		}
	}
}

// anchors are what the sections of a Markdown text are called in links.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		all[strings.ReplaceAll(regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return all
}

// maxSize bounds programs that are on every node, stripped, in bytes.
var maxSize = map[string]int64{"drydock-agent": 8 << 20, "hostd": 16 << 20}

func TestBuiltProgramsAreStaticAndSmall(t *testing.T) {
	bin := builtPrograms(t)
	for _, name := range []string{"drydock", "drydock-agent", "hostd", "imgtool", "lab"} {
		info, err := os.Stat(filepath.Join(bin, name))
		if err != nil {
			t.Errorf("%s is not built: %v", name, err)
			continue
		}
		if limit, ok := maxSize[name]; ok && info.Size() > limit {
			t.Errorf("%s has %d bytes, more than %d", name, info.Size(), limit)
		}
		f, err := elf.Open(filepath.Join(bin, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		// A dynamic program asks for a loader, which a host image need not have.
		if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
			t.Errorf("%s is not static", name)
		}
		f.Close()
	}
}

// Values that the documents set exist in the chart, in commands as in values files.
func TestDocumentsNameValuesThatExist(t *testing.T) {
	reference, err := os.ReadFile(filepath.FromSlash("docs/operator/values.md"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Za-z_.]+)` \\|").FindAllStringSubmatch(string(reference), -1) {
		known[m[1]] = true
	}
	set := regexp.MustCompile(`--set(?:-string|-json)? '?([A-Za-z_.]+)=`)
	file := regexp.MustCompile("(?s)```yaml\n# values.yaml.*?```")
	key := regexp.MustCompile(`(?m)^([a-z_]+): \S`)
	found := 0
	for _, f := range documents(t) {
		var names []string
		for _, code := range codeSpans(string(f.data)) {
			for _, m := range set.FindAllStringSubmatch(code, -1) {
				names = append(names, m[1])
			}
		}
		for _, block := range file.FindAllString(string(f.data), -1) {
			for _, m := range key.FindAllStringSubmatch(block, -1) {
				names = append(names, m[1])
			}
		}
		for _, name := range names {
			found++
			if !known[name] {
				t.Errorf("%s sets the value %s, which the chart does not have", f.name, name)
			}
		}
	}
	if found < 8 {
		t.Errorf("found only %d values in all documents", found)
	}
}
