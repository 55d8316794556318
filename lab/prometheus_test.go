// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/drydock-os/drydock/internal/durable"
)

// operatorNamespace is where the lab installs the operator.
const operatorNamespace = "brupop-bottlerocket-aws"

// TestPrometheusReadsWhatTheOperatorTells lets a real Prometheus scrape the pods of a fleet that is being updated,
// load the alert rules and answer every question of the dashboard.
func TestPrometheusReadsWhatTheOperatorTells(t *testing.T) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is not installed; on Debian: apt-get install prometheus")
	}
	t.Parallel()
	cmd, access := startUp(t, "--nodes", "2", "--workload-replicas", "1")
	defer stopUp(t, cmd)
	cfg, err := clientcmd.BuildConfigFromFlags("", access.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client := kubernetes.NewForConfigOrDie(cfg)
	p := startPrometheus(t, program, cfg, client)
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes.Items {
		label := []byte(`{"metadata":{"labels":{"bottlerocket.aws/updater-interface-version":"2.0.0"}}}`)
		if _, err := client.CoreV1().Nodes().Patch(ctx, n.Name, types.MergePatchType, label, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}

	p.until(ctx, t, `sum(brupop_hosts_version{bottlerocket_version="1.21.0"}) == 2`)
	p.until(ctx, t, `sum(drydock_leader) == 1`)
	p.until(ctx, t, `sum(drydock_apiserver_streams) == 2`)
	if n := p.ask(ctx, t, `ALERTS{alertstate="firing"}`); n != 0 {
		t.Errorf("%d alerts fire in a healthy fleet", n)
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	p.get(ctx, t, "/api/v1/rules", &rules)
	if len(rules.Groups) != 1 || len(rules.Groups[0].Rules) < 10 {
		t.Errorf("rules: %+v", rules)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Health != "ok" {
				t.Errorf("rule %s is %s: %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	data, err := os.ReadFile(filepath.Join("..", "deploy", "monitoring", "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			expr := strings.ReplaceAll(target.Expr, "$namespace", ".*")
			n := p.ask(ctx, t, expr)
			// Rates need more samples than there are, and nothing may wait.
			if n == 0 && !strings.Contains(expr, "[") && !strings.Contains(expr, "waiting") {
				t.Errorf("panel %q is empty: %s", panel.Title, expr)
			}
		}
	}
}

type prometheus struct {
	url     string
	targets string // file that lists the pods to scrape
	through string // host and port of the Kubernetes API
	client  kubernetes.Interface
}

// discover lists the pods of the operator, which move from node to node while nodes are updated.
func (p prometheus) discover(ctx context.Context, t *testing.T) {
	t.Helper()
	list, err := p.client.CoreV1().Pods(operatorNamespace).List(ctx, metav1.ListOptions{
		LabelSelector: "brupop.bottlerocket.aws/component in (apiserver, brupop-controller)"})
	if err != nil {
		t.Fatal(err)
	}
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	groups := []group{}
	for _, pod := range list.Items {
		groups = append(groups, group{[]string{p.through}, map[string]string{
			"__metrics_path__": "/api/v1/namespaces/" + pod.Namespace + "/pods/" + pod.Name + ":8080/proxy/metrics",
			"namespace":        pod.Namespace, "pod": pod.Name, "instance": pod.Name,
		}})
	}
	data, err := json.Marshal(groups)
	if err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(p.targets, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// startPrometheus runs a Prometheus that reaches the pods through the Kubernetes API, as it is outside of their network.
func startPrometheus(t *testing.T, program string, cfg *rest.Config, client kubernetes.Interface) prometheus {
	t.Helper()
	if err := rest.LoadTLSFiles(cfg); err != nil {
		t.Fatal(err)
	}
	server, err := url.Parse(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	rules, err := filepath.Abs(filepath.Join("..", "deploy", "monitoring", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, `global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [%s]
scrape_configs:
  - job_name: drydock
    scheme: https
    tls_config: {ca_file: ca.crt, cert_file: tls.crt, key_file: tls.key, server_name: %q}
    file_sd_configs: [{files: [targets.json], refresh_interval: 1s}]
`, rules, cfg.TLSClientConfig.ServerName)
	for name, data := range map[string][]byte{"prometheus.yml": []byte(text.String()), "ca.crt": cfg.CAData, "tls.crt": cfg.CertData, "tls.key": cfg.KeyData} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	cmd := exec.Command(program, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus:\n%s", log.String())
		}
	})
	return prometheus{"http://" + address, filepath.Join(dir, "targets.json"), server.Host, client}
}

// ask returns how many series answer an expression.
func (p prometheus) ask(ctx context.Context, t *testing.T, expr string) int {
	t.Helper()
	var answer struct{ Result []json.RawMessage }
	p.get(ctx, t, "/api/v1/query?query="+url.QueryEscape(expr), &answer)
	return len(answer.Result)
}

// until waits for an expression to hold.
func (p prometheus) until(ctx context.Context, t *testing.T, expr string) {
	t.Helper()
	for p.ask(context.WithoutCancel(ctx), t, expr) == 0 {
		p.discover(context.WithoutCancel(ctx), t)
		select {
		case <-ctx.Done():
			var targets struct {
				ActiveTargets []struct{ ScrapeURL, LastError string }
			}
			p.get(context.WithoutCancel(ctx), t, "/api/v1/targets", &targets)
			t.Fatalf("never true: %s; scraped: %+v", expr, targets)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// get decodes the data of an answer, asking again while Prometheus starts.
func (p prometheus) get(ctx context.Context, t *testing.T, path string, data any) {
	t.Helper()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil && resp.StatusCode == http.StatusServiceUnavailable {
			resp.Body.Close()
			err = fmt.Errorf("not ready")
		}
		if err != nil {
			select {
			case <-ctx.Done():
				t.Fatalf("asking prometheus: %v", err)
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
		resp.Body.Close()
		answer := struct {
			Status, Error string
			Data          any
		}{Data: data}
		if err == nil {
			err = json.Unmarshal(body, &answer)
		}
		if err != nil || answer.Status != "success" {
			t.Fatalf("%s: %v %s", path, err, answer.Error)
		}
		return
	}
}
