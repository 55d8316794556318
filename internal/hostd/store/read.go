// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
)

// maxValue bounds one file, in bytes: no request brings more into the store.
const maxValue = 4 << 20

// maxDepth bounds directories inside each other. A key of 255 bytes has at most 128 segments.
const maxDepth = 130

// readTree reads what is below dir. Names that no key has, links, other file systems and contents that are no value are
// passed over: old migrations leave such files, and one of them must not keep a host from booting.
func readTree(dir string, log *slog.Logger) (Data, error) {
	d := NewData()
	err := walk(dir, func(file string) error {
		k, metadata, ok := parsePath(file)
		if !ok {
			return nil
		}
		content, err := readFile(filepath.Join(dir, filepath.FromSlash(file)))
		if err != nil {
			return fmt.Errorf("reading setting %s: %w", k, err)
		}
		v, ok := parseValue(content)
		switch {
		case !ok:
			log.Warn("stored value ignored", "key", k.String(), "metadata", metadata, "error", "not a JSON scalar or list")
		case metadata != "":
			d.SetMetadata(k, metadata, v)
		default:
			d.Values[k] = v
		}
		return nil
	})
	return d, err
}

// walk calls visit with the path of each regular file below dir, relative to dir, in no set order.
func walk(dir string, visit func(file string) error) error {
	top, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !top.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	return walkBelow(dir, "", device(top), maxDepth, visit)
}

func walkBelow(dir, at string, dev uint64, depth int, visit func(string) error) error {
	entries, err := os.ReadDir(filepath.Join(dir, at))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(at, e.Name())
		switch {
		case e.Type().IsRegular():
			err = visit(name)
		case e.IsDir() && depth > 0:
			var info fs.FileInfo
			if info, err = e.Info(); err == nil && device(info) == dev {
				err = walkBelow(dir, name, dev, depth-1, visit)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func device(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Dev
	}
	return 0
}

var errTooLarge = errors.New("larger than any value can be")

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxValue+1))
	if err == nil && len(data) > maxValue {
		err = fmt.Errorf("%s: %w", name, errTooLarge)
	}
	return data, err
}
