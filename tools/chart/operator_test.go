// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"sigs.k8s.io/yaml"
)

// The charts of the product, from the root of the repository.
const (
	operator   = "deploy/charts/bottlerocket-update-operator"
	definition = "deploy/charts/bottlerocket-shadow"
)

// objects are rendered objects by "Kind/name".
type objects map[string]map[string]any

// render renders a chart and its hooks with values, given as YAML, over its defaults.
func render(t *testing.T, chart, values string) (objects, error) {
	t.Helper()
	overrides, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := renderWithHooks(&out, filepath.Join("..", "..", chart), "elsewhere", overrides); err != nil {
		return nil, err
	}
	all := objects{}
	for _, text := range strings.Split(out.String(), "\n---\n") {
		var o map[string]any
		if err := yaml.UnmarshalStrict([]byte(text), &o); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if o != nil {
			all[o["kind"].(string)+"/"+at(o, "metadata", "name").(string)] = o
		}
	}
	return all, nil
}

func mustRender(t *testing.T, values string) objects {
	t.Helper()
	all, err := render(t, operator, values)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// at walks down an object; a string is a key, a number an index. It returns nil where the way ends.
func at(o any, path ...any) any {
	for _, p := range path {
		switch key := p.(type) {
		case string:
			m, _ := o.(map[string]any)
			o = m[key]
		case int:
			l, _ := o.([]any)
			if key >= len(l) {
				return nil
			}
			o = l[key]
		}
	}
	return o
}

const (
	agent         = "DaemonSet/brupop-agent"
	apiserver     = "Deployment/brupop-apiserver"
	controller    = "Deployment/brupop-controller-deployment"
	customization = "CustomResourceDefinition/bottlerocketshadows.brupop.bottlerocket.aws"
)

var workloads = []string{agent, apiserver, controller}

// env returns the plain environment variables of a workload.
func env(o objects, workload string) map[string]string {
	vars := map[string]string{}
	list, _ := at(o[workload], "spec", "template", "spec", "containers", 0, "env").([]any)
	for _, v := range list {
		value, _ := at(v, "value").(string)
		vars[at(v, "name").(string)] = value
	}
	return vars
}

func TestValuesOfTheOriginalKeepTheirMeaning(t *testing.T) {
	values, err := os.ReadFile("testdata/values-1.4.0.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := mustRender(t, string(values))
	for name, o := range all {
		if ns := at(o, "metadata", "namespace"); ns != nil && ns != "updates" {
			t.Errorf("%s is in namespace %v", name, ns)
		}
	}
	pod := func(workload string) any { return at(all[workload], "spec", "template", "spec") }
	for _, w := range workloads {
		for what, got := range map[string]any{
			"image":       at(pod(w), "containers", 0, "image"),
			"pull secret": at(pod(w), "imagePullSecrets", 0, "name"),
			"label team":  at(all[w], "spec", "template", "metadata", "labels", "team"),
		} {
			want := map[string]any{"image": "registry.example.com/operator:v9.9.9", "pull secret": "registry", "label team": "platform"}[what]
			if got != want {
				t.Errorf("%s: %s is %v, want %v", w, what, got, want)
			}
		}
	}
	for _, test := range []struct {
		workload string
		path     []any
		want     any
	}{
		{agent, []any{"tolerations", 0, "key"}, "dedicated"},
		{agent, []any{"priorityClassName"}, "agents-first"},
		{controller, []any{"tolerations", 0, "key"}, "control"},
		{controller, []any{"nodeSelector", "pool"}, "control"},
		{controller, []any{"affinity", "podAffinity", "preferredDuringSchedulingIgnoredDuringExecution", 0, "weight"}, 2.0},
		{controller, []any{"affinity", "podAntiAffinity", "preferredDuringSchedulingIgnoredDuringExecution", 0, "weight"}, 3.0},
		{controller, []any{"priorityClassName"}, "brupop-controller-high-priority"},
		{apiserver, []any{"topologySpreadConstraints", 0, "topologyKey"}, "topology.kubernetes.io/zone"},
		{apiserver, []any{"tolerations", 0, "key"}, "api"},
		{apiserver, []any{"nodeSelector", "pool"}, "api"},
		{apiserver, []any{"priorityClassName"}, "api-first"},
		{apiserver, []any{"containers", 0, "ports", 0, "containerPort"}, 9443.0},
		{agent, []any{"containers", 0, "resources", "limits", "cpu"}, "10m"}, // who asks for a limit has it
	} {
		if got := at(pod(test.workload), test.path...); got != test.want {
			t.Errorf("%s %v: %v, want %v", test.workload, test.path, got, test.want)
		}
	}
	for workload, want := range map[string]map[string]string{
		agent: {"APISERVER_SERVICE_PORT": "8443", "EXCLUDE_FROM_LB_WAIT_TIME_IN_SEC": "180", "TRACING_FILTER_DIRECTIVE": "warn"},
		controller: {"MAX_CONCURRENT_UPDATE": "UNLIMITED", "SCHEDULER_CRON_EXPRESSION": "* * 10-12 * * Mon-Fri *",
			"TRACING_FILTER_DIRECTIVE": "debug", "LOGGING_FORMATTER": "json", "LOGGING_ANSI_ENABLED": "false"},
		apiserver: {"APISERVER_INTERNAL_PORT": "9443", "TRACING_FILTER_DIRECTIVE": "info,hyper=off"},
	} {
		got := env(all, workload)
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s: %s is %q, want %q", workload, name, got[name], value)
			}
		}
	}
	if got := env(all, controller); got["UPDATE_WINDOW_START"] != "" {
		t.Error("the default of the older window is rendered, as if there were one")
	}
	service := at(all["Service/brupop-apiserver"], "spec", "ports", 0)
	if at(service, "port") != 8443.0 || at(service, "targetPort") != 9443.0 {
		t.Errorf("ports of the apiserver's Service: %v", service)
	}
	if all["ServiceMonitor/brupop-controller"] == nil {
		t.Error("there is no ServiceMonitor")
	}
}

func TestDefaultsAreThoseOfTheOriginal(t *testing.T) {
	c, err := loader.LoadDir(filepath.Join("..", "..", operator))
	if err != nil {
		t.Fatal(err)
	}
	values, err := chartutil.CoalesceValues(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]any{
		"namespace": "brupop-bottlerocket-aws", "exclude_from_lb_wait_time_in_sec": "0", "max_concurrent_updates": "1",
		"update_window_start": "0:0:0", "update_window_stop": "0:0:0", "scheduler_cron_expression": "* * * * * * *",
		"apiserver_internal_port": "8443", "apiserver_service_port": "443", "logging.formatter": "pretty", "logging.ansi_enabled": "true",
		"logging.controller.tracing_filter": "info", "logging.agent.tracing_filter": "info", "logging.apiserver.tracing_filter": "info",
		"placement.controller.priorityClassName": "brupop-controller-high-priority", "placement.agent.priorityClassName": "",
		"placement.apiserver.priorityClassName": "", "prometheus.controller.serviceMonitor.enabled": false,
		"resources.agent.resources.limits.memory": "50Mi", "resources.agent.resources.requests.cpu": "5m", "resources.agent.resources.requests.memory": "8Mi",
		"resources.apiserver.resources.limits.memory": "256Mi", "resources.apiserver.resources.requests.memory": "40Mi",
		"resources.controller.resources.limits.memory": "256Mi", "resources.controller.resources.requests.cpu": "10m",
		"resources.agent.resources.limits.cpu": nil, // D34: throttled, an agent takes minutes for seconds of work
	} {
		var keys []any
		for k := range strings.SplitSeq(path, ".") {
			keys = append(keys, k)
		}
		if got := at(map[string]any(values), keys...); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

func TestD60TheOlderWindowIsRendered(t *testing.T) {
	got := env(mustRender(t, `{update_window_start: "22:30:0", update_window_stop: "4:0:0"}`), controller)
	_, hasExpression := got["SCHEDULER_CRON_EXPRESSION"]
	if got["UPDATE_WINDOW_START"] != "22:30:0" || got["UPDATE_WINDOW_STOP"] != "4:0:0" || hasExpression {
		t.Errorf("only the window was given: %v", got)
	}
	got = env(mustRender(t, `{update_window_start: "22:30:0", scheduler_cron_expression: "0 0 3 * * *"}`), controller)
	if got["SCHEDULER_CRON_EXPRESSION"] != "0 0 3 * * *" || got["UPDATE_WINDOW_START"] != "" {
		t.Errorf("an expression wins: %v", got)
	}
}

func TestD58PullSecretsInEveryShape(t *testing.T) {
	for _, values := range []string{`image_pull_secrets: [{name: a}]`, "image_pull_secrets: |-\n  - name: a\n"} {
		all := mustRender(t, values)
		for _, w := range workloads {
			if got := at(all[w], "spec", "template", "spec", "imagePullSecrets", 0, "name"); got != "a" {
				t.Errorf("%q: %s pulls with %v", values, w, got)
			}
		}
	}
}

func TestD59SpreadConstraintsGoToTheApiserver(t *testing.T) {
	all := mustRender(t, `placement: {apiserver: {topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]}}`)
	for _, w := range workloads {
		got := at(all[w], "spec", "template", "spec", "topologySpreadConstraints", 0, "topologyKey")
		if (got == "zone") != (w == apiserver) {
			t.Errorf("%s spreads over %v", w, got)
		}
	}
}

func TestFurtherSettings(t *testing.T) {
	all := mustRender(t, `{podAnnotations: {mesh/inject: "false"}, controller: {replicas: 1, extraEnv: [{name: A, value: b}]},
apiserver: {replicas: 5}, scheduler_time_zone: Europe/Berlin, scheduler_window_duration: 4h, count_unavailable_nodes: false,
state_timeouts: {rebooted: 45m}}`)
	for _, w := range workloads {
		if got := at(all[w], "spec", "template", "metadata", "annotations", "mesh/inject"); got != "false" {
			t.Errorf("%s: annotation is %v", w, got)
		}
	}
	if at(all[controller], "spec", "replicas") != 1.0 || at(all[apiserver], "spec", "replicas") != 5.0 {
		t.Error("replicas are not those of the values")
	}
	got := env(all, controller)
	for name, want := range map[string]string{"A": "b", "SCHEDULER_TIME_ZONE": "Europe/Berlin", "SCHEDULER_WINDOW_DURATION": "4h",
		"COUNT_UNAVAILABLE_NODES": "false", "STATE_TIMEOUT_REBOOTED": "45m", "STATE_TIMEOUT_STAGED": "12m"} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

func TestWrongValuesAreRefusedByName(t *testing.T) {
	for values, want := range map[string][]string{
		`exclude_from_lb_wait_time_in_sec: "3O"`:                {"exclude_from_lb_wait_time_in_sec", "3O"},
		`max_concurrent_updates: several`:                       {"max_concurrent_updates", "several"},
		`max_concurrent_updates: 110%`:                          {"max_concurrent_updates", "110%"},
		`max_concurrent_updates: -1`:                            {"max_concurrent_updates"},
		`max_concurent_updates: "2"`:                            {"max_concurent_updates"},
		`scheduler_cron_expression: "*/5 * * * *"`:              {"scheduler_cron_expression"},
		`update_window_start: "25:00:00"`:                       {"update_window_start"},
		`apiserver_internal_port: "http"`:                       {"apiserver_internal_port"},
		`apiserver_service_port: 70000`:                         {"apiserver_service_port"},
		`drain_timeout: 10 minutes`:                             {"drain_timeout"},
		`{tls: {mode: acme}}`:                                   {"tls/mode", "cert-manager"},
		`{logging: {formatter: xml}}`:                           {"logging/formatter", "json"},
		`{placement: {apiservers: {}}}`:                         {"placement", "apiservers"},
		`{placement: {agent: {tolerations: {key: dedicated}}}}`: {"placement/agent/tolerations"},
		`{controller: {replicas: 0}}`:                           {"controller/replicas"},
		`namespace: Updates_Here`:                               {"namespace"},
		`podLabels: {a: 1}`:                                     {"podLabels"},
		`image_pull_secrets: [registry]`:                        {"image_pull_secrets"},
	} {
		_, err := render(t, operator, values)
		if err == nil {
			t.Errorf("%s: was accepted", values)
			continue
		}
		for _, word := range want {
			if !strings.Contains(strings.ReplaceAll(err.Error(), ".", "/"), word) {
				t.Errorf("%s: the error does not say %q: %v", values, word, err)
			}
		}
	}
}

func TestNumbersMayBeWrittenAsNumbers(t *testing.T) {
	got := env(mustRender(t, `{max_concurrent_updates: 3, exclude_from_lb_wait_time_in_sec: 60, logging: {ansi_enabled: false}}`), controller)
	if got["MAX_CONCURRENT_UPDATE"] != "3" || got["LOGGING_ANSI_ENABLED"] != "false" {
		t.Errorf("environment %v", got)
	}
	if got := env(mustRender(t, `max_concurrent_updates: 10%`), controller); got["MAX_CONCURRENT_UPDATE"] != "10%" {
		t.Errorf("environment %v", got)
	}
}

func TestDefinitionIsInstalledByOneChart(t *testing.T) {
	with, without := mustRender(t, ``), mustRender(t, `crds: {install: false}`)
	if without[customization] != nil || len(without) != len(with)-1 {
		t.Error("crds.install does not decide about the definition, and nothing else")
	}
	apart, err := render(t, definition, ``)
	if err != nil {
		t.Fatal(err)
	}
	if len(apart) != 1 || !reflect.DeepEqual(apart[customization], with[customization]) {
		t.Error("the two charts have different definitions")
	}
}

func TestGeneratedFilesAreCurrent(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	for committed, args := range map[string][]string{
		"deploy/bottlerocket-update-operator.yaml": {"-namespace", "brupop-bottlerocket-aws", operator},
		"docs/operator/values.md":                  {"-reference", operator},
		"deploy/rights.txt":                        {"-rights", operator},
	} {
		want, err := os.ReadFile(committed)
		if err != nil {
			t.Fatal(err)
		}
		var got, stderr bytes.Buffer
		if code := run(args, &got, &stderr); code != 0 {
			t.Fatal(stderr.String())
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s is not what 'make generate' writes", committed)
		}
	}
}

func TestBothChartsAreCleanForTheLinter(t *testing.T) {
	for _, chart := range []string{operator, definition} {
		if err := lintChart(filepath.Join("..", "..", chart), "elsewhere"); err != nil {
			t.Errorf("%s: %v", chart, err)
		}
	}
}

func TestSelectorsNeverChange(t *testing.T) {
	want := map[string]string{agent: "agent", apiserver: "apiserver", controller: "brupop-controller"}
	all := mustRender(t, `podLabels: {team: platform}`)
	for _, w := range slices.Sorted(slices.Values(workloads)) {
		got := at(all[w], "spec", "selector", "matchLabels")
		if !reflect.DeepEqual(got, map[string]any{"brupop.bottlerocket.aws/component": want[w]}) {
			t.Errorf("%s selects %v", w, got)
		}
	}
}
