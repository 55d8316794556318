// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"sigs.k8s.io/yaml"
)

// value is what is known of one value of a chart: another one than its default, all that this changes, and what is
// refused. All are YAML.
type value struct {
	set     string
	given   string   // what else has to be set for it to matter
	changes []string // objects that become different, come or go
	shows   string   // what they then say; set itself if empty
	bad     []string // each is refused, with the name of the value
	// silent says why nothing changes in what is rendered without a cluster.
	silent string
}

const (
	job         = releaseNodes
	serviceOfUs = "Service/brupop-apiserver"
	certManager = "tls: {mode: cert-manager}"
	ownSecrets  = "tls: {mode: secret}"
)

var (
	everyPod        = []string{agent, apiserver, controller, job}
	replicasOfThree = []string{agent, apiserver, controller}
	notABool        = []string{`"yes"`, `"true"`, `1`, `[]`}
	notADuration    = []string{`10`, `"10"`, `10 minutes`, `0s`, `0m0s`, `-1m`, `1d`, `""`, `[1m]`, `99999999h`}
	notWholeSeconds = append([]string{`3.5s`, `3.1s`, `2500ms`, `1s500ms`, `0.01m`, `0.001h`, `1000ms1ms`}, notADuration...)
	notAPort        = []string{`0`, `"0"`, `65536`, `"65536"`, `"70000"`, `"99999"`, `-1`, `https`, `443.5`, `""`, `[443]`, `"0443"`}
	notObjects      = []string{`{key: a}`, `text`, `[text]`, `[[]]`, `3`}
	notAMap         = []string{`text`, `[]`, `3`, `true`}
	notStrings      = []string{`{a: 1}`, `{a: [b]}`, `{a: {b: c}}`, `text`, `[a]`}
	notLabels       = append([]string{`{a: "b c"}`, `{a: "-b"}`, `{a: ` + strings.Repeat("b", 64) + `}`}, notStrings...)
	notAName        = []string{`High_Priority`, `"a b"`, `-a`, `5`, `[a]`, `{a: b}`}
	notAnEnv        = []string{`{A: b}`, `[A]`, `[{value: b}]`, `[{name: ""}]`, `[{name: "A B"}]`, `[{name: "A=B"}]`, `text`}
	notText         = []string{`5`, `[a]`, `{a: b}`, `true`}
	notAnInterval   = []string{`15`, `sometimes`, `-1s`, `1.5s`, `[15s]`}
	notATimeOfDay   = []string{`"25:00:00"`, `"1:60:0"`, `"22:30"`, `noon`, `""`, `22`}
)

// values are those of the operator's chart.
var values = map[string]value{
	"namespace": {set: `of-our-own`, changes: []string{"everything"}, bad: []string{`Updates_Here`, `""`, `a.b`, `-a`, `5`, strings.Repeat("a", 64)}},
	"image":     {set: `registry.example.com/x:v9`, changes: everyPod, bad: []string{`"a b"`, `5`, `{repository: a}`}},
	"image_pull_secrets": {set: `[{name: registry-key}]`, shows: "registry-key", changes: everyPod,
		bad: []string{`[registry]`, `[{nom: x}]`, `[{name: ""}]`, `[{name: a, key: b}]`, `{name: a}`, `5`}},
	"crds.install": {set: `false`, shows: "-", changes: []string{customization}, bad: notABool},
	"crds.adopt":   {set: `true`, silent: "it counts where the definition is another release's, see TestTheDefinitionOfAnotherReleaseIsLeftAlone", bad: notABool},
	"max_concurrent_updates": {set: `37%`, changes: []string{controller},
		bad: []string{`several`, `110%`, `0%`, `-1`, `"-1"`, `1.5`, `"1.5"`, `""`, `[1]`, `"99999999999999999999"`, `1e12`}},
	"count_unavailable_nodes": {set: `false`, shows: "-", changes: []string{controller}, bad: notABool},
	"update_cordoned_nodes":   {set: `true`, shows: "-", changes: []string{controller}, bad: notABool},
	"scheduler_cron_expression": {set: `"0 0 3 ? * Mon"`, shows: "0 0 3 ? * Mon", changes: []string{controller},
		bad: []string{`"*/5 * * * *"`, `""`, `"@reboot"`, `always`, `5`, `"a b c d e f g h"`}},
	"scheduler_time_zone": {set: `Europe/Berlin`, changes: []string{controller}, bad: []string{`""`, `5`, `"Europe Berlin"`, `../etc`, `+2`}},
	"scheduler_window_duration": {set: `4h`, changes: []string{controller},
		bad: []string{`4`, `"4"`, `four hours`, `-4h`, `1d`, `0s`, `[4h]`}},
	"update_window_start": {set: `"22:30:0"`, shows: "22:30:0", changes: []string{controller}, bad: notATimeOfDay},
	"update_window_stop":  {set: `"4:30:0"`, shows: "4:30:0", changes: []string{controller}, bad: notATimeOfDay},
	"exclude_from_lb_wait_time_in_sec": {set: `"181"`, shows: "181", changes: []string{agent, controller},
		bad: []string{`"3O"`, `-1`, `"-1"`, `1.5`, `10s`, `""`, `[1]`, `"2147483648"`, `2147483648`}},
	"drain_timeout":             {set: `11m`, changes: replicasOfThree, bad: notADuration},
	"drain_on_timeout":          {set: `force`, changes: []string{apiserver, "ClusterRole/brupop-apiserver-role"}, shows: "-", bad: []string{`wait`, `Force`, `""`, `true`, `5`}},
	"state_timeouts.staged":     {set: `13m`, changes: []string{controller}, bad: notADuration},
	"state_timeouts.rebooted":   {set: `47m`, changes: []string{controller}, bad: slices.DeleteFunc(slices.Clone(notADuration), func(s string) bool { return s == `""` })},
	"state_timeouts.monitoring": {set: `6m`, changes: []string{controller}, bad: notADuration},
	"state_timeouts.idle":       {set: `3m`, changes: []string{controller}, bad: notADuration},
	"apiserver_internal_port":   {set: `"9443"`, shows: "9443", changes: []string{apiserver, serviceOfUs}, bad: notAPort},
	"apiserver_service_port":    {set: `"1443"`, shows: "1443", changes: []string{agent, serviceOfUs, customization}, bad: notAPort},

	"controller.replicas":                     {set: `1`, shows: "replicas: 1", changes: []string{controller}, bad: []string{`0`, `-1`, `"2"`, `1.5`, `two`, `[]`}},
	"controller.leaderElection.leaseDuration": {set: `1m30s`, changes: []string{controller}, bad: notWholeSeconds},
	"controller.leaderElection.renewDeadline": {set: `3.5s`, changes: []string{controller}, bad: notADuration},
	"controller.leaderElection.retryPeriod":   {set: `700ms`, changes: []string{controller}, bad: notADuration},
	"controller.extraEnv":                     {set: `[{name: A_FURTHER_ONE, value: b}]`, shows: "A_FURTHER_ONE", changes: []string{controller}, bad: notAnEnv},
	"apiserver.replicas":                      {set: `5`, shows: "replicas: 5", changes: []string{apiserver}, bad: []string{`0`, `-1`, `"2"`, `1.5`, `two`, `[]`}},
	"apiserver.extraEnv":                      {set: `[{name: A_FURTHER_ONE, value: b}]`, shows: "A_FURTHER_ONE", changes: []string{apiserver}, bad: notAnEnv},
	"agent.extraEnv":                          {set: `[{name: A_FURTHER_ONE, value: b}]`, shows: "A_FURTHER_ONE", changes: []string{agent}, bad: notAnEnv},

	"tls.mode": {set: `cert-manager`, shows: "-", bad: []string{`acme`, `Own`, `""`, `5`, `true`}, changes: []string{
		apiserver, "Role/brupop-apiserver-role", "Issuer/selfsigned-issuer", "Issuer/brupop-root-certificate-issuer",
		"Certificate/brupop-selfsigned-ca", "Certificate/brupop-apiserver-certificate", "Certificate/brupop-apiserver-client-certificate",
	}},
	"tls.certManager.caDuration":    {set: `77777h`, given: certManager, changes: []string{"Certificate/brupop-selfsigned-ca"}, bad: notADuration},
	"tls.certManager.caRenewBefore": {set: `777h`, given: certManager, changes: []string{"Certificate/brupop-selfsigned-ca"}, bad: notADuration},
	"tls.certManager.duration": {set: `999h`, given: certManager, bad: notADuration,
		changes: []string{"Certificate/brupop-apiserver-certificate", "Certificate/brupop-apiserver-client-certificate"}},
	"tls.certManager.renewBefore": {set: `99h`, given: certManager, bad: notADuration,
		changes: []string{"Certificate/brupop-apiserver-certificate", "Certificate/brupop-apiserver-client-certificate"}},
	"tls.secret.server": {set: `of-my-own`, given: ownSecrets, changes: []string{apiserver}, bad: append([]string{`""`}, notAName...)},
	"tls.secret.client": {set: `of-my-own`, given: ownSecrets, changes: []string{agent}, bad: append([]string{`""`}, notAName...)},

	"logging.formatter":                 {set: `json`, changes: everyPod, bad: []string{`xml`, `JSON`, `""`, `5`}},
	"logging.ansi_enabled":              {set: `"false"`, shows: "-", changes: everyPod, bad: []string{`"yes"`, `1`, `""`, `[]`}},
	"logging.controller.tracing_filter": {set: `debug`, changes: []string{controller}, bad: notText},
	"logging.agent.tracing_filter":      {set: `debug`, changes: []string{agent}, bad: notText},
	"logging.apiserver.tracing_filter":  {set: `debug`, changes: []string{apiserver, job}, bad: notText},

	"placement.agent.tolerations":            {set: `[{key: dedicated, operator: Exists}]`, shows: "dedicated", changes: []string{agent}, bad: notObjects},
	"placement.agent.priorityClassName":      {set: `agents-first`, changes: []string{agent}, bad: notAName},
	"placement.controller.tolerations":       {set: `[{key: dedicated, operator: Exists}]`, shows: "dedicated", changes: []string{controller}, bad: notObjects},
	"placement.controller.nodeSelector":      {set: `{pool: control}`, shows: "pool: control", changes: []string{controller}, bad: notLabels},
	"placement.controller.podAffinity":       {set: `{preferredDuringSchedulingIgnoredDuringExecution: []}`, shows: "podAffinity:", changes: []string{controller}, bad: notAMap},
	"placement.controller.podAntiAffinity":   {set: `{preferredDuringSchedulingIgnoredDuringExecution: []}`, shows: "podAntiAffinity:", changes: []string{controller}, bad: notAMap},
	"placement.controller.priorityClassName": {set: `first-of-all`, changes: []string{controller}, bad: notAName},
	"placement.controller.topologySpreadConstraints": {
		set: `[{maxSkew: 2, topologyKey: of-zone, whenUnsatisfiable: ScheduleAnyway}]`, shows: "of-zone", changes: []string{controller}, bad: notObjects},
	"placement.apiserver.tolerations":       {set: `[{key: dedicated, operator: Exists}]`, shows: "dedicated", changes: []string{apiserver, job}, bad: notObjects},
	"placement.apiserver.nodeSelector":      {set: `{pool: api}`, shows: "pool: api", changes: []string{apiserver, job}, bad: notLabels},
	"placement.apiserver.podAffinity":       {set: `{preferredDuringSchedulingIgnoredDuringExecution: []}`, shows: "podAffinity:", changes: []string{apiserver}, bad: notAMap},
	"placement.apiserver.podAntiAffinity":   {set: `{preferredDuringSchedulingIgnoredDuringExecution: [{weight: 77, podAffinityTerm: {topologyKey: z}}]}`, shows: "weight: 77", changes: []string{apiserver}, bad: notAMap},
	"placement.apiserver.priorityClassName": {set: `first-of-all`, changes: []string{apiserver}, bad: notAName},
	"placement.apiserver.topologySpreadConstraints": {
		set: `[{maxSkew: 2, topologyKey: of-zone, whenUnsatisfiable: ScheduleAnyway}]`, shows: "of-zone", changes: []string{apiserver}, bad: notObjects},

	"resources.agent.resources":      {set: `{limits: {memory: 51Mi}}`, shows: "51Mi", changes: []string{agent}, bad: notAMap},
	"resources.apiserver.resources":  {set: `{limits: {memory: 257Mi}}`, shows: "257Mi", changes: []string{apiserver, job}, bad: notAMap},
	"resources.controller.resources": {set: `{limits: {memory: 257Mi}}`, shows: "257Mi", changes: []string{controller}, bad: notAMap},

	"uninstall.releaseNodes": {set: `false`, shows: "-", bad: notABool, changes: []string{
		job, "ServiceAccount/brupop-release-nodes", "ClusterRole/brupop-release-nodes", "ClusterRoleBinding/brupop-release-nodes",
	}},
	"podLabels": {set: `{team: platform}`, shows: "team: platform", changes: everyPod,
		bad: append([]string{`{brupop.bottlerocket.aws/component: mine}`}, notLabels...)}, // by it the parts find each other
	"podAnnotations": {set: `{mesh/inject: "no"}`, shows: "mesh/inject", changes: everyPod, bad: notStrings},

	"prometheus.controller.serviceMonitor.enabled":  {set: `true`, shows: "-", changes: []string{"ServiceMonitor/brupop-controller"}, bad: notABool},
	"prometheus.controller.serviceMonitor.labels":   {set: `{release: prom}`, shows: "release: prom", given: "prometheus: {controller: {serviceMonitor: {enabled: true}}}", changes: []string{"ServiceMonitor/brupop-controller"}, bad: notLabels},
	"prometheus.controller.serviceMonitor.interval": {set: `17s`, given: "prometheus: {controller: {serviceMonitor: {enabled: true}}}", changes: []string{"ServiceMonitor/brupop-controller"}, bad: notAnInterval},
	"prometheus.apiserver.podMonitor.enabled":       {set: `true`, shows: "-", changes: []string{"PodMonitor/brupop-apiserver"}, bad: notABool},
	"prometheus.apiserver.podMonitor.labels":        {set: `{release: prom}`, shows: "release: prom", given: "prometheus: {apiserver: {podMonitor: {enabled: true}}}", changes: []string{"PodMonitor/brupop-apiserver"}, bad: notLabels},
	"prometheus.apiserver.podMonitor.interval":      {set: `17s`, given: "prometheus: {apiserver: {podMonitor: {enabled: true}}}", changes: []string{"PodMonitor/brupop-apiserver"}, bad: notAnInterval},
	"prometheus.rules.enabled":                      {set: `true`, shows: "-", changes: []string{"PrometheusRule/drydock"}, bad: notABool},
	"prometheus.rules.labels":                       {set: `{release: prom}`, shows: "release: prom", given: "prometheus: {rules: {enabled: true}}", changes: []string{"PrometheusRule/drydock"}, bad: notLabels},
	"prometheus.dashboard.enabled":                  {set: `true`, shows: "-", changes: []string{"ConfigMap/drydock-dashboard"}, bad: notABool},
	"prometheus.dashboard.labels":                   {set: `{folder: nodes}`, shows: "folder: nodes", given: "prometheus: {dashboard: {enabled: true}}", changes: []string{"ConfigMap/drydock-dashboard"}, bad: notLabels},

	"nameOverride":     {set: `x`, silent: "names are fixed", bad: []string{`5`, `[]`}},
	"fullnameOverride": {set: `x`, silent: "names are fixed", bad: []string{`5`, `[]`}},
	"global":           {set: `{a: b}`, silent: "it is helm's", bad: []string{`5`, `[]`}},
}

// valuesOfDefinition are those of the chart of the definition alone.
var valuesOfDefinition = map[string]value{
	"namespace":              values["namespace"],
	"apiserver_service_port": {set: `"1443"`, shows: "1443", changes: []string{customization}, bad: notAPort},
	"global":                 values["global"],
}

func TestEveryValueHasItsEffect(t *testing.T) {
	for dir, known := range map[string]map[string]value{operator: values, definition: valuesOfDefinition} {
		checkComplete(t, dir, known)
		for path, v := range known {
			t.Run(path, func(t *testing.T) {
				before := overlay(t, "", "", v.given)
				old, err := render(t, dir, before)
				if err != nil {
					t.Fatal(err)
				}
				now, err := render(t, dir, overlay(t, path, v.set, v.given))
				if err != nil {
					t.Fatal(err)
				}
				changed := differences(old, now)
				if v.silent != "" {
					if len(changed) > 0 {
						t.Errorf("changes %v, though %s", changed, v.silent)
					}
					return
				}
				if slices.Equal(v.changes, []string{"everything"}) {
					v.changes = inNamespaces(old)
				}
				if want := slices.Sorted(slices.Values(v.changes)); !slices.Equal(want, changed) {
					t.Errorf("it changes %v, want %v", changed, want)
				}
				shows := v.shows
				if shows == "" {
					shows = v.set
				}
				for _, name := range changed {
					if shows != "-" && !strings.Contains(text(t, now[name]), shows) || shows != "-" && strings.Contains(text(t, old[name]), shows) {
						t.Errorf("%s does not show %q, or did before", name, shows)
					}
				}
			})
		}
	}
}

func TestEveryWrongValueIsRefusedByName(t *testing.T) {
	log.SetOutput(t.Output()) // helm warns before it refuses
	defer log.SetOutput(os.Stderr)
	for dir, known := range map[string]map[string]value{operator: values, definition: valuesOfDefinition} {
		for path, v := range known {
			if len(v.bad) == 0 {
				t.Errorf("%s: no wrong values are known", path)
			}
			for _, bad := range v.bad {
				_, err := render(t, dir, overlay(t, path, bad, v.given))
				if err == nil {
					t.Errorf("%s: %s is taken", path, bad)
				} else if !strings.Contains(strings.ReplaceAll(err.Error(), "/", "."), path) {
					t.Errorf("%s: %s: the error does not name it: %v", path, bad, err)
				}
			}
		}
	}
}

func TestEveryDefaultOfTheOriginalIsOurs(t *testing.T) {
	const file = "testdata/defaults-1.4.0.yaml"
	original, err := chartutil.ReadValuesFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := render(t, operator, text(t, original)); err != nil {
		t.Errorf("the original's own defaults are refused: %v", err)
	}
	ours := load(t, operator)
	delete(original, "image") // another program
	// D34: a throttled agent takes minutes for seconds of work.
	delete(at(map[string]any(original), "resources", "agent", "resources", "limits").(map[string]any), "cpu")
	defaults, err := chartutil.CoalesceValues(ours, nil)
	if err != nil {
		t.Fatal(err)
	}
	leaves := leavesOf(t, ours)
	var walk func(prefix string, want, got map[string]any)
	walk = func(prefix string, want, got map[string]any) {
		for key, w := range want {
			path := prefix + key
			inner, isMap := w.(map[string]any)
			if isMap && !slices.Contains(leaves, path) {
				g, _ := got[key].(map[string]any)
				walk(path+".", inner, g)
				continue
			}
			if !slices.Contains(leaves, path) {
				t.Errorf("%s: our chart does not know it", path)
			}
			if !reflect.DeepEqual(w, got[key]) {
				t.Errorf("%s: the original has %v, ours %v", path, w, got[key])
			}
		}
	}
	walk("", original, defaults)
}

// A number of a values file is a floating-point number for helm, which a template would print as 1e+06.
func TestLargeNumbersStayNumbers(t *testing.T) {
	all := mustRender(t, `{exclude_from_lb_wait_time_in_sec: 1000000, max_concurrent_updates: 12000000}`)
	if got := env(all, agent)["EXCLUDE_FROM_LB_WAIT_TIME_IN_SEC"]; got != "1000000" {
		t.Errorf("seconds: %q", got)
	}
	if got := env(all, controller); got["EXCLUDE_FROM_LB_WAIT_TIME_IN_SEC"] != "1000000" || got["MAX_CONCURRENT_UPDATE"] != "12000000" {
		t.Errorf("the controller's: %v", got)
	}
}

func load(t *testing.T, dir string) *chart.Chart {
	t.Helper()
	c, err := loader.LoadDir(filepath.Join("..", "..", dir))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// leavesOf are the values of a chart, as its schema has them.
func leavesOf(t *testing.T, c *chart.Chart) []string {
	t.Helper()
	var root schema
	if err := json.Unmarshal(c.Schema, &root); err != nil {
		t.Fatal(err)
	}
	p := page{definitions: root.Definitions}
	var leaves []string
	var walk func(prefix string, s *schema)
	walk = func(prefix string, s *schema) {
		for key, child := range s.Properties {
			resolved, err := p.resolve(child)
			if err != nil {
				t.Fatal(err)
			}
			if len(resolved.Properties) > 0 {
				walk(prefix+key+".", resolved)
				continue
			}
			leaves = append(leaves, prefix+key)
		}
	}
	walk("", &root)
	return leaves
}

// checkComplete holds what is known to what the chart has.
func checkComplete(t *testing.T, dir string, known map[string]value) {
	t.Helper()
	want := leavesOf(t, load(t, dir))
	for _, path := range want {
		if _, ok := known[path]; !ok {
			t.Errorf("%s: what the value %s does, and what it may not be, is not known here", dir, path)
		}
	}
	for path := range known {
		if !slices.Contains(want, path) {
			t.Errorf("%s: there is no value %s", dir, path)
		}
	}
}

// overlay is a values file with one value and what else is given.
func overlay(t *testing.T, path, set, given string) string {
	t.Helper()
	root, err := chartutil.ReadValues([]byte(given))
	if err != nil {
		t.Fatal(err)
	}
	if path == "" {
		return text(t, root)
	}
	var v any
	if err := yaml.Unmarshal([]byte(set), &v); err != nil {
		t.Fatal(err)
	}
	keys := strings.Split(path, ".")
	at := map[string]any(root)
	for _, key := range keys[:len(keys)-1] {
		inner, ok := at[key].(map[string]any)
		if !ok {
			inner = map[string]any{}
			at[key] = inner
		}
		at = inner
	}
	at[keys[len(keys)-1]] = v
	return text(t, root)
}

func text(t *testing.T, v any) string {
	t.Helper()
	out, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// differences names the objects that are not the same in both, in order.
func differences(a, b objects) []string {
	var names []string
	for name := range a {
		if !reflect.DeepEqual(a[name], b[name]) {
			names = append(names, name)
		}
	}
	for name := range b {
		if a[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// inNamespaces names the objects that are in a namespace or speak of one.
func inNamespaces(all objects) []string {
	var names []string
	for name, o := range all {
		if strings.Contains(fmt.Sprint(o), "brupop-bottlerocket-aws") {
			names = append(names, name)
		}
	}
	return names
}

// TestWholeSecondsMayBeWrittenInAnyUnit: what is refused are parts of a second, not ways to write whole ones.
func TestWholeSecondsMayBeWrittenInAnyUnit(t *testing.T) {
	for _, d := range []string{"15s", "1m", "1m30s", "0.5m", "1.25h", "4000ms", "1h0m1s"} {
		got := env(mustRender(t, `{controller: {leaderElection: {leaseDuration: `+d+`}}}`), controller)
		if got["LEASE_DURATION"] != d {
			t.Errorf("%s becomes %q", d, got["LEASE_DURATION"])
		}
	}
}
