// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostctr

import (
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Paths inside of containers, which their images know.
const (
	insideTop  = "/.bottlerocket/"
	insideRoot = insideTop + "rootfs"
)

// mount is a line of the table below. Where several places of the host can give a file, the first that is there does.
type mount struct {
	at      string
	from    []string
	options []string
}

// mounts returns what the container sees of the host below root. What this host does not have is left out, because a
// bind mount of nothing would keep the container from starting; exists tells.
func (c Container) mounts(root func(string) string, exists func(string) bool) []specs.Mount {
	own := insideTop + string(c.Kind) + "-containers/"
	table := []mount{
		{own + c.Name, []string{c.storage()}, []string{"rbind", "rw"}},
		{own + "current", []string{c.storage()}, []string{"rbind", "rw"}},
		{"/run/api.sock", []string{"/run/api.sock"}, []string{"bind", "rw"}},
		{"/usr/local/bin/apiclient", []string{"/usr/bin/apiclient"}, []string{"bind", "ro"}},
		{"/etc/bottlerocket-release", []string{"/etc/os-release", "/usr/lib/os-release"}, []string{"bind", "ro"}},
		{"/var/lib/bottlerocket/inventory/application.json",
			[]string{"/var/lib/bottlerocket/inventory/application.json", "/usr/share/bottlerocket/application-inventory.json"}, []string{"bind", "ro"}},
		{insideTop + "support", []string{"/var/log/support"}, []string{"rbind", "ro"}},
	}
	if c.powerful() {
		table = append(table,
			mount{insideRoot, []string{"/"}, []string{"rbind", "ro"}},
			mount{"/lib/modules", []string{"/lib/modules"}, []string{"rbind", "ro"}},
			mount{"/usr/src/kernels", []string{"/usr/src/kernels"}, []string{"rbind", "rw"}},
			mount{"/usr/local/sbin/modprobe", []string{"/usr/bin/kmod"}, []string{"bind", "exec", "ro"}},
			mount{insideRoot + "/mnt", []string{"/mnt"}, []string{"rbind", "rshared"}},
		)
	}
	if c.Kind == Bootstrap {
		for _, dir := range []string{"/var/lib/containerd", "/var/lib/docker", "/var/lib/kubelet"} {
			table = append(table, mount{insideRoot + dir, []string{dir}, []string{"rbind", "rshared"}})
		}
	}
	list := []specs.Mount{{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "ro"}}}
	if c.powerful() {
		for _, dir := range []string{"/sys/kernel/debug", "/sys/firmware"} { // of the kernel, wherever the root is
			if exists(dir) {
				list = append(list, specs.Mount{Destination: dir, Type: "bind", Source: dir, Options: []string{"rbind"}})
			}
		}
	}
	for _, m := range table {
		if i := slices.IndexFunc(m.from, func(path string) bool { return exists(root(path)) }); i >= 0 {
			list = append(list, specs.Mount{Destination: m.at, Type: "bind", Source: root(m.from[i]), Options: m.options})
		}
	}
	// The network is the host's, and so are its names. A host that is only a directory uses that of its machine.
	for _, path := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		for _, from := range []string{root(path), path} {
			if exists(from) {
				list = append(list, specs.Mount{Destination: path, Type: "bind", Source: from, Options: []string{"rbind", "ro"}})
				break
			}
		}
	}
	return list
}

// powerful containers see the whole host.
func (c Container) powerful() bool { return c.Superpowered || c.Kind == Bootstrap }
