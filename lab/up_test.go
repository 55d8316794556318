// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/clientcmd"

	brupopv2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/lab/fleet"
)

// startUp starts 'lab up' and returns the ways in that it prints.
func startUp(t *testing.T, args ...string) (*exec.Cmd, *fleet.Access) {
	t.Helper()
	bin := binDir(t)
	cmd := exec.Command(filepath.Join(bin, "lab"), append([]string{"up", "--output", "json"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var progress strings.Builder
	cmd.Stderr = &progress
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	access := &fleet.Access{}
	if err := json.NewDecoder(out).Decode(access); err != nil {
		_ = cmd.Wait()
		t.Fatalf("lab up printed no document: %v\n%s", err, progress.String())
	}
	return cmd, access
}

// stopUp presses Ctrl-C and waits for a clean end.
func stopUp(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("lab up ended with %v", err)
	}
}

func TestUpIsReachableFromOutsideAndLeavesNothing(t *testing.T) {
	t.Parallel()
	cmd, access := startUp(t, "--nodes", "2", "--workload-replicas", "1")

	cfg, err := clientcmd.BuildConfigFromFlags("", access.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	kube := kubernetes.NewForConfigOrDie(cfg)
	nodes, err := kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil || len(nodes.Items) != 2 {
		t.Errorf("listing nodes from outside: %d nodes, %v", len(nodes.Items), err)
	}
	for component, says := range map[string]string{"brupop-controller": "controller started", "apiserver": "msg=ready"} {
		followLogs(ctx, t, kube, component, says)
	}
	os1, err := hostapi.New(access.Hosts[0].Socket).OS(ctx)
	if err != nil || os1.VersionID != "1.20.0" {
		t.Errorf("asking a host's socket: %+v, %v", os1, err)
	}
	settingsCount(ctx, t, access.Hosts[0].Socket)
	resp, err := http.Get(access.Repository + "1.root.json")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	resp.Body.Close()
	if err != nil || !strings.Contains(string(body), `"_type":`) {
		t.Errorf("reading the repository from outside: %v, %.80s", err, body)
	}

	stopUp(t, cmd)
	if _, err := os.Stat(access.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
	if left := processesNaming(t, access.Dir); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
}

// settingsCount checks that a host has booted with its user data, and obeys what is set later.
func settingsCount(ctx context.Context, t *testing.T, socket string) {
	t.Helper()
	api := hostapi.New(socket)
	defer api.Close()
	for _, r := range []struct{ method, path, body string }{
		{http.MethodPatch, "/settings?tx=lock", `{"updates":{"version-lock":"1.20.0"}}`},
		{http.MethodPost, "/tx/commit_and_apply?tx=lock&wait=true", ""},
	} {
		if code, reply, err := api.Do(ctx, r.method, r.path, []byte(r.body)); err != nil || code >= 300 {
			t.Errorf("%s %s: %d %s %v", r.method, r.path, code, reply, err)
		}
	}
	conf, err := os.ReadFile(filepath.Join(filepath.Dir(socket), "..", "etc", "updog.toml"))
	for _, line := range []string{`version_lock = "1.20.0"`, `metadata_base_url = "http://10.0.0.2/`} {
		if err != nil || !strings.Contains(string(conf), line) {
			t.Errorf("the host's settings of updates do not say %s: %v\n%s", line, err, conf)
		}
	}
}

// followLogs reads the log of a pod of the operator as 'kubectl logs -f' does, until it says something.
func followLogs(ctx context.Context, t *testing.T, kube kubernetes.Interface, component, says string) {
	t.Helper()
	pods := kube.CoreV1().Pods(brupopv2.DefaultNamespace)
	name := readyPod(ctx, t, pods, brupopv2.ComponentLabel+"="+component)
	log, err := pods.GetLogs(name, &corev1.PodLogOptions{Follow: true}).Stream(ctx)
	if err != nil {
		t.Errorf("following the log of %s: %v", name, err)
		return
	}
	defer log.Close()
	var read strings.Builder
	for lines := bufio.NewScanner(log); lines.Scan(); {
		if strings.Contains(lines.Text(), says) {
			return
		}
		read.WriteString(lines.Text() + "\n")
	}
	t.Errorf("the log of %s does not say %q:\n%s", name, says, read.String())
}

// readyPod waits for a pod that is ready, and returns its name.
func readyPod(ctx context.Context, t *testing.T, pods typedcorev1.PodInterface, selector string) string {
	t.Helper()
	seen, err := pods.Watch(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	defer seen.Stop()
	for e := range seen.ResultChan() {
		pod, ok := e.Object.(*corev1.Pod)
		if ok && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		}) {
			return pod.Name
		}
	}
	t.Fatalf("no pod of %s became ready: %v", selector, ctx.Err())
	return ""
}

// TestSideBySide runs two labs at the same time; a third one wants the directory of the first.
func TestSideBySide(t *testing.T) {
	t.Parallel()
	first, a := startUp(t, "--nodes", "2", "--without-operator")
	second, b := startUp(t, "--nodes", "2", "--without-operator")
	if a.Dir == b.Dir || a.Repository == b.Repository {
		t.Errorf("two labs share %s or %s", a.Dir, a.Repository)
	}
	out, err := exec.Command(filepath.Join(binDir(t), "lab"), "run", "--dir", a.Dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "is used by another lab") {
		t.Errorf("a lab in a used directory: %v\n%s", err, out)
	}
	port := a.Repository[strings.LastIndex(a.Repository, ":")+1 : len(a.Repository)-1]
	out, err = exec.Command(filepath.Join(binDir(t), "lab"), "up", "--repo-port", port).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "opening port "+port) {
		t.Errorf("a lab on a used port: %v\n%s", err, out)
	}
	stopUp(t, first)
	stopUp(t, second)
}

// TestKilledLabLeavesOnlyItsDirectory: the keeper gets no chance to clean up, and 'lab down' does it.
func TestKilledLabLeavesOnlyItsDirectory(t *testing.T) {
	t.Parallel()
	cmd, access := startUp(t, "--nodes", "2", "--without-operator")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	deadline := time.Now().Add(20 * time.Second)
	for len(processesNaming(t, access.Dir)) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("processes outlive their keeper: %q", processesNaming(t, access.Dir))
		}
		time.Sleep(50 * time.Millisecond)
	}
	if out, err := exec.Command(filepath.Join(binDir(t), "lab"), "down").CombinedOutput(); err != nil {
		t.Fatalf("lab down: %v\n%s", err, out)
	}
	if _, err := os.Stat(access.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory is still there after lab down: %v", err)
	}
}

// processesNaming returns the command lines of all processes that name the directory.
func processesNaming(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		line, err := os.ReadFile(f)
		if err == nil && strings.Contains(string(line), dir) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}
