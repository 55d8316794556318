// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/drydock-os/drydock/internal/tuf"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"imgtool": main, "hsm": hsm})
}

// hsm stands for a program that holds a key: it signs what it gets on stdin with the key in a file.
func hsm() {
	key, err := tuf.LoadKey(os.Args[1])
	if err != nil {
		panic(err)
	}
	payload, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	sig, err := key.SignPayload(context.Background(), payload)
	if err != nil {
		panic(err)
	}
	fmt.Println(base64.StdEncoding.EncodeToString(sig))
}

// The scripts in testdata run imgtool as a person would.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata",
		Setup: leaveAtOnce,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "manifest": manifestOf, "serve": serve, "damage": damage,
		},
	})
}

// leaveAtOnce keeps programs under the race detector from waiting a second before they end.
func leaveAtOnce(env *testscript.Env) error {
	env.Setenv("GORACE", "atexit_sleep_ms=0")
	return nil
}

// exits runs a program and checks its exit code, which plain exec does not tell: exits CODE PROGRAM ARGS...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("running %s: %v", args[1], err)
		}
		code = exit.ExitCode()
	}
	if want := args[0]; strconv.Itoa(code) != want {
		ts.Fatalf("exit code %d, want %s", code, want)
	}
}

// manifestOf prints the manifest that a part of a repository offers now: manifest DIR PART.
func manifestOf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: manifest DIR PART")
	}
	dir := filepath.Join(args[0], args[1])
	var m struct {
		Signed struct {
			Meta    map[string]struct{ Version int64 }
			Targets map[string]struct{ Hashes map[string]string }
		}
	}
	name := "timestamp.json"
	for _, next := range []string{"snapshot.json", "targets.json", ""} {
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(filepath.Join(dir, name))), &m))
		name = strconv.FormatInt(m.Signed.Meta[next].Version, 10) + "." + next
	}
	file := filepath.Join(args[0], "targets", m.Signed.Targets["manifest.json"].Hashes["sha256"]+".manifest.json")
	ts.Check(ts.Exec("cat", file))
}

// serve serves a folder over HTTP and puts its address into $URL: serve DIR.
func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: serve DIR")
	}
	server := httptest.NewServer(http.FileServer(http.Dir(ts.MkAbs(args[0]))))
	ts.Defer(server.Close)
	ts.Setenv("URL", server.URL)
}

// damage changes the target whose name has the given part: damage remove|flip|cut DIR PART-OF-NAME.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: damage remove|flip|cut DIR PART-OF-NAME")
	}
	files, err := filepath.Glob(filepath.Join(ts.MkAbs(args[1]), "targets", "*"+args[2]+"*"))
	ts.Check(err)
	if len(files) == 0 {
		ts.Fatalf("no target %s", args[2])
	}
	slices.SortFunc(files, func(a, b string) int { return strings.Compare(a[len(a)-40:], b[len(b)-40:]) })
	file := files[len(files)-1] // the newest version
	data, err := os.ReadFile(file)
	ts.Check(err)
	switch args[0] {
	case "remove":
		ts.Check(os.Remove(file))
	case "flip":
		data[len(data)/2] ^= 1
		ts.Check(os.WriteFile(file, data, 0o644))
	case "cut":
		ts.Check(os.WriteFile(file, data[:len(data)/2], 0o644))
	default:
		ts.Fatalf("unknown damage %s", args[0])
	}
}
