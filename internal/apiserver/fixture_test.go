// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/apiserver/certs"
	"github.com/drydock-os/drydock/internal/apiserver/nodes"
	"github.com/drydock-os/drydock/internal/testutil/kubetest"
)

// fixture is an operator's namespace on the real Kubernetes API server.
type fixture struct {
	t      testing.TB
	client client.WithWatch
	kube   kubernetes.Interface
	rest   *rest.Config
	ns     string
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	c := kubetest.Start(t)
	kube, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, client: c.Client(t), kube: kube, ns: c.Namespace(t), rest: c.Config}
	f.serviceAccount(f.ns, agentapi.AgentServiceAccount)
	return f
}

func (f *fixture) create(o client.Object) {
	f.t.Helper()
	if err := f.client.Create(f.t.Context(), o); err != nil {
		f.t.Fatalf("creating %T %s: %v", o, o.GetName(), err)
	}
}

func (f *fixture) serviceAccount(ns, name string) {
	f.t.Helper()
	f.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}})
}

// node creates a Node whose name belongs to this test alone.
func (f *fixture) node(name string) *corev1.Node {
	f.t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: f.ns + "-" + name}}
	f.create(n)
	f.t.Cleanup(func() { _ = f.client.Delete(context.WithoutCancel(f.t.Context()), n) })
	return n
}

// pod creates a pod bound to a node, as the scheduler would have.
func (f *fixture) pod(ns, name, node, account string, labels map[string]string) *corev1.Pod {
	f.t.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: labels},
		Spec: corev1.PodSpec{
			NodeName: node, ServiceAccountName: account,
			Containers: []corev1.Container{{Name: "c", Image: "i"}},
		},
	}
	f.create(p)
	return p
}

// agent creates the agent pod of a node.
func (f *fixture) agent(node string) *corev1.Pod {
	f.t.Helper()
	return f.pod(f.ns, "brupop-agent-"+node, node, agentapi.AgentServiceAccount, map[string]string{v2.ComponentLabel: "agent"})
}

// token asks for a token bound to the pod, as the kubelet does for a projected volume.
func (f *fixture) token(pod *corev1.Pod, audience string) string {
	f.t.Helper()
	tr, err := f.kube.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(f.t.Context(), pod.Spec.ServiceAccountName, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{
			Audiences:      []string{audience},
			BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		f.t.Fatalf("requesting token of %s: %v", pod.Name, err)
	}
	return tr.Status.Token
}

// kill deletes a pod at once, as a kubelet does when the grace period is over.
func (f *fixture) kill(pod *corev1.Pod) {
	f.t.Helper()
	if err := f.client.Delete(f.t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
		f.t.Fatalf("deleting pod %s: %v", pod.Name, err)
	}
}

// replica is a running Server.
type replica struct {
	f       *fixture
	server  *Server
	address string
	metrics string
	ca      string // file
	stop    func() error
}

// serve starts a replica and waits until it is ready.
func (f *fixture) serve(change ...func(*Config)) *replica {
	f.t.Helper()
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			f.t.Fatal(err)
		}
		return l
	}
	agents, plain := listen(), listen()
	cfg := Config{
		REST: f.rest, Namespace: f.ns, Listener: agents, MetricsListener: plain,
		Log: slog.New(slog.NewTextHandler(f.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.t.Context()))
	ended := make(chan struct{})
	var result error
	go func() {
		defer close(ended)
		result = s.Run(ctx)
	}()
	r := &replica{f: f, server: s, address: agents.Addr().String(), metrics: plain.Addr().String(), ca: filepath.Join(f.t.TempDir(), "ca.crt")}
	r.stop = func() error {
		cancel()
		<-ended
		return result
	}
	f.t.Cleanup(func() {
		if err := r.stop(); err != nil {
			f.t.Errorf("server ended with %v", err)
		}
	})
	f.eventually("replica is ready", func() bool {
		select {
		case <-ended:
			f.t.Fatalf("server ended early: %v", result)
		default:
		}
		return s.ready.Load()
	})
	if cfg.CertDir != "" {
		return r
	}
	var bundle corev1.Secret
	if err := f.client.Get(f.t.Context(), client.ObjectKey{Namespace: f.ns, Name: certs.BundleSecret}, &bundle); err != nil {
		f.t.Fatal(err)
	}
	write(f.t, r.ca, string(bundle.Data["ca.crt"]))
	return r
}

// connect returns an agent's client for the replica.
func (r *replica) connect(node, token string) *agentapi.Client {
	r.f.t.Helper()
	file := filepath.Join(r.f.t.TempDir(), "token")
	write(r.f.t, file, token+"\n")
	host := agentapi.ServiceName + "." + r.f.ns + ".svc"
	c, err := agentapi.NewClient(agentapi.Config{
		URL: "https://" + host + ":443", NodeName: node, TokenFile: file, CAFile: r.ca, RetryFor: time.Nanosecond,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, r.address)
		},
	})
	if err != nil {
		r.f.t.Fatal(err)
	}
	r.f.t.Cleanup(c.Close)
	return c
}

func (f *fixture) eventually(what string, ok func() bool) {
	f.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			f.t.Fatalf("not within 30 s: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func code(err error) int {
	if err == nil {
		return 200
	}
	if c := agentapi.Code(err); c != 0 {
		return c
	}
	if errors.Is(err, context.Canceled) {
		return 499
	}
	return -1
}

// cordon cordons a node as a drain would.
func (f *fixture) cordon(node string) (*corev1.Node, error) {
	return nodes.New(f.kube.CoreV1().Nodes()).Cordon(f.t.Context(), node)
}
