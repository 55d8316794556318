// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package logdog

import (
	"maps"
	"slices"
	"strings"
)

const common = `
exec containerd-config containerd --config /etc/containerd/config.toml config dump
exec containerd-config-host containerd --config /etc/host-containerd/config.toml config dump
exec df df -h
exec df-inodes df -hi
exec dmesg dmesg --color=never --nopager
exec iptables-filter iptables -nvL -t filter
exec iptables-nat iptables -nvL -t nat
exec journalctl-boots journalctl --list-boots --no-pager
exec journalctl.errors journalctl -p err -a --no-pager
exec journalctl.log journalctl -a -o short-precise --no-pager
exec signpost signpost status
exec systemd-analyze-blame systemd-analyze --no-pager blame
exec systemd-analyze-critical-chain systemd-analyze --no-pager critical-chain
exec systemd-analyze-plot.svg systemd-analyze plot
file os-release /etc/os-release
file proc-mounts /proc/mounts
glob /var/log/kdump/*
settings settings.json
`

const kubernetes = `
exec kube-status systemctl status kube* -l --no-pager
glob /var/log/aws-routed-eni/ipamd.log
glob /var/log/aws-routed-eni/plugin.log
`

const docker = `
exec docker-info docker info
file docker-daemon.json /etc/docker/daemon.json
`

const ecs = docker + `
file ecs-agent-state.json /var/lib/ecs/data/ecs_agent_data.json
file ecs-config.json /etc/ecs/ecs.config.json
glob /var/log/ecs/*
http ecs-tasks http://localhost:51678/v1/tasks
`

// optional are requests that only hosts with the program have: that others lack it is no failure worth a line.
var optional = map[string]string{"wicked": "exec wicked wicked show all\n"}

func defaults(root, variant string) string {
	list := common
	switch {
	case strings.Contains(variant, "-k8s"):
		list += kubernetes
	case strings.Contains(variant, "-ecs"):
		list += ecs
	case strings.HasSuffix(variant, "-dev"):
		list += docker
	}
	for _, program := range slices.Sorted(maps.Keys(optional)) {
		if _, err := findProgram(root, program); err == nil {
			list += optional[program]
		}
	}
	return list
}
