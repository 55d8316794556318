// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/cli"
)

// jwt has the form of a service account token; its parts say {"alg":"none"} and {"sub":"nobody"}.
const jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJub2JvZHkifQ.c2lnbmF0dXJl"

func TestTextsAreRedacted(t *testing.T) {
	tests := []struct{ in, want string }{
		{"token " + jwt + " expired", "token REDACTED expired"},
		{"Authorization: Bearer abcdefgh123", "Authorization: Bearer REDACTED"},
		{"GET https://me:hunter2@repo.example/x", "GET https://me:REDACTED@repo.example/x"},
		{`{"msg":"x","token":"abc","n":1}`, `{"msg":"x","token":"REDACTED","n":1}`},
		{`{\"password\": \"abc def\"}`, `{\"password\": \"REDACTED\"}`},
		{"--repo-password=hunter2 --verbose", "--repo-password=REDACTED --verbose"},
		{"aws_secret_access_key=AKIA/x+y", "aws_secret_access_key=REDACTED"},
		{"password: correcthorse", "password: REDACTED"},
		{"api-key: 0123456789", "api-key: REDACTED"},
		{"a\n-----BEGIN EC PRIVATE KEY-----\nMHc\n-----END EC PRIVATE KEY-----\nb", "a\nREDACTED\nb"},
		{"cut: -----BEGIN PRIVATE KEY-----\nMHc", "cut: REDACTED"},
		// What people need to read stays.
		{`volume "agent-token": failed to fetch a token of the service account`, `volume "agent-token": failed to fetch a token of the service account`},
		{"reading secret: not found", "reading secret: not found"},
		{"https://node-1:10250/logs", "https://node-1:10250/logs"},
		{"Ready 2026-03-01T12:00:00Z key of the queue", "Ready 2026-03-01T12:00:00Z key of the queue"},
	}
	for _, tt := range tests {
		if got := redactText(tt.in); got != tt.want {
			t.Errorf("redactText(%q)\n = %q\nwant %q", tt.in, got, tt.want)
		}
	}
}

// unpack returns the files of a bundle by their name below its folder.
func unpack(t *testing.T, r io.Reader) map[string]string {
	t.Helper()
	zr, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		folder, name, _ := strings.Cut(h.Name, "/")
		if folder != "drydock-support-20260301-120000" || h.Mode != 0o600 {
			t.Errorf("%s has mode %o", h.Name, h.Mode)
		}
		files[name] = string(data)
	}
}

// secretive is a fleet with something secret in every place where one may be.
func secretive(t *testing.T) *world {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: testNamespace, Name: "agent-1", Labels: map[string]string{v2.ComponentLabel: "agent"},
			Annotations: map[string]string{
				corev1.LastAppliedConfigAnnotation: `{"env":[{"name":"REPO_TOKEN","value":"hush-applied"}]}`,
				"example.com/api-key":              "hush-annotation", "example.com/team": "platform",
			},
		},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{{Name: "init", Args: []string{"--password", "hush-argument", "--client-secret=hush-flag"}}},
			Containers: []corev1.Container{{Name: "brupop", Env: []corev1.EnvVar{
				{Name: "REPO_TOKEN", Value: "hush-token"}, {Name: "clientSecret", Value: "hush-secret"}, {Name: "DB_PASSWORD", Value: "hush-password"},
				{Name: "SIGNING_KEY", Value: "hush-key"}, {Name: "HTTPS_PROXY", Value: "http://me:hush-proxy@proxy.example"}, {Name: "LOG_LEVEL", Value: "debug"},
			}}},
		},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "brupop", RestartCount: 1}}},
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: testNamespace, Name: "brupop-root-ca-secret"},
		StringData: map[string]string{"tls.key": "hush-ca"},
	}
	stranger := pod.DeepCopy()
	stranger.Name, stranger.Labels, stranger.Spec.NodeName = "stranger", nil, "hush-stranger"
	n := node("a")
	n.Annotations = map[string]string{"example.com/note": "hush-node"}
	n.Status.Addresses = []corev1.NodeAddress{{Address: "hush-address"}}
	leak := event("1", "Node", "a", 0, "x", "Failed", "cannot log in with token="+"hush-event")
	w := newWorld(t, append(operator("1", "a"), n, failed("a", "GET https://me:hush-url@repo.example: 403"), pod, stranger, secret, leak)...)
	w.cluster.logs = func(_ context.Context, pod, container string, previous bool) (io.ReadCloser, error) {
		if pod == "controller-1" {
			return nil, errors.New("the kubelet does not answer")
		}
		text := "started " + container + "\nAuthorization: Bearer hush-bearer-1\ntoken=hush-log\n" + jwt + "\n"
		if previous {
			text = "before the restart\n"
		}
		return io.NopCloser(strings.NewReader(text)), nil
	}
	return w
}

func TestBundleHoldsWhatHelpsAndNoSecrets(t *testing.T) {
	r := secretive(t).run(t, "support-bundle", "--file", "-")
	if r.err != nil {
		t.Fatal(r.err)
	}
	files := unpack(t, strings.NewReader(r.stdout))
	for name, data := range files {
		if strings.Contains(data, "hush") || strings.Contains(data, jwt) {
			t.Errorf("%s gives a secret away:\n%s", name, data)
		}
	}
	for name, want := range map[string]string{
		"about.yaml":                       "the kubelet does not answer",
		"status.txt":                       "1 node: 1 failed; at most 1 at once",
		"plan.txt":                         "BackOff",
		"shadows.yaml":                     "kind: BottlerocketShadow",
		"nodes.yaml":                       v2.UpdaterInterfaceLabel,
		"deployments.yaml":                 "name: brupop-controller-deployment",
		"daemonsets.yaml":                  "",
		"pods.yaml":                        "value: debug",
		"leases.yaml":                      "holderIdentity",
		"events.yaml":                      "",
		"events-nodes.yaml":                "cannot log in with token=REDACTED",
		"logs/agent-1/init.log":            "started init",
		"logs/agent-1/brupop.log":          "started brupop",
		"logs/agent-1/brupop.previous.log": "before the restart",
	} {
		data, ok := files[name]
		if !ok || !strings.Contains(data, want) {
			t.Errorf("%s is %q, want %q in it", name, data, want)
		}
		delete(files, name)
	}
	for name := range files {
		t.Errorf("%s is in the bundle, too", name)
	}
	if !strings.Contains(r.stderr, "left out: log of controller-1/brupop") {
		t.Errorf("stderr %q, want it to name what is missing", r.stderr)
	}
}

func TestBundleIsAFileOfItsOwnersOnly(t *testing.T) {
	t.Chdir(t.TempDir())
	w := fleetOfFive(t)
	r := w.run(t, "support-bundle")
	const name = "drydock-support-20260301-120000.tar.gz"
	if r.err != nil || r.stdout != name+"\n" {
		t.Fatalf("error %v, stdout %q, want the name of the file", r.err, r.stdout)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file %v, %v, want mode 0600", info, err)
	}
	if again := w.run(t, "support-bundle"); again.err == nil || !strings.Contains(cli.Hint(again.err), "--file") {
		t.Errorf("a second one: %v, want it refused", again.err)
	}
}

func TestNoBundleWithoutACluster(t *testing.T) {
	t.Chdir(t.TempDir())
	w := fleetOfFive(t)
	w.cluster.serverVersion = func(context.Context) (string, error) { return "", context.DeadlineExceeded }
	if r := w.run(t, "support-bundle"); r.err == nil || !strings.Contains(r.err.Error(), "no cluster reachable") {
		t.Errorf("error %v, want that the cluster cannot be reached", r.err)
	}
	if left, err := os.ReadDir("."); err != nil || len(left) != 0 {
		t.Errorf("files %v, %v, want none", left, err)
	}
}

// TestTheClusterIsFoundAsKubectlFindsIt goes through the flags, without sending anything.
func TestTheClusterIsFoundAsKubectlFindsIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(`
apiVersion: v1
kind: Config
current-context: one
clusters: [{name: one, cluster: {server: "https://one.example"}}, {name: two, cluster: {server: "https://two.example"}}]
users: [{name: me, user: {token: abc}}]
contexts: [{name: one, context: {cluster: one, user: me, namespace: elsewhere}}, {name: two, context: {cluster: two, user: me}}]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(clientcmd.RecommendedConfigPathEnvVar, filepath.Join(t.TempDir(), "none"))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	tests := []struct {
		args            []string
		host, namespace string
		err, hint       string
	}{
		{args: []string{"--kubeconfig", file}, host: "https://one.example", namespace: v2.DefaultNamespace},
		{args: []string{"--kubeconfig", file, "--context", "two", "-n", "updates"}, host: "https://two.example", namespace: "updates"},
		{args: []string{"--kubeconfig", file, "-s", "https://three.example"}, host: "https://three.example", namespace: v2.DefaultNamespace},
		{args: []string{"--kubeconfig", file, "--context", "none"}, err: "none", hint: "get-contexts"},
		{args: []string{"--kubeconfig", file + "-gone"}, err: "no such file", hint: "--kubeconfig"},
		{err: "no cluster is configured", hint: "KUBECONFIG"},
	}
	for _, tt := range tests {
		w := &world{}
		tool := newTool(w.config(io.Discard, io.Discard))
		all := commands(tool)
		status := all[slices.IndexFunc(all, func(c *cobra.Command) bool { return c.Name() == "status" })]
		if err := status.ParseFlags(tt.args); err != nil {
			t.Fatal(err)
		}
		c, err := tool.connectByFlags()
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(cli.Hint(err), tt.hint) {
				t.Errorf("%v: error %v with hint %q, want %q and %q", tt.args, err, cli.Hint(err), tt.err, tt.hint)
			}
			continue
		}
		if err != nil || c.host != tt.host || c.namespace != tt.namespace || c.rest.UserAgent != "drydock/0.1.0" {
			t.Errorf("%v: %+v, %v, want %s and namespace %s", tt.args, c, err, tt.host, tt.namespace)
		}
	}
}

func TestEveryWriteOfTheBundleCounts(t *testing.T) {
	full := errors.New("no space left")
	w := &failingWriter{room: 100, err: full}
	if err := writeBundle(w, "x", noon, []entry{{"a", bytes.Repeat([]byte("ab1"), 1<<18)}}); !errors.Is(err, full) {
		t.Errorf("error %v, want %v", err, full)
	}
}

type failingWriter struct {
	room int
	err  error
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.room -= len(p); w.room < 0 {
		return 0, w.err
	}
	return len(p), nil
}
