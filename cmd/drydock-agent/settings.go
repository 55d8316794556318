// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/cli"
)

// namespaceFile is where a pod with a service account token finds its namespace. The agent's pod may have
// none, because the agent has no business with Kubernetes.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// bootIDFile tells the kernel's boot id, which is not per container.
const bootIDFile = "/proc/sys/kernel/random/boot_id"

// settings is what the environment says.
type settings struct {
	node   string
	url    string
	lbWait time.Duration
	log    *slog.Logger
}

// readSettings checks the whole environment, so that a mistake shows at the start and not in mid-update.
func readSettings(env func(string) string, logs io.Writer) (settings, error) {
	var s settings
	var err error
	if s.log, err = logger(env, logs); err != nil {
		return s, err
	}
	if s.node = env("MY_NODE_NAME"); s.node == "" {
		return s, cli.WithHint(cli.Usagef("MY_NODE_NAME is not set"), "the pod sets it from spec.nodeName")
	}
	value := env("APISERVER_SERVICE_PORT")
	port, err := strconv.ParseUint(value, 10, 16)
	if err != nil || port == 0 {
		return s, cli.Usagef("APISERVER_SERVICE_PORT is %q, but may only be a port from 1 to 65535", value)
	}
	namespace := env("POD_NAMESPACE")
	if namespace == "" {
		data, err := os.ReadFile(namespaceFile)
		if err != nil {
			return s, cli.WithHint(cli.Usagef("finding the operator's namespace: %w", err), "set POD_NAMESPACE")
		}
		namespace = strings.TrimSpace(string(data))
	}
	s.url = fmt.Sprintf("https://%s.%s.svc:%d", agentapi.ServiceName, namespace, port)
	if value := env("EXCLUDE_FROM_LB_WAIT_TIME_IN_SEC"); value != "" {
		seconds, err := strconv.ParseUint(value, 10, 31)
		if err != nil {
			return s, cli.Usagef("EXCLUDE_FROM_LB_WAIT_TIME_IN_SEC is %q, but may only be a whole number of seconds, 0 for no wait", value)
		}
		s.lbWait = time.Duration(seconds) * time.Second
	}
	return s, nil
}

// logger understands the variables that all roles share. There is no colour, whatever LOGGING_ANSI_ENABLED says.
func logger(env func(string) string, w io.Writer) (*slog.Logger, error) {
	if v := env("LOGGING_ANSI_ENABLED"); v != "" && !strings.EqualFold(v, "true") && !strings.EqualFold(v, "false") {
		return nil, cli.Usagef("LOGGING_ANSI_ENABLED is %q, but may only be true or false", v)
	}
	opts := &slog.HandlerOptions{Level: logLevel(env("TRACING_FILTER_DIRECTIVE"))}
	switch v := env("LOGGING_FORMATTER"); v {
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	case "", "full", "compact", "pretty":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	default:
		return nil, cli.Usagef("LOGGING_FORMATTER is %q, but may only be full, compact, pretty or json", v)
	}
}

// logLevel finds the plain level in a list of directives of the original; without one it is info.
func logLevel(directives string) slog.Level {
	level := slog.LevelInfo
	for d := range strings.SplitSeq(directives, ",") {
		switch strings.ToLower(strings.TrimSpace(d)) {
		case "trace", "debug":
			level = slog.LevelDebug
		case "info":
			level = slog.LevelInfo
		case "warn":
			level = slog.LevelWarn
		case "error", "off":
			level = slog.LevelError
		}
	}
	return level
}

// bootID returns the kernel's boot id, "" where it cannot be read.
func bootID() string {
	data, err := os.ReadFile(bootIDFile)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
