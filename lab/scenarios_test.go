// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// binDir returns where 'make build' put the programs.
func binDir(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("runs whole fleets")
	}
	bin := os.Getenv("DRYDOCK_BIN")
	if bin == "" {
		t.Fatal("DRYDOCK_BIN is not set: run the tests by 'make test', which builds the programs")
	}
	return bin
}

func TestScenarios(t *testing.T) {
	bin := binDir(t)
	testscript.Run(t, testscript.Params{
		Dir: "scenarios",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			// Scripts get a temporary home, but disks are large: they go where the machine wants them.
			env.Setenv("TMPDIR", os.TempDir())
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"report": report},
	})
}

// report checks one value of the JSON document in stdout of the last command. A path is field names
// and list positions, joined by dots: report per_node.0.slot B.
func report(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] report path value")
	}
	var doc any
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &doc); err != nil {
		ts.Fatalf("stdout is not one JSON document: %v", err)
	}
	for step := range strings.SplitSeq(args[0], ".") {
		switch at := doc.(type) {
		case map[string]any:
			var ok bool
			if doc, ok = at[step]; !ok {
				ts.Fatalf("no %s in the report (looking for %s)", step, args[0])
			}
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(at) {
				ts.Fatalf("no entry %s in a list of %d (looking for %s)", step, len(at), args[0])
			}
			doc = at[i]
		default:
			ts.Fatalf("%s leads through a plain value", args[0])
		}
	}
	got := fmt.Sprint(doc)
	if (got == args[1]) == neg {
		ts.Fatalf("%s is %s, want %s%s", args[0], got, map[bool]string{true: "not "}[neg], args[1])
	}
}

// TestScenarioFilesAreScripts keeps a misnamed scenario from never running.
func TestScenarioFilesAreScripts(t *testing.T) {
	files, err := os.ReadDir("scenarios")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if filepath.Ext(f.Name()) != ".txtar" {
			t.Errorf("scenarios/%s would never run: its name does not end in .txtar", f.Name())
		}
	}
}
