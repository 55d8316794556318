// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pierrec/lz4/v4"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/drydock-os/drydock/internal/manifest"
	"github.com/drydock-os/drydock/internal/tuf/release"
)

// migration publishes a migration: migration guide|broken FROM TO. The first is the program that docs/host/migrations.md
// has as its example; the other one only fails.
func migration(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: migration guide|broken FROM TO")
	}
	program := "package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n)\n\nfunc main() {\n\tfmt.Println(\"no idea what to do\")\n\tos.Exit(1)\n}\n"
	if args[0] == "guide" {
		guide, err := os.ReadFile(filepath.Join(sourceDir, "../../docs/host/migrations.md"))
		ts.Check(err)
		_, text, _ := strings.Cut(string(guide), "```go\n")
		program, _, _ = strings.Cut(text, "```")
	}
	name := "migrate_v" + args[2] + "_" + args[0] + ".lz4"
	writeFile(ts, name+".d/main.go", program)
	built := ts.MkAbs(name + ".d/program")
	build := exec.Command("go", "build", "-o", built, ts.MkAbs(name+".d/main.go"))
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		ts.Fatalf("building a migration: %v\n%s", err, out)
	}
	plain, err := os.ReadFile(built)
	ts.Check(err)
	var packed strings.Builder
	w := lz4.NewWriter(&packed)
	_, err = w.Write(plain)
	ts.Check(err)
	ts.Check(w.Close())
	writeFile(ts, "migrations/"+name, packed.String())
	from, err := manifest.ParseVersion(args[1])
	ts.Check(err)
	to, err := manifest.ParseVersion(args[2])
	ts.Check(err)
	where := release.Where{Dir: ts.MkAbs("repo"), KeysDir: ts.MkAbs("keys"), Variant: variant, Arch: arch(), Now: time.Now()}
	_, err = release.SetMigrations(context.Background(), where,
		[]manifest.Migration{{From: from, To: to, Names: []string{name}}}, ts.MkAbs("migrations"))
	ts.Check(err)
}

// sourceDir is the folder of this package; scripts run elsewhere.
var sourceDir = func() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	return dir
}()
