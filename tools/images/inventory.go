// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// inventory is what programs are made of, as the linker wrote it into them.
type inventory struct {
	main      string // path of the module of ours
	goVersion string
	modules   []debug.Module // sorted by path, each once
}

// readInventory takes together what the programs, all of one module, are made of.
func readInventory(binaries []string) (inventory, error) {
	var inv inventory
	for _, path := range binaries {
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			return inv, fmt.Errorf("reading what %s is made of: %w", filepath.Base(path), err)
		}
		inv.main, inv.goVersion = info.Main.Path, info.GoVersion
		for _, m := range info.Deps {
			used := *m
			if m.Replace != nil {
				used = *m.Replace
				used.Path = m.Path // it is known by this name, wherever it came from
			}
			inv.modules = append(inv.modules, used)
		}
	}
	slices.SortFunc(inv.modules, func(a, b debug.Module) int { return strings.Compare(a.Path, b.Path) })
	inv.modules = slices.CompactFunc(inv.modules, func(a, b debug.Module) bool { return a.Path == b.Path })
	return inv, nil
}

// cycloneDX writes the inventory as CycloneDX 1.5 in JSON. Nothing in it depends on when it is written.
func (inv inventory) cycloneDX(cfg config, arch string) ([]byte, error) {
	purl := func(path, version string) string { return "pkg:golang/" + path + "@" + version }
	bom := cdx.NewBOM()
	root := purl(inv.main, tag(cfg.version)) + "?goos=linux&goarch=" + arch
	bom.Metadata = &cdx.Metadata{Component: &cdx.Component{
		BOMRef: root, Type: cdx.ComponentTypeApplication, Name: inv.main, Version: tag(cfg.version), PackageURL: root,
	}}
	std := strings.TrimPrefix(inv.goVersion, "go")
	components := []cdx.Component{{BOMRef: purl("std", std), Type: cdx.ComponentTypeLibrary, Name: "std", Version: std, PackageURL: purl("std", std)}}
	for _, m := range inv.modules {
		c := cdx.Component{BOMRef: purl(m.Path, m.Version), Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: purl(m.Path, m.Version)}
		if m.Sum != "" { // a hash over the module's files, which is no hash of any one file
			c.Properties = &[]cdx.Property{{Name: "go.sum", Value: m.Sum}}
		}
		components = append(components, c)
	}
	bom.Components = &components
	refs := make([]string, len(components))
	for i, c := range components {
		refs[i] = c.BOMRef
	}
	bom.Dependencies = &[]cdx.Dependency{{Ref: root, Dependencies: &refs}}
	// A name of its own for each content: version 8 of RFC 9562.
	id := sha256.Sum256([]byte(root + strings.Join(refs, " ")))
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	bom.SerialNumber = fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:16])
	var out bytes.Buffer
	err := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_5)
	return out.Bytes(), err
}

// licenceFile matches the names under which modules keep their terms.
var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents|unlicense)([-.].*)?$`)

// licences returns the licence and notice files of Go and of all modules in one text. A module without any is
// an error: nobody may pass it on.
func (inv inventory) licences(ctx context.Context, root string) ([]byte, error) {
	goroot, err := output(ctx, root, "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	dirs := map[string]string{"std": strings.TrimSpace(string(goroot))}
	names := []string{"std"}
	if len(inv.modules) > 0 {
		args := []string{"list", "-m", "-json=Path,Dir"}
		for _, m := range inv.modules {
			args = append(args, m.Path)
			names = append(names, m.Path)
		}
		list, err := output(ctx, root, args...)
		if err != nil {
			return nil, err
		}
		for dec := json.NewDecoder(bytes.NewReader(list)); ; {
			var m struct{ Path, Dir string }
			if err := dec.Decode(&m); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, err
			}
			dirs[m.Path] = m.Dir
		}
	}
	var out bytes.Buffer
	for _, name := range names {
		entries, err := os.ReadDir(dirs[name])
		if err != nil {
			return nil, fmt.Errorf("looking for the licence of %s: %w", name, err)
		}
		found := false
		for _, e := range entries {
			if !licenceFile.MatchString(e.Name()) || !e.Type().IsRegular() {
				continue
			}
			text, err := os.ReadFile(filepath.Join(dirs[name], e.Name()))
			if err != nil {
				return nil, err
			}
			found = true
			fmt.Fprintf(&out, "==== %s: %s ====\n\n%s\n\n", name, e.Name(), bytes.TrimSpace(text))
		}
		if !found {
			return nil, fmt.Errorf("module %s comes without a licence", name)
		}
	}
	return out.Bytes(), nil
}

// output runs the go command in the module.
func output(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("running go %s: %w: %s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
