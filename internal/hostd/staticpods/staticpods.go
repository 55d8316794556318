// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package staticpods puts the manifests of pods that the settings describe where the kubelet looks for them.
//
// The folder is ours: after Run it holds the pods that are enabled and no others. A pod whose manifest is wrong is
// reported and keeps none of the others from running.
package staticpods

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/drydock-os/drydock/internal/durable"
)

// Where things are, below the root.
const (
	DefaultFile = "/etc/static-pods.toml"       // what the settings say
	Dir         = "/etc/kubernetes/static-pods" // where the kubelet looks
)

const (
	suffix  = ".yaml"
	maxFile = 8 << 20
)

var validName = regexp.MustCompile(`^[A-Za-z0-9-]{1,76}$`)

type pod struct {
	Enabled  bool   `toml:"enabled"`
	Manifest string `toml:"manifest"` // base64
}

// Run makes the folder what the file of settings says. The file is not below root; without one there are no pods.
func Run(root, file string, log *slog.Logger) error {
	pods, err := read(file)
	if err != nil {
		return fmt.Errorf("reading static pods: %w", err)
	}
	dir := filepath.Join(root, Dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("writing static pods: %w", err)
	}
	var errs []error
	wanted := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(pods)) {
		if !pods[name].Enabled {
			continue
		}
		if err := write(dir, name, pods[name].Manifest); err != nil {
			errs = append(errs, fmt.Errorf("settings.kubernetes.static-pods.%s: %w", name, err))
			continue
		}
		wanted[name+suffix] = true
		log.Info("static pod", "name", name)
	}
	entries, err := os.ReadDir(dir)
	errs = append(errs, err)
	for _, e := range entries {
		if name := e.Name(); e.Type().IsRegular() && strings.HasSuffix(name, suffix) && !wanted[name] {
			errs = append(errs, os.Remove(filepath.Join(dir, name)))
			log.Info("static pod ends", "name", strings.TrimSuffix(name, suffix))
		}
	}
	return errors.Join(errs...)
}

func read(file string) (map[string]pod, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all struct {
		Pods map[string]pod `toml:"static-pods"`
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err == nil {
		err = toml.Unmarshal(data, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return all.Pods, nil
}

// write replaces a manifest whole: the kubelet may look at any time, and leaves out names that begin with a dot.
func write(dir, name, manifest string) error {
	if !validName.MatchString(name) {
		return errors.New("the name may be up to 76 letters, digits and dashes, and nothing else")
	}
	if manifest == "" {
		return errors.New("no manifest is set")
	}
	text, err := base64.StdEncoding.DecodeString(manifest)
	if err != nil {
		return errors.New("the manifest is not base64")
	}
	path := filepath.Join(dir, name+suffix)
	if have, err := os.ReadFile(path); err == nil && string(have) == string(text) {
		return nil // the kubelet would start the pod anew
	}
	return durable.WriteFile(path, text, 0o600)
}
