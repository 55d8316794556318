// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/logging"
	"github.com/drydock-os/drydock/internal/setting"
	"github.com/drydock-os/drydock/internal/termination"
)

// namespaceFile is where a pod with a service account token finds its namespace. The agent's pod may have
// none, because the agent has no business with Kubernetes.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// bootIDFile tells the kernel's boot id, which is not per container.
const bootIDFile = "/proc/sys/kernel/random/boot_id"

// settings is what the environment says.
type settings struct {
	node      string
	port      uint16
	namespace string
	lbWait    time.Duration
	drain     time.Duration
	interval  time.Duration
	log       logging.Config
}

// table declares the environment.
func (s *settings) table() []setting.Setting {
	return append([]setting.Setting{
		{
			Name: "MY_NODE_NAME", Required: true, Meaning: "node this agent runs on",
			Allowed: "the name of a node, as the pod sets it from spec.nodeName", Set: setting.Into(&s.node, setting.ObjectName),
		},
		{
			Name: "APISERVER_SERVICE_PORT", Required: true, Meaning: "port of the apiserver's Service",
			Allowed: setting.APort, Set: setting.Into(&s.port, setting.Port),
		},
		{
			Name: "POD_NAMESPACE", Meaning: "namespace of the operator; that of the pod if unset",
			Allowed: setting.ANamespace, Set: setting.Into(&s.namespace, setting.Namespace),
		},
		{
			Name: "EXCLUDE_FROM_LB_WAIT_TIME_IN_SEC", Fallback: "0", Meaning: "seconds out of load balancers before a drain, 0 to stay in them",
			Allowed: setting.ASeconds, Set: setting.Into(&s.lbWait, setting.Seconds),
		},
		{
			Name: "DRAIN_TIMEOUT", Fallback: "10m", Meaning: "that of the apiserver: the agent waits one and a half times as long, so that a drain that was cut can be repeated",
			Allowed: setting.ADuration, Set: setting.Into(&s.drain, setting.Duration),
		},
		{
			Name: "UPDATE_CHECK_INTERVAL", Fallback: "2m", Meaning: "time between two looks for updates, give or take a tenth",
			Allowed: "a time from 10s to 24h", Set: setting.Into(&s.interval, checkInterval),
		},
		termination.Setting(),
	}, s.log.Settings("agent")...)
}

// checkInterval spares the repository, and bounds how late an update is noticed.
func checkInterval(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err == nil && (d < 10*time.Second || d > 24*time.Hour) {
		return 0, fmt.Errorf("%v is out of range", d)
	}
	return d, err
}

// readSettings checks the whole environment, so that a mistake shows at the start and not in mid-update.
func readSettings(env setting.Env) (settings, error) {
	var s settings
	if err := setting.Apply(env, s.table()); err != nil {
		return s, err
	}
	if s.namespace == "" {
		data, err := os.ReadFile(namespaceFile)
		if err != nil {
			return s, cli.WithHint(cli.Usagef("finding the operator's namespace: %w", err), "set POD_NAMESPACE")
		}
		s.namespace = strings.TrimSpace(string(data))
	}
	return s, nil
}

// url is where the apiserver is.
func (s *settings) url() string {
	return fmt.Sprintf("https://%s.%s.svc:%d", agentapi.ServiceName, s.namespace, s.port)
}

// drainTimeout bounds all tries to drain together: one of them may take as long as the apiserver's own limit, or half
// as long again where it forces.
func (s *settings) drainTimeout() time.Duration { return s.drain + s.drain/2 }

// bootID returns the kernel's boot id, "" where it cannot be read.
func bootID() string {
	data, err := os.ReadFile(bootIDFile)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
