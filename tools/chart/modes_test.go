// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestOwnCertificatesNeedNothing(t *testing.T) {
	all := mustRender(t, ``)
	for name := range all {
		if strings.HasPrefix(name, "Issuer/") || strings.HasPrefix(name, "Certificate/") {
			t.Errorf("%s needs cert-manager", name)
		}
	}
	if got := env(all, apiserver)["TLS_MODE"]; got != "own" {
		t.Errorf("TLS_MODE is %q", got)
	}
	volumes, _ := at(all[apiserver], "spec", "template", "spec", "volumes").([]any)
	for _, v := range volumes {
		if at(v, "secret") != nil {
			t.Errorf("the apiserver mounts %v", v)
		}
	}
}

func TestD5CertManagerMakesTheSecretsOfTheContract(t *testing.T) {
	all := mustRender(t, `{tls: {mode: cert-manager}, namespace: updates}`)
	for name, secret := range map[string]string{
		"Certificate/brupop-selfsigned-ca":                "brupop-root-ca-secret",
		"Certificate/brupop-apiserver-certificate":        "brupop-apiserver-certificate",
		"Certificate/brupop-apiserver-client-certificate": "brupop-apiserver-client-certificate",
	} {
		spec := at(all[name], "spec")
		if at(spec, "secretName") != secret {
			t.Errorf("%s makes %v, want %s", name, at(spec, "secretName"), secret)
		}
		for _, explicit := range []any{at(spec, "duration"), at(spec, "renewBefore"), at(spec, "privateKey", "rotationPolicy")} {
			if explicit == nil { // D5
				t.Errorf("%s leaves its lifetime to the version of cert-manager: %v", name, spec)
			}
		}
		if at(spec, "privateKey", "encoding") != "PKCS8" {
			t.Errorf("%s: key is not in the form that the original reads", name)
		}
	}
	if got := at(all["Certificate/brupop-selfsigned-ca"], "spec", "privateKey", "rotationPolicy"); got != "Never" {
		t.Errorf("the authority's key is rotated: %v", got)
	}
	names := fmt.Sprint(at(all["Certificate/brupop-apiserver-certificate"], "spec", "dnsNames"))
	if names != "[brupop-apiserver.updates.svc brupop-apiserver.updates.svc.cluster.local]" {
		t.Errorf("the certificate is for %s", names)
	}
	for _, issuer := range []string{"Issuer/selfsigned-issuer", "Issuer/brupop-root-certificate-issuer"} {
		if all[issuer] == nil {
			t.Errorf("there is no %s", issuer)
		}
	}
	checkSecrets(t, all, "brupop-apiserver-certificate", "brupop-apiserver-client-certificate")
}

func TestSecretsOfYourOwn(t *testing.T) {
	all := mustRender(t, `tls: {mode: secret, secret: {server: mine, client: theirs}}`)
	checkSecrets(t, all, "mine", "theirs")
}

// checkSecrets looks at what apiserver and agents mount when the certificates come from outside.
func checkSecrets(t *testing.T, all objects, server, client string) {
	t.Helper()
	if got := env(all, apiserver)["TLS_MODE"]; got != "files" {
		t.Errorf("TLS_MODE is %q", got)
	}
	pod := at(all[apiserver], "spec", "template", "spec")
	mounts, _ := at(pod, "containers", 0, "volumeMounts").([]any)
	if v := secretVolume(pod, server); v == nil || !slices.ContainsFunc(mounts, func(m any) bool {
		return at(m, "name") == at(v, "name") && at(m, "mountPath") == "/etc/brupop-tls-keys"
	}) {
		t.Errorf("the apiserver mounts %v at %v", at(pod, "volumes"), mounts)
	}
	if pod := at(all[agent], "spec", "template", "spec"); secretVolume(pod, client) == nil {
		t.Errorf("agents do not mount %s: %v", client, at(pod, "volumes"))
	}
	for _, rule := range rights(all) {
		if strings.Contains(rule, "secrets") {
			t.Errorf("nobody has to touch secrets, but %s", rule)
		}
	}
}

// secretVolume is the volume of a pod that holds the secret; nil if there is none.
func secretVolume(pod any, secret string) any {
	volumes, _ := at(pod, "volumes").([]any)
	for _, v := range volumes {
		if at(v, "secret", "secretName") == secret {
			return v
		}
	}
	return nil
}

// rights are the lines that the command writes for a chart with such values.
func rights(all objects) []string {
	var list []map[string]any
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, all[name])
	}
	return rightsOf(list)
}

func TestRightsHaveNoWildcard(t *testing.T) {
	for _, right := range rights(mustRender(t, ``)) {
		if strings.Contains(right, "*") {
			t.Errorf("too much: %s", right)
		}
	}
}

func TestMonitoringIsThereWhenAskedFor(t *testing.T) {
	for name := range mustRender(t, ``) {
		if strings.Contains(name, "Monitor/") || strings.Contains(name, "Rule/") || strings.HasPrefix(name, "ConfigMap/") {
			t.Errorf("nobody asked for %s", name)
		}
	}
	all := mustRender(t, `prometheus: {controller: {serviceMonitor: {enabled: true, labels: {release: prom}, interval: 15s}},
  apiserver: {podMonitor: {enabled: true}}, rules: {enabled: true, labels: {release: prom}}, dashboard: {enabled: true}}`)
	monitor := all["ServiceMonitor/brupop-controller"]
	if at(monitor, "metadata", "labels", "release") != "prom" || at(monitor, "spec", "endpoints", 0, "interval") != "15s" || at(monitor, "spec", "endpoints", 0, "port") != "main" {
		t.Errorf("ServiceMonitor: %v", monitor)
	}
	ports, _ := at(all[apiserver], "spec", "template", "spec", "containers", 0, "ports").([]any)
	port := at(all["PodMonitor/brupop-apiserver"], "spec", "podMetricsEndpoints", 0, "port")
	if !slices.ContainsFunc(ports, func(p any) bool { return at(p, "name") == port }) {
		t.Errorf("the PodMonitor scrapes port %v of %v", port, ports)
	}
	rule := at(all["PrometheusRule/drydock"], "spec", "groups", 0, "rules", 2)
	if summary, _ := at(rule, "annotations", "summary").(string); !strings.Contains(summary, "{{ $value }}") {
		t.Errorf("helm has eaten the rule's template: %v", rule)
	}
	dashboard, _ := at(all["ConfigMap/drydock-dashboard"], "data", "drydock.json").(string)
	if !json.Valid([]byte(dashboard)) || !strings.Contains(dashboard, "{{bottlerocket_version}}") {
		t.Error("the dashboard does not survive the chart")
	}
}
