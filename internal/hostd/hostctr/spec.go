// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostctr

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// SELinux labels, on hosts that have it.
const (
	controlLabel = "system_u:system_r:control_t:s0-s0:c0.c1023"
	superLabel   = "system_u:system_r:super_t:s0-s0:c0.c1023"
	selinuxFile  = "/sys/fs/selinux/enforce"
)

// bootCapabilities are what a bootstrap container has beside the default, so that it can prepare disks and modules.
var bootCapabilities = []string{"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_CHROOT", "CAP_SYS_MODULE", "CAP_AUDIT_CONTROL"}

// proxyNames are passed on from the environment of this program.
var proxyNames = []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"}

// options make the container's specification, in this order: later ones see what earlier ones did.
func (r *Runtime) options(c Container, image oci.Image) []oci.SpecOpts {
	_, err := os.Stat(selinuxFile)
	selinux := err == nil
	opts := []oci.SpecOpts{
		oci.WithImageConfig(image),
		oci.WithEnv(proxies(r.cfg.Environ)),
		oci.WithHostNamespace(specs.NetworkNamespace),
		oci.WithCgroup(r.cgroup(c.ID())),
	}
	switch {
	case c.Kind == Bootstrap:
		opts = append(opts,
			oci.WithHostNamespace(specs.PIDNamespace),
			oci.WithAddedCapabilities(bootCapabilities),
			label(selinux, controlLabel),
			sharedRoot, withoutMask("/sys/firmware"),
			seccomp.WithDefaultProfile(), // allows what the capabilities are for, so it comes after them
			allow("swapon", "swapoff"),
		)
	case c.Superpowered:
		opts = append(opts,
			oci.WithHostNamespace(specs.PIDNamespace),
			oci.WithPrivileged, oci.WithNewPrivileges,
			oci.WithAllDevicesAllowed, oci.WithHostDevices,
			label(selinux, superLabel),
			sharedRoot,
		)
	default:
		opts = append(opts, label(selinux, controlLabel), seccomp.WithDefaultProfile())
	}
	// After the privileges, because these make the control groups writable, which they are for nobody.
	return append(opts, oci.WithMounts(c.mounts(r.path, exists)))
}

// cgroup is where the processes of a container are counted, and all killed when they must. Hosts that are directories
// share those of their machine, and may have containers of one name.
func (r *Runtime) cgroup(id string) string {
	if r.cfg.Root == "/" {
		return "/" + r.cfg.Namespace + "/" + id // containerd's own choice
	}
	sum := sha256.Sum256([]byte(r.cfg.Root))
	return fmt.Sprintf("/%s-%s-%x", r.cfg.Namespace, id, sum[:6])
}

func (r *Runtime) path(path string) string { return filepath.Join(r.cfg.Root, path) }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func proxies(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(e string) bool {
		name, value, _ := strings.Cut(e, "=")
		return value == "" || !slices.Contains(proxyNames, name)
	})
}

func label(selinux bool, text string) oci.SpecOpts {
	if !selinux {
		return func(context.Context, oci.Client, *containers.Container, *oci.Spec) error { return nil }
	}
	return oci.WithSelinuxLabel(text)
}

// sharedRoot lets mounts below rshared ones reach the host, and those of the host the container.
func sharedRoot(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
	s.Linux.RootfsPropagation = "rshared"
	return nil
}

// withoutMask shows a path that containers do not see by default.
func withoutMask(path string) oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		is := func(p string) bool { return p == path }
		s.Linux.MaskedPaths = slices.DeleteFunc(s.Linux.MaskedPaths, is)
		s.Linux.ReadonlyPaths = slices.DeleteFunc(s.Linux.ReadonlyPaths, is)
		return nil
	}
}

// allow adds system calls to a profile.
func allow(calls ...string) oci.SpecOpts {
	return func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		s.Linux.Seccomp.Syscalls = append(s.Linux.Seccomp.Syscalls, specs.LinuxSyscall{Names: calls, Action: specs.ActAllow})
		return nil
	}
}
