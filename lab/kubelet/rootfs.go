// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// rootfs describes the file system of one start of a container.
type rootfs struct {
	dir         string // empty directory where it is built; it stays empty outside of the container
	image       string
	mounts      []mount
	files       map[string]string // small files that the node provides, by absolute path
	terminating string            // host file behind terminationPath
	termination string            // path of the termination log in the container
	hostname    string
	readOnly    bool
}

// mount makes a host path visible in a container.
type mount struct {
	source, target string
	readOnly       bool
}

// devices are bound from the machine; everything else in /dev is made up.
var devices = []string{"null", "zero", "full", "random", "urandom"}

// enter builds the file system and makes it the root of the calling thread, which must be a throw-away one
// (network.Thread): it gets a mount namespace of its own, in which nothing of the machine remains.
func (r *rootfs) enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWUTS); err != nil {
		return fmt.Errorf("creating mount namespace: %w", err)
	}
	if err := unix.Sethostname([]byte(r.hostname)); err != nil {
		return fmt.Errorf("setting host name: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("detaching mount namespace: %w", err)
	}
	if err := unix.Mount("tmpfs", r.dir, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mounting container root: %w", err)
	}
	if err := r.populate(); err != nil {
		return err
	}
	if r.readOnly {
		if err := setReadOnly(r.dir, 0); err != nil {
			return fmt.Errorf("making container root read-only: %w", err)
		}
	}
	// The old root is stacked on the new one by pivoting in place, and then taken off.
	if err := unix.Chdir(r.dir); err != nil {
		return fmt.Errorf("entering container root: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("entering container root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving machine's root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("entering container root: %w", err)
	}
	return nil
}

// populate fills the mounted root.
func (r *rootfs) populate() error {
	mounts := slices.Clone(r.mounts)
	if r.terminating != "" {
		mounts = append(mounts, mount{source: r.terminating, target: r.termination})
	}
	// Places that the image must not cover: where they lie inside one of its directories, that directory is
	// made anew and its other entries are bound one by one.
	keep := map[string]bool{"/proc": true, "/dev": true, "/tmp": true}
	for i, m := range mounts {
		mounts[i].target = resolveIn(r.image, m.target)
		keep[mounts[i].target] = true
	}
	files := map[string]string{}
	for path, content := range r.files {
		path = resolveIn(r.image, path)
		files[path] = content
		keep[path] = true
	}
	if err := r.place("/", keep); err != nil {
		return fmt.Errorf("placing image: %w", err)
	}
	if err := r.system(); err != nil {
		return err
	}
	for path, content := range files {
		full := filepath.Join(r.dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
	}
	slices.SortStableFunc(mounts, func(a, b mount) int { // outer ones first
		return strings.Count(a.target, "/") - strings.Count(b.target, "/")
	})
	for _, m := range mounts {
		if err := bind(m.source, filepath.Join(r.dir, m.target), m.readOnly); err != nil {
			return fmt.Errorf("mounting at %s: %w", m.target, err)
		}
	}
	return nil
}

// place makes the image's directory at path (absolute in the image) appear below the root.
func (r *rootfs) place(path string, keep map[string]bool) error {
	entries, err := os.ReadDir(filepath.Join(r.image, path))
	if err != nil {
		return err
	}
	for _, e := range entries {
		at := filepath.Join(path, e.Name())
		source, target := filepath.Join(r.image, at), filepath.Join(r.dir, at)
		inside := false
		for k := range keep {
			inside = inside || strings.HasPrefix(k, at+"/")
		}
		switch {
		case keep[at] && !inside:
			continue // covered as a whole
		case e.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(source)
			if err == nil {
				err = os.Symlink(to, target)
			}
			if err != nil {
				return err
			}
		case e.IsDir() && inside:
			if err := os.Mkdir(target, 0o755); err != nil {
				return err
			}
			if err := r.place(at, keep); err != nil {
				return err
			}
		default:
			if err := bind(source, target, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// system adds what every Linux program may expect.
func (r *rootfs) system() error {
	for _, d := range []string{"proc", "dev", "dev/shm", "tmp", "etc"} {
		if err := os.MkdirAll(filepath.Join(r.dir, d), 0o755); err != nil {
			return fmt.Errorf("making /%s: %w", d, err)
		}
	}
	for _, d := range []string{"dev/shm", "tmp"} {
		if err := os.Chmod(filepath.Join(r.dir, d), 0o777|fs.ModeSticky); err != nil {
			return fmt.Errorf("making /%s: %w", d, err)
		}
	}
	if err := bind("/proc", filepath.Join(r.dir, "proc"), false); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	for _, d := range devices {
		if err := bind(filepath.Join("/dev", d), filepath.Join(r.dir, "dev", d), false); err != nil {
			return fmt.Errorf("adding device %s: %w", d, err)
		}
	}
	for name, to := range map[string]string{"fd": "fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := os.Symlink("/proc/self/"+to, filepath.Join(r.dir, "dev", name)); err != nil {
			return fmt.Errorf("linking /dev/%s: %w", name, err)
		}
	}
	return nil
}

// bind makes source visible at target, which is created as a file or directory to match.
func bind(source, target string, readOnly bool) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
		var f *os.File
		if f, err = os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); err == nil {
			err = f.Close()
		} else if errors.Is(err, fs.ErrExist) {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("binding %s: %w", source, err)
	}
	if readOnly {
		if err := setReadOnly(target, unix.AT_RECURSIVE); err != nil {
			return fmt.Errorf("making %s read-only: %w", source, err)
		}
	}
	return nil
}

// setReadOnly only adds the flag, so that it works on mounts whose other flags are locked (Linux 5.12).
func setReadOnly(path string, flags uint) error {
	return unix.MountSetattr(unix.AT_FDCWD, path, flags, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}

// resolveIn follows the symbolic links of path as a process with the given root would, and returns the path
// in that root. Components that do not exist stay as they are; links that go in circles are left unresolved.
func resolveIn(root, path string) string {
	done, rest := "/", filepath.Clean("/"+path)
	for links := 0; rest != "" && rest != "/"; {
		name, more, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
		next := filepath.Join(done, name) // ".." at the root stays there
		to, err := os.Readlink(filepath.Join(root, next))
		if err != nil || links == 40 { // the kernel's own limit
			done, rest = next, more
			continue
		}
		links++
		if filepath.IsAbs(to) {
			done = "/"
		}
		rest = to + "/" + more
	}
	return done
}
