// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/drydock-os/drydock/lab/network"
	"github.com/drydock-os/drydock/lab/network/networktest"
)

// The image reference of the tests' helper program.
const helperImage = "registry.example/helper"

func TestMain(m *testing.M) {
	code := networktest.Main(m)
	removeCluster()
	os.Exit(code)
}

// removeCluster ends the shared control plane and removes its files. It does nothing if none was started.
var removeCluster = func() {}

// cluster is what all tests of the package share, because a control plane takes seconds to start: an API
// server, the network and the helper's image. It ends with the pid namespace of the tests.
type cluster struct {
	config *rest.Config
	env    *envtest.Environment
	client kubernetes.Interface
	net    *network.Network
	image  string

	authority *authority // of kubelets and who asks them
}

var startCluster = sync.OnceValues(func() (*cluster, error) {
	env := &envtest.Environment{}
	args := env.ControlPlane.GetAPIServer().Configure()
	args.Set("authorization-mode", "Node,RBAC")
	args.Append("enable-admission-plugins", "NodeRestriction")
	args.Set("advertise-address", "192.168.77.1") // a namespace without routes has no address to guess
	dir, err := os.MkdirTemp("", "kubelet-test")
	if err != nil {
		return nil, err
	}
	removeCluster = func() {
		if err := errors.Join(env.Stop(), os.RemoveAll(dir)); err != nil {
			fmt.Fprintln(os.Stderr, "removing the tests' cluster:", err)
		}
	}
	authority, err := newAuthority()
	if err != nil {
		return nil, err
	}
	flags, err := authority.apiserverFlags(dir)
	if err != nil {
		return nil, err
	}
	for name, value := range flags {
		args.Set(name, value)
	}
	config, err := env.Start()
	if err != nil {
		return nil, fmt.Errorf("starting control plane: %w", err)
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	image := filepath.Join(dir, "image")
	build := exec.Command("go", "build", "-o", filepath.Join(image, "bin", "helper"), "./testdata/helper")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building helper: %w\n%s", err, out)
	}
	for path, content := range map[string]string{"etc/issue": "helper image\n", "etc/hosts": "wrong\n"} {
		if err := os.MkdirAll(filepath.Join(image, filepath.Dir(path)), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(image, path), []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	if err := os.Symlink("/run", filepath.Join(image, "var")); err != nil { // a link in the way of mount points
		return nil, err
	}
	net, err := network.New(network.Config{
		PodCIDR:     netip.MustParsePrefix("10.244.0.0/16"),
		ServiceCIDR: netip.MustParsePrefix("10.0.0.0/24"), // the API server's default
		DNS:         netip.MustParseAddr("10.0.0.10"),
	})
	if err != nil {
		return nil, err
	}
	return &cluster{config: config, env: env, client: client, net: net, image: image, authority: authority}, nil
})

// newCluster returns the shared cluster with a namespace for one test.
func newCluster(t *testing.T) (*cluster, string) {
	t.Helper()
	networktest.Need(t)
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Skip("needs a control plane: set KUBEBUILDER_ASSETS")
	}
	c, err := startCluster()
	if err != nil {
		t.Fatal(err)
	}
	ns, err := c.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := c.client.CoreV1().ServiceAccounts(ns.Name).Create(t.Context(), sa, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return c, ns.Name
}

// node is a machine that can be switched on and off.
type node struct {
	*cluster
	t      *testing.T
	cfg    Config
	boots  int
	k      *Kubelet
	off    func()
	output *output
}

// output collects what containers print.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// nodes counts, so that a test that runs again does not meet the pods of its first run.
var nodes atomic.Int32

// newNode switches a node on, whose name starts with prefix. It goes off with the test.
func newNode(t *testing.T, c *cluster, prefix string, change ...func(*Config)) *node {
	t.Helper()
	name := fmt.Sprintf("%s-%d", prefix, nodes.Add(1))
	user, err := c.env.AddUser(envtest.User{Name: "system:node:" + name, Groups: []string{"system:nodes"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ip := netip.MustParseAddr("192.168.77.1")
	if err := c.net.AddAddress(ip); err != nil {
		t.Fatal(err)
	}
	n := &node{cluster: c, t: t, output: &output{}}
	level := slog.LevelInfo
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	n.cfg = Config{
		NodeName: name, NodeIP: ip, REST: user.Config(),
		Root: t.TempDir(), StateDir: t.TempDir(),
		Images:  map[string]string{helperImage: c.image},
		Network: c.net, Labels: map[string]string{"bottlerocket.aws/updater-interface-version": "2.0.0"},
		OSImage: "Drydock 1.20.0", MachineID: "m1",
		Log:             slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level})),
		ContainerOutput: func(string, string) io.Writer { return n.output },
	}
	for _, f := range change {
		f(&n.cfg)
	}
	n.off = func() {}
	n.on()
	t.Cleanup(func() { n.off() })
	return n
}

// on boots the node.
func (n *node) on() {
	n.t.Helper()
	n.boots++
	n.cfg.BootID = fmt.Sprintf("boot-%d", n.boots)
	k, err := New(n.cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	n.k = k
	ctx, cancel := context.WithCancel(context.Background()) // not the test's: that one ends before its cleanups
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	n.off = sync.OnceFunc(func() {
		cancel()
		begun := time.Now()
		if err := <-done; err != nil {
			n.t.Error(err)
		}
		if d := time.Since(begun); d > 2*time.Second {
			n.t.Errorf("switching off took %v", d)
		}
	})
	n.eventually("node reports its boot", func() error {
		have, err := n.client.CoreV1().Nodes().Get(n.t.Context(), n.cfg.NodeName, metav1.GetOptions{})
		if err == nil && have.Status.NodeInfo.BootID != n.cfg.BootID {
			err = fmt.Errorf("boot id %s", have.Status.NodeInfo.BootID)
		}
		return err
	})
}

// pod makes a pod with one container named main, bound to the node.
func (n *node) pod(namespace, name string, command ...string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{
			NodeName:           n.cfg.NodeName,
			ServiceAccountName: "default",
			Containers: []corev1.Container{{
				Name: "main", Image: helperImage + ":v1", Command: append([]string{"helper"}, command...),
			}},
			TerminationGracePeriodSeconds: new(int64(5)),
			AutomountServiceAccountToken:  new(false),
		},
	}
}

func (n *node) create(pod *corev1.Pod) *corev1.Pod {
	n.t.Helper()
	made, err := n.client.CoreV1().Pods(pod.Namespace).Create(n.t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		n.t.Fatal(err)
	}
	return made
}

// await waits until the pod is as wanted; want returns what is missing.
func (n *node) await(pod *corev1.Pod, want func(*corev1.Pod) string) *corev1.Pod {
	n.t.Helper()
	var got *corev1.Pod
	n.eventually("pod "+pod.Name, func() (err error) {
		if got, err = n.client.CoreV1().Pods(pod.Namespace).Get(n.t.Context(), pod.Name, metav1.GetOptions{}); err != nil {
			return err
		}
		if missing := want(got); missing != "" {
			status, err := json.Marshal(got.Status)
			return fmt.Errorf("%s: %s, %w", missing, status, err)
		}
		return nil
	})
	return got
}

func (n *node) awaitGone(pod *corev1.Pod) {
	n.t.Helper()
	n.eventually("end of pod "+pod.Name, func() error {
		_, err := n.client.CoreV1().Pods(pod.Namespace).Get(n.t.Context(), pod.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("still there"), err)
	})
}

func (n *node) delete(pod *corev1.Pod, graceSeconds *int64) {
	n.t.Helper()
	if err := n.client.CoreV1().Pods(pod.Namespace).Delete(n.t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: graceSeconds}); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) eventually(what string, f func() error) {
	n.t.Helper()
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	n.t.Fatalf("%s: %v", what, err)
}

// ask sends a request to the helper in a pod and decodes its answer.
func ask[T any](pod *corev1.Pod, path string, form url.Values) (answer T, err error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + pod.Status.PodIP + ":8080" + path + "?" + form.Encode())
	if err != nil {
		return answer, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return answer, err
	}
	if r.StatusCode != http.StatusOK {
		return answer, fmt.Errorf("%s: %s", r.Status, body)
	}
	if len(body) > 0 {
		err = json.Unmarshal(body, &answer)
	}
	return answer, err
}

// conditions for await.
func isReady(p *corev1.Pod) string {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return ""
		}
	}
	return "not ready"
}

func isWaiting(reason, message string) func(*corev1.Pod) string {
	return func(p *corev1.Pod) string {
		for _, c := range p.Status.ContainerStatuses {
			if w := c.State.Waiting; w != nil && w.Reason == reason && strings.Contains(w.Message, message) {
				return ""
			}
		}
		return fmt.Sprintf("does not wait with %s %q", reason, message)
	}
}

func restarted(times int32) func(*corev1.Pod) string {
	return func(p *corev1.Pod) string {
		if len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].RestartCount >= times && isReady(p) == "" {
			return ""
		}
		return fmt.Sprintf("not ready after %d restarts", times)
	}
}

func hasPhase(want corev1.PodPhase) func(*corev1.Pod) string {
	return func(p *corev1.Pod) string {
		if p.Status.Phase == want {
			return ""
		}
		return "phase is not " + string(want)
	}
}
