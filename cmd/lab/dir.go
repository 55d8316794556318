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

// A Unix socket's path has at most maxSocketPath bytes (unix(7)); longestSocket is the longest a lab makes.
const (
	maxSocketPath = 107
	longestSocket = "/hosts/node-200/root/run/api.sock"
)

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
		return newDir(keep)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("--dir: %w", err)
	}
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = os.MkdirAll(path, 0o700)
	case err == nil && len(entries) > 0 && !isLab(path):
		return nil, cli.WithHint(fmt.Errorf("--dir %s is not empty and holds no lab", path), "name a new or an empty directory")
	}
	if err != nil {
		return nil, fmt.Errorf("--dir: %w", err)
	}
	d, err := lockDir(path)
	if err != nil {
		return nil, err
	}
	d.keep = keep
	if err := d.empty(); err != nil {
		return nil, errors.Join(err, d.lock.Close())
	}
	return d, nil
}

// newDir makes a directory in the usual place. 'lab down' may take the new directory for a forgotten
// one before it is locked; then another one is made.
func newDir(keep bool) (*labDir, error) {
	base := labsDir()
	if err := os.MkdirAll(base, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory for labs: %w", err)
	}
	for {
		path, err := os.MkdirTemp(base, "lab-")
		if err != nil {
			return nil, fmt.Errorf("making a directory for the lab: %w", err)
		}
		d, err := lockDir(path)
		if errors.Is(err, errInUse) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		d.keep = keep
		return d, nil
	}
}

func isLab(path string) bool {
	_, err := os.Stat(filepath.Join(path, lockName))
	return err == nil
}

// errInUse means that a running lab, or 'lab down', holds the directory.
var errInUse = errors.New("is used by another lab")

// lockDir takes the directory for this process. It fails with fs.ErrNotExist when the directory was
// removed meanwhile.
func lockDir(path string) (*labDir, error) {
	if over := len(path) + len(longestSocket) - maxSocketPath; over > 0 {
		return nil, cli.WithHint(fmt.Errorf("directory %s is %d characters too long for the sockets in it", path, over),
			"name a directory with a shorter path with --dir")
	}
	name := filepath.Join(path, lockName)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		owner := make([]byte, 16)
		n, _ := f.Read(owner)
		return nil, errors.Join(f.Close(), cli.WithHint(
			fmt.Errorf("directory %s %w (process %s)", path, errInUse, strings.TrimSpace(string(owner[:n]))),
			"stop that lab, or name another directory with --dir"))
	}
	mine, err := f.Stat()
	if err == nil {
		var there os.FileInfo
		if there, err = os.Stat(name); err == nil && !os.SameFile(mine, there) {
			err = fs.ErrNotExist
		}
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
	}
	return &labDir{path: path, lock: f}, nil
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
