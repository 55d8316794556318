// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package drydock_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// maxLines is where a file should be asked for its second idea.
const maxLines = 500

type file struct {
	name      string // slash-separated, from the module root
	data      []byte
	generated bool
}

func (f file) isGo() bool   { return strings.HasSuffix(f.name, ".go") }
func (f file) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }

// tree reads every file that git tracks or would track.
var tree = sync.OnceValues(func() ([]file, error) {
	out, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return nil, err
	}
	var files []file
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.FromSlash(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, and not yet committed
		} else if err != nil {
			return nil, err
		}
		head := data[:min(len(data), 1000)]
		files = append(files, file{name, data, bytes.Contains(head, []byte("Code generated ")) && bytes.Contains(head, []byte("DO NOT EDIT"))})
	}
	return files, nil
})

func listFiles(t *testing.T) []file {
	t.Helper()
	files, err := tree()
	if err != nil {
		t.Skipf("not a git clone: %v", err) // an unpacked source archive has nothing to keep in order
	}
	return files
}

func TestGoFilesCarryTheLicence(t *testing.T) {
	const header = "// SPDX-License-Identifier: Apache-2.0\n// SPDX-FileCopyrightText: The Drydock authors\n"
	for _, f := range listFiles(t) {
		if f.isGo() && !f.generated && !bytes.HasPrefix(f.data, []byte(header)) {
			t.Errorf("%s does not start with the two SPDX lines", f.name)
		}
	}
}

func TestFilesStaySmall(t *testing.T) {
	for _, f := range listFiles(t) {
		if n := bytes.Count(f.data, []byte("\n")); f.isGo() && !f.generated && n > maxLines {
			t.Errorf("%s has %d lines, more than %d: look for the second idea in it", f.name, n, maxLines)
		}
	}
}

// inCode lists what may not be written in Go files outside tests, and why.
var inCode = []struct {
	pattern *regexp.Regexp
	below   string // only in this folder
	comment bool   // also in comments
	why     string
}{
	{regexp.MustCompile(`\btime\.Sleep\(`), "", false, "wait for the event, with a bound, so that it can be cancelled"},
	{regexp.MustCompile(`\bcontext\.(Background|TODO)\(\)`), "internal/", false, "take the caller's context, or nobody can stop it"},
	{regexp.MustCompile(`\b(log\.Fatal|os\.Exit\()`), "internal/", false, "return the error: only main ends the program"},
	{regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b`), "", true, "finish it, or open an issue"},
}

func TestCodeKeepsItsHabits(t *testing.T) {
	for _, f := range listFiles(t) {
		if !f.isGo() || f.isTest() || f.generated || strings.HasPrefix(f.name, "internal/testutil/") || strings.Contains(f.name, "/testdata/") {
			continue
		}
		for i, line := range bytes.Split(f.data, []byte("\n")) {
			code, _, _ := bytes.Cut(line, []byte("//"))
			for _, habit := range inCode {
				text := code
				if habit.comment {
					text = line
				}
				if strings.HasPrefix(f.name, habit.below) && habit.pattern.Match(text) {
					t.Errorf("%s:%d: %s: %s", f.name, i+1, bytes.TrimSpace(line), habit.why)
				}
			}
		}
	}
}

func TestNoPathsOfOnesOwnMachine(t *testing.T) {
	// Homes and the usual working directories of build machines, at the start of a path.
	private := regexp.MustCompile(`(^|[^\w./-])/(home/\w+|Users/\w+|root|work|workspace|tmp/\w{1,3})/\w`)
	for _, f := range listFiles(t) {
		if f.name == "tree_test.go" {
			continue
		}
		for i, line := range bytes.Split(f.data, []byte("\n")) {
			if m := private.Find(line); m != nil {
				t.Errorf("%s:%d: %q exists on one machine only", f.name, i+1, m)
			}
		}
	}
}
