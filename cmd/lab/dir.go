// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/lab/fleet"
)

// lockName is the file whose lock a running lab holds; its content is the keeper's process id.
const lockName = "lab.lock"

// labsDir is where labs live that were given no directory of their own, one folder for each user.
func labsDir() string {
	return filepath.Join(os.TempDir(), "drydock-labs-"+strconv.Itoa(os.Getuid()))
}

// labDir is a lab's directory, locked as long as the lab runs.
type labDir struct {
	path string
	lock *os.File
	keep bool
}

// takeDir makes or takes over the directory for one lab. A directory that is in use, or that holds
// something else than a lab, is refused.
func takeDir(path string, keep bool) (*labDir, error) {
	if path == "" {
		base := labsDir()
		if err := os.MkdirAll(base, 0o700); err != nil {
			return nil, fmt.Errorf("making the directory for labs: %w", err)
		}
		var err error
		if path, err = os.MkdirTemp(base, "lab-"); err != nil {
			return nil, fmt.Errorf("making a directory for the lab: %w", err)
		}
	} else {
		var err error
		if path, err = filepath.Abs(path); err != nil {
			return nil, fmt.Errorf("--dir: %w", err)
		}
		entries, err := os.ReadDir(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if err := os.MkdirAll(path, 0o700); err != nil {
				return nil, fmt.Errorf("--dir: %w", err)
			}
		case err != nil:
			return nil, fmt.Errorf("--dir: %w", err)
		case len(entries) > 0 && !isLab(path):
			return nil, cli.WithHint(fmt.Errorf("--dir %s is not empty and holds no lab", path), "name a new or an empty directory")
		}
	}
	lock, err := lockDir(path)
	if err != nil {
		return nil, err
	}
	d := &labDir{path: path, lock: lock, keep: keep}
	if err := d.empty(); err != nil {
		lock.Close()
		return nil, err
	}
	return d, nil
}

func isLab(path string) bool {
	_, err := os.Stat(filepath.Join(path, lockName))
	return err == nil
}

func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(path, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		owner := make([]byte, 16)
		n, _ := f.Read(owner)
		f.Close()
		return nil, cli.WithHint(
			fmt.Errorf("directory %s is used by another lab (process %s)", path, strings.TrimSpace(string(owner[:n]))),
			"stop that lab, or name another directory with --dir")
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
	}
	return f, nil
}

// empty removes what an earlier lab left in the directory.
func (d *labDir) empty() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("reading %s: %w", d.path, err)
	}
	for _, e := range entries {
		if e.Name() != lockName {
			if err := os.RemoveAll(filepath.Join(d.path, e.Name())); err != nil {
				return fmt.Errorf("emptying %s: %w", d.path, err)
			}
		}
	}
	return nil
}

// release gives the directory up and removes it unless it is to be kept.
func (d *labDir) release() error {
	var err error
	if !d.keep {
		err = os.RemoveAll(d.path)
	}
	return errors.Join(err, d.lock.Close())
}

// checkSpace refuses a lab that would fill the disk half-way.
func (d *labDir) checkSpace(cfg *fleet.Config) error {
	var st unix.Statfs_t
	if err := unix.Statfs(d.path, &st); err != nil {
		return fmt.Errorf("reading the free space of %s: %w", d.path, err)
	}
	free, need := int64(st.Bavail)*st.Bsize, cfg.DiskSpace()
	if free < need {
		return cli.WithHint(
			fmt.Errorf("%s has %d MiB free, this lab may need %d MiB", d.path, free>>20, need>>20),
			"name a directory on a larger disk with --dir, or take fewer --nodes or a smaller --image-size")
	}
	return nil
}
