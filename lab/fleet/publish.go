// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/lab/machine"
)

// variant is what the lab's images are called. Hosts of it have no cloud to ask at boot, and leave the kubelet alone: the
// lab's takes no settings, and would be looked for at an address that all hosts share.
const variant = "metal-dev"

// headerLimit bounds how long a client of the repository may take to say what it wants.
const headerLimit = 10 * time.Second

// repository is the published repository and its web server.
type repository struct {
	dir    string
	server *http.Server
	done   chan struct{}
}

func (r *repository) address() string { return net.JoinHostPort(repoAddress.String(), "80") }

// url is where the hosts find the repository.
func (r *repository) url() string { return "http://" + repoAddress.String() + "/" }

// publish makes the keys, the images of both versions, the signed repository and a disk of the old
// version, all with imgtool as a publisher would, and serves the repository.
func (l *Lab) publish(ctx context.Context) error {
	repo, keys := filepath.Join(l.cfg.Dir, "repository"), filepath.Join(l.cfg.Dir, "keys")
	if err := l.imgtool(ctx, "repo", "init", "--repo", repo, "--keys", keys); err != nil {
		return err
	}
	for _, version := range []string{l.cfg.From, l.cfg.To} {
		images := filepath.Join(l.cfg.Dir, "images", version)
		args := []string{
			"image", "--variant", variant, "--arch", arch(), "--version", version,
			"--size", FormatSize(l.cfg.ImageSize), "--out", images,
			"--file", "usr/bin/hostd=" + l.cfg.Binaries.Hostd,
			"--file", "usr/bin/apiclient=" + l.cfg.Binaries.Hostd, // the same program by another name
			"--file", "usr/share/updog/root.json=" + filepath.Join(repo, "root.json"),
		}
		if version == l.cfg.From {
			args = append(args, "--disk", l.masterDisk())
		}
		if err := l.imgtool(ctx, args...); err != nil {
			return err
		}
		if err := l.imgtool(ctx, "repo", "publish", "--repo", repo, "--keys", keys,
			"--variant", variant, "--arch", arch(), "--version", version, "--images", images); err != nil {
			return err
		}
	}
	for _, f := range l.cfg.Faults {
		if f.Action == FlipByte {
			if err := flipByte(repo, l.cfg.To); err != nil {
				return err
			}
			l.display.say("fault: flipped one byte of the published root image %s", l.cfg.To)
		}
	}
	l.repo = &repository{dir: repo}
	return l.serve(ctx)
}

// serve starts the web server: static files, which is all that a repository needs.
func (l *Lab) serve(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.repo.address())
	if err != nil {
		return fmt.Errorf("serving the repository: %w", err)
	}
	r := l.repo
	r.done = make(chan struct{})
	r.server = &http.Server{Handler: http.FileServer(http.Dir(r.dir)), ReadHeaderTimeout: headerLimit}
	l.spawn("the repository's web server", func() error {
		defer close(r.done)
		if err := r.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return nil
}

func (r *repository) close() {
	if r.server != nil {
		_ = r.server.Close() // readers are on this machine and are ending too
		<-r.done
	}
}

// imgtool runs the publisher's tool; what it prints becomes part of the error when it fails.
func (l *Lab) imgtool(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, l.cfg.Binaries.Imgtool, args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("running imgtool %s: %w: %s", args[0], err, strings.TrimSpace(output.String()))
	}
	l.cfg.Log.Debug("imgtool done", "args", args)
	return nil
}

// flipByte damages the published root image of the version in the middle.
func flipByte(repo, version string) error {
	found, err := filepath.Glob(filepath.Join(repo, "targets", "*-v"+version+"-root.erofs.lz4"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("damaging the image of %s: found %d root images", version, len(found))
	}
	f, err := os.OpenFile(found[0], os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("damaging the image: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("damaging the image: %w", err)
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, info.Size()/2); err != nil {
		return fmt.Errorf("damaging the image: %w", err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, info.Size()/2); err != nil {
		return fmt.Errorf("damaging the image: %w", err)
	}
	return f.Sync()
}

func (l *Lab) masterDisk() string { return filepath.Join(l.cfg.Dir, "disk.img") }

// makeDisk gives a host its own copy of the disk, and user data that tells it its name and where updates come from.
func (l *Lab) makeDisk(ctx context.Context, m *machine.Machine, name string, seed int) error {
	local := filepath.Join(m.Root(), "local")
	if err := os.MkdirAll(local, 0o755); err != nil {
		return err
	}
	if err := copySparse(ctx, l.masterDisk(), m.Disk()); err != nil {
		return err
	}
	data, err := toml.Marshal(map[string]any{"settings": map[string]any{
		"network": map[string]any{"hostname": name},
		"updates": map[string]any{
			"metadata-base-url": l.repo.url() + variant + "/" + arch() + "/",
			"targets-base-url":  l.repo.url() + "targets/",
			"seed":              seed,
		},
	}})
	if err != nil {
		return fmt.Errorf("writing user data: %w", err)
	}
	return os.WriteFile(filepath.Join(local, "user-data-defaults.toml"), data, 0o600)
}

// copySparse copies a file's data and leaves its holes out.
func copySparse(ctx context.Context, from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := out.Truncate(info.Size()); err != nil {
		return err
	}
	for end := int64(0); ctx.Err() == nil; {
		start, err := in.Seek(end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return out.Close() // nothing but holes from here on
		}
		if err != nil {
			return fmt.Errorf("finding data of %s: %w", from, err)
		}
		if end, err = in.Seek(start, unix.SEEK_HOLE); err != nil {
			return fmt.Errorf("finding holes of %s: %w", from, err)
		}
		if _, err := in.Seek(start, io.SeekStart); err != nil {
			return err
		}
		if _, err := out.Seek(start, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.CopyN(out, in, end-start); err != nil {
			return fmt.Errorf("copying %s: %w", from, err)
		}
	}
	return ctx.Err()
}

// arch is this machine's architecture by the name that images use.
func arch() string {
	if runtime.GOARCH == "arm64" {
		return "aarch64"
	}
	return "x86_64"
}
