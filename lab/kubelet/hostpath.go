// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
	corev1 "k8s.io/api/core/v1"
)

// hostPath returns the path below root that a hostPath volume shows, once it is of the wanted type. While it
// is not, waiting is called with the reason, and again for each new reason; the wait ends with ctx.
func hostPath(ctx context.Context, root string, v *corev1.HostPathVolumeSource, waiting func(string)) (string, error) {
	path := filepath.Join(root, resolveIn(root, v.Path))
	kind := corev1.HostPathUnset
	if v.Type != nil {
		kind = *v.Type
	}
	if err := createHostPath(path, kind); err != nil {
		return "", err
	}
	if checkHostPath(path, v.Path, kind) == nil {
		return path, nil
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return "", fmt.Errorf("waiting for host path %s: %w", v.Path, err)
	}
	defer watcher.Close()
	told := ""
	for {
		// Watch first, look afterwards: what happens in between is not missed.
		if err := watchNearest(watcher, root, path); err != nil {
			return "", fmt.Errorf("waiting for host path %s: %w", v.Path, err)
		}
		err := checkHostPath(path, v.Path, kind)
		if err == nil {
			return path, nil
		}
		if err.Error() != told {
			told = err.Error()
			waiting(told)
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case err := <-watcher.Errors:
			return "", fmt.Errorf("waiting for host path %s: %w", v.Path, err)
		case <-watcher.Events:
		}
	}
}

// watchNearest watches the closest existing directory above path, which is where the next missing part of it
// must appear.
func watchNearest(watcher *fsnotify.Watcher, root, path string) error {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		err := watcher.Add(dir)
		if err == nil || dir == root || dir == "/" || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
}

func createHostPath(path string, kind corev1.HostPathType) error {
	switch kind {
	case corev1.HostPathUnset:
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		fallthrough // container runtimes make a directory of what is not there
	case corev1.HostPathDirectoryOrCreate:
		if err := os.MkdirAll(path, 0o755); err != nil {
			return fmt.Errorf("creating host directory: %w", err)
		}
	case corev1.HostPathFileOrCreate:
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("creating host file: %w", err)
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("creating host file: %w", err)
		}
		return f.Close()
	}
	return nil
}

// checkHostPath says why path does not fit kind. name is how the pod spec calls it.
func checkHostPath(path, name string, kind corev1.HostPathType) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("host path %s does not exist", name)
	case err != nil:
		return fmt.Errorf("host path %s: %w", name, err)
	}
	ok := true
	mode := info.Mode()
	switch kind {
	case corev1.HostPathDirectory, corev1.HostPathDirectoryOrCreate:
		ok = mode.IsDir()
	case corev1.HostPathFile, corev1.HostPathFileOrCreate:
		ok = mode.IsRegular()
	case corev1.HostPathSocket:
		ok = mode.Type() == fs.ModeSocket
	case corev1.HostPathCharDev:
		ok = mode&fs.ModeCharDevice != 0
	case corev1.HostPathBlockDev:
		ok = mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0
	}
	if !ok {
		return fmt.Errorf("host path %s is not of type %s", name, kind)
	}
	return nil
}
