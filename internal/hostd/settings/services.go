// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package settings

import (
	"slices"
	"strings"

	"github.com/drydock-os/drydock/internal/hostd/store"
)

// service is a part of the system that settings configure.
type service struct {
	name     string
	files    []string // names of configuration files
	commands []string // run in this order once the files are written; words are separated by single blanks
	only     func(Variant) bool
}

// configFile is a file made of settings by a template of the same name.
type configFile struct {
	name, path string
	mode       string // octal; default 0644
	only       func(Variant) bool
}

// Commands restart only what runs already, so that applying everything at boot starts nothing early.
var services = []service{
	{name: "motd", files: []string{"motd"}},
	{name: "updog", files: []string{"updog-toml"}},
	{name: "host-containers", files: []string{"host-containers-toml", "host-ctr-toml"}, commands: []string{"/usr/bin/host-containers"}},
	{name: "bootstrap-containers", files: []string{"bootstrap-containers-toml", "host-ctr-toml"}, commands: []string{"/usr/bin/bootstrap-containers create-containers"}},
	{name: "containerd", files: []string{"containerd-config-toml", "proxy-env"}, commands: []string{"/usr/bin/systemctl try-restart containerd.service"}},
	{name: "host-containerd", files: []string{"host-containerd-config-toml", "proxy-env"}, commands: []string{"/usr/bin/systemctl try-restart host-containerd.service"}},
	{name: "hostname", files: []string{"hostname"}, commands: []string{"/usr/bin/systemctl try-restart set-hostname.service"}},
	{name: "hosts", files: []string{"hosts"}},
	{name: "dns", files: []string{"netdog-toml"}, commands: []string{"/usr/bin/netdog write-resolv-conf"}},
	{name: "ntp", files: []string{"chrony-conf"}, commands: []string{"/usr/bin/systemctl try-reload-or-restart chronyd.service"}},
	{name: "sysctl", files: []string{"corndog-toml"}, commands: []string{"/usr/bin/corndog sysctl"}},
	{name: "lockdown", files: []string{"corndog-toml"}, commands: []string{"/usr/bin/corndog lockdown"}},
	{name: "kernel-modules", files: []string{"modprobe-conf", "modules-load"}, commands: []string{"/usr/bin/systemctl try-restart systemd-modules-load.service"}},
	{name: "aws", files: []string{"aws-config", "aws-credentials"}},
	{name: "kubernetes", only: kubernetes, files: []string{"kubelet-env", "kubelet-config", "kubelet-kubeconfig", "kubernetes-ca-crt",
		"kubelet-server-crt", "kubelet-server-key", "credential-provider-config-yaml", "proxy-env"},
		commands: []string{"/usr/bin/systemctl try-restart kubelet.service"}},
	{name: "static-pods", only: kubernetes, files: []string{"static-pods-toml"}, commands: []string{"/usr/bin/static-pods"}}, // the kubelet sees changes by itself
	{name: "ecs", only: ecs, files: []string{"ecs-config", "proxy-env"},
		commands: []string{"/usr/bin/ecs-settings-applier", "/usr/bin/systemctl try-reload-or-restart ecs.service"}},
}

var configFiles = []configFile{
	{name: "motd", path: "/etc/motd"},
	{name: "updog-toml", path: "/etc/updog.toml"},
	{name: "host-containers-toml", path: "/etc/host-containers/host-containers.toml", mode: "0600"},
	{name: "host-ctr-toml", path: "/etc/host-containers/host-ctr.toml", mode: "0600"},
	{name: "bootstrap-containers-toml", path: "/etc/bootstrap-containers/bootstrap-containers.toml", mode: "0600"},
	{name: "containerd-config-toml", path: "/etc/containerd/config.toml", mode: "0600"},
	{name: "host-containerd-config-toml", path: "/etc/host-containerd/config.toml", mode: "0600"},
	{name: "proxy-env", path: "/etc/network/proxy.env"},
	{name: "hostname", path: "/etc/hostname"},
	{name: "hosts", path: "/etc/hosts"},
	{name: "netdog-toml", path: "/etc/netdog.toml"},
	{name: "chrony-conf", path: "/etc/chrony.conf"},
	{name: "corndog-toml", path: "/etc/corndog.toml"},
	{name: "modprobe-conf", path: "/etc/modprobe.d/modprobe.conf"},
	{name: "modules-load", path: "/etc/modules-load.d/modules-load.conf"},
	{name: "aws-config", path: "/root/.aws/config", mode: "0600"},
	{name: "aws-credentials", path: "/root/.aws/credentials", mode: "0600"},
	{name: "kubelet-env", path: "/etc/kubernetes/kubelet/env", only: kubernetes},
	{name: "kubelet-config", path: "/etc/kubernetes/kubelet/config", mode: "0600", only: kubernetes},
	{name: "kubelet-kubeconfig", path: "/etc/kubernetes/kubelet/kubeconfig", mode: "0600", only: kubernetes},
	{name: "kubernetes-ca-crt", path: "/etc/kubernetes/pki/ca.crt", mode: "0600", only: kubernetes},
	{name: "kubelet-server-crt", path: "/etc/kubernetes/pki/kubelet-server.crt", mode: "0600", only: kubernetes},
	{name: "kubelet-server-key", path: "/etc/kubernetes/pki/private/kubelet-server.key", mode: "0600", only: kubernetes},
	{name: "credential-provider-config-yaml", path: "/etc/kubernetes/kubelet/credential-provider-config.yaml", mode: "0600", only: kubernetes},
	{name: "static-pods-toml", path: "/etc/static-pods.toml", mode: "0600", only: kubernetes},
	{name: "ecs-config", path: "/etc/ecs/ecs.config", only: ecs},
}

// templateDir is where the templates of configuration files are, on the host.
const templateDir = "/usr/share/templates/"

// First segments of keys that are no settings.
const (
	Services           = "services"
	ConfigurationFiles = "configuration-files"
)

// Defaults is what a new store of a variant is filled with.
type Defaults struct {
	Settings map[store.Key]store.Value // default values of settings
	Live     store.Data                // services, configuration files, and metadata of settings
}

// defaultsBuilder remembers the first error, so that each line of declarations can stand for itself.
type defaultsBuilder struct {
	Defaults
	err error
}

func (b *defaultsBuilder) key(segments ...string) store.Key {
	k, err := store.NewKey(segments...)
	if err != nil && b.err == nil {
		b.err = err
	}
	return k
}

func (b *defaultsBuilder) value(v any) store.Value {
	data, err := encode(v)
	if err != nil && b.err == nil {
		b.err = err
	}
	return data
}

// Defaults returns the defaults of the model's variant. Every default value is one that the model accepts.
func (m *Model) Defaults() (Defaults, error) {
	b := &defaultsBuilder{Defaults: Defaults{map[store.Key]store.Value{}, store.NewData()}}
	in := func(only func(Variant) bool) bool { return only == nil || only(m.variant) }
	affected := func(names []string) []string {
		return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
			return !slices.ContainsFunc(services, func(s service) bool { return s.name == name && in(s.only) })
		})
	}
	for _, g := range groups {
		if in(g.only) && len(g.services) > 0 {
			b.Live.SetMetadata(b.key(store.Settings, g.key), store.AffectedServices, b.value(affected(g.services)))
		}
	}
	for _, s := range settings {
		if !in(s.only) {
			continue
		}
		segments := append([]string{store.Settings}, strings.Split(s.key, ".")...)
		if len(s.services) > 0 {
			fixed := slices.Clone(segments)
			if i := slices.IndexFunc(fixed, func(n string) bool { return nameTypes[n].parse != nil }); i >= 0 {
				fixed = fixed[:i] // what is known about a group of names is inherited by each
			}
			b.Live.SetMetadata(b.key(fixed...), store.AffectedServices, b.value(affected(s.services)))
		}
		b.preset(m, segments, s.initial, s.generator)
	}
	for _, p := range presets {
		if segments := append([]string{store.Settings}, strings.Split(p.key, ".")...); in(p.only) && m.knows(segments) {
			b.preset(m, segments, p.initial, p.generator)
		}
	}
	for _, s := range services {
		if in(s.only) {
			b.Live.Values[b.key(Services, s.name, "configuration-files")] = b.value(append([]string{}, s.files...))
			b.Live.Values[b.key(Services, s.name, "restart-commands")] = b.value(append([]string{}, s.commands...))
		}
	}
	for _, f := range configFiles {
		if !in(f.only) {
			continue
		}
		b.Live.Values[b.key(ConfigurationFiles, f.name, "path")] = b.value(f.path)
		b.Live.Values[b.key(ConfigurationFiles, f.name, "template-path")] = b.value(templateDir + f.name)
		if f.mode != "" {
			b.Live.Values[b.key(ConfigurationFiles, f.name, "mode")] = b.value(f.mode)
		}
	}
	return b.Defaults, b.err
}

func (m *Model) knows(segments []string) bool {
	k, err := store.NewKey(segments...)
	if err == nil {
		_, err = m.lookup(k)
	}
	return err == nil
}

// preset adds the default and the generator of one setting.
func (b *defaultsBuilder) preset(m *Model, segments []string, initial func(Variant) any, generator func(Variant) string) {
	if initial != nil {
		if v := initial(m.variant); v != nil {
			b.Settings[b.key(segments...)] = b.value(v)
		}
	}
	if generator != nil {
		if command := generator(m.variant); command != "" {
			b.Live.SetMetadata(b.key(segments...), store.SettingGenerator, b.value(command))
		}
	}
}
