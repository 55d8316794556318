// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package drydock_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/drydock-os/drydock"

// pkg is what 'go list' tells about one package, with import paths of ours shortened to their folder.
type pkg struct {
	ImportPath, Name, Doc, Dir               string
	GoFiles                                  []string
	Imports, Deps, TestImports, XTestImports []string
}

// packages lists every package of the module. Broken ones are listed too: they fail elsewhere.
var packages = sync.OnceValues(func() ([]pkg, error) {
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Name,Doc,Dir,GoFiles,Imports,Deps,TestImports,XTestImports", "./...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.Join(err, errors.New(stderr.String()))
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		for _, list := range [][]string{p.Imports, p.Deps, p.TestImports, p.XTestImports} {
			for i := range list {
				list[i] = shorten(list[i])
			}
		}
		p.ImportPath = shorten(p.ImportPath)
		all = append(all, p)
	}
})

// shorten writes our import paths as the go command lets people write them, so that our ./internal is not
// mistaken for the standard library's internal.
func shorten(importPath string) string {
	if rest, ours := strings.CutPrefix(importPath, module); ours {
		return "." + rest
	}
	return importPath
}

func listPackages(t *testing.T) []pkg {
	t.Helper()
	all, err := packages()
	if err != nil {
		t.Fatalf("listing packages: %v", err)
	}
	return all
}

// within reports whether the package at path is the one in folder or below it. A folder with a
// slash at its end is a plain prefix, as of import paths that are not ours.
func within(path, folder string) bool {
	if strings.HasSuffix(folder, "/") {
		return strings.HasPrefix(path, folder)
	}
	return path == folder || strings.HasPrefix(path, folder+"/")
}

func withinAny(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return within(path, f) })
}

// layers names every folder below internal/, from the bottom to the top. A package imports from layers
// below its own, and from its own where the layer says so; a new folder is given a place here first.
var layers = []struct {
	name    string
	sideway bool // packages of this layer may import each other
	folders []string
}{
	{"leaves", false, []string{"./internal/gpt", "./internal/durable", "./internal/cli", "./internal/websocket", "./internal/pty"}},
	{"rules and contracts", true, []string{"./internal/plan", "./internal/window", "./internal/fleetview", "./internal/notice", "./internal/slot", "./internal/tuf", "./internal/manifest",
		"./internal/manpage", "./internal/program", "./internal/hostapi", "./internal/agentapi", "./internal/osimage", "./internal/setting", "./internal/logging", "./internal/termination"}},
	{"roles", false, []string{"./internal/controller", "./internal/agent", "./internal/apiserver", "./internal/hostd", "./internal/apiclient",
		"./internal/operatorcli"}},
}

// layerOf returns the index of the layer and the folder that the package belongs to.
func layerOf(path string) (layer int, folder string, ok bool) {
	for i, l := range layers {
		for _, f := range l.folders {
			if within(path, f) {
				return i, f, true
			}
		}
	}
	return 0, "", false
}

func TestImportsGoOneWay(t *testing.T) {
	for _, p := range listPackages(t) {
		if !within(p.ImportPath, "./internal") || within(p.ImportPath, "./internal/testutil") {
			continue
		}
		layer, folder, ok := layerOf(p.ImportPath)
		if !ok {
			t.Errorf("%s has no layer: give it one in layers_test.go", p.ImportPath)
			continue
		}
		for _, dep := range p.Deps {
			other, otherFolder, ok := layerOf(dep)
			if !ok || otherFolder == folder {
				continue
			}
			if other > layer || other == layer && !layers[layer].sideway {
				t.Errorf("%s (%s) reaches %s (%s)", p.ImportPath, layers[layer].name, dep, layers[other].name)
			}
		}
	}
}

var (
	kubernetes = []string{"k8s.io/", "sigs.k8s.io/"}
	containers = []string{"github.com/containerd/containerd/", "google.golang.org/grpc"}
	hostSide   = []string{"./internal/hostd", "./internal/osimage", "./internal/slot", "./internal/gpt", "./internal/tuf", "./internal/manifest"}
)

// mayNotReach maps a folder to what its packages must never reach, even indirectly.
var mayNotReach = map[string][]string{
	// What runs on nodes and hosts is small and holds no Kubernetes rights, so it needs no client either.
	"./cmd/drydock-agent": kubernetes,
	"./cmd/hostd":         slices.Concat(kubernetes, containers), // docs/design/006-host-ctr.md
	"./cmd/host-ctr":      kubernetes,
	"./cmd/imgtool":       kubernetes,
	"./internal/agent":    slices.Concat(kubernetes, hostSide),
	"./internal/agentapi": slices.Concat(kubernetes, []string{"./api"}),
	"./internal/hostapi":  slices.Concat(kubernetes, hostSide),
	"./internal/hostd":    slices.Concat(kubernetes, []string{"./api", "./internal/agentapi"}),
	"./internal/osimage":  kubernetes,
	"./internal/slot":     kubernetes,
	"./internal/tuf":      kubernetes,
	"./internal/manifest": kubernetes,
	"./internal/gpt":      kubernetes,
	"./internal/durable":  kubernetes,
	"./internal/cli":      kubernetes,
	// Cluster and host meet in internal/hostapi only.
	"./internal/controller":  slices.Concat(hostSide, []string{"./internal/hostapi", "./internal/agentapi"}),
	"./internal/apiserver":   slices.Concat(hostSide, []string{"./internal/hostapi"}),
	"./internal/operatorcli": slices.Concat(hostSide, []string{"./internal/hostapi", "./internal/agentapi"}),
	// Types travel without the programs that use them.
	"./api": {"./internal", "k8s.io/client-go/", "sigs.k8s.io/controller-runtime/"},
}

func TestForbiddenPackagesAreNotReached(t *testing.T) {
	for _, p := range listPackages(t) {
		for folder, forbidden := range mayNotReach {
			if !within(p.ImportPath, folder) {
				continue
			}
			for _, dep := range p.Deps {
				if withinAny(dep, forbidden) {
					t.Errorf("%s reaches %s", p.ImportPath, dep)
				}
			}
		}
	}
}

func TestPlanUsesTheStandardLibraryOnly(t *testing.T) {
	for _, p := range listPackages(t) {
		if !within(p.ImportPath, "./internal/plan") {
			continue
		}
		for _, dep := range p.Deps {
			// Only the standard library's paths have no dot in their first element.
			if first, _, _ := strings.Cut(dep, "/"); strings.Contains(first, ".") && !within(dep, "./internal/plan") {
				t.Errorf("%s reaches %s", p.ImportPath, dep)
			}
		}
	}
}

// onlyFor maps a folder to the folders whose packages may import it; test files may import any but cmd.
var onlyFor = map[string][]string{
	"./cmd":               {},
	"./lab":               {"./lab", "./cmd/lab"},
	"./internal/testutil": {"./internal/testutil", "./lab", "./cmd/lab"},
}

func TestProgramsLabAndFakesStayOutOfTheProduct(t *testing.T) {
	for _, p := range listPackages(t) {
		for folder, allowed := range onlyFor {
			if withinAny(p.ImportPath, allowed) {
				continue
			}
			imports := p.Imports
			if folder != "./internal/testutil" {
				imports = slices.Concat(p.Imports, p.TestImports, p.XTestImports)
			}
			for _, imp := range imports {
				// A program in two parts may import its own parts and, in tests, itself.
				if within(imp, folder) && !within(imp, p.ImportPath) && !within(p.ImportPath, imp) {
					t.Errorf("%s imports %s", p.ImportPath, imp)
				}
			}
		}
	}
}
