// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package kubetest gives tests a real etcd and kube-apiserver.
//
// The first Start of a test binary starts them, later calls share them, so tests keep apart by using their
// own Namespace and node names. They end with the test binary, also when that is killed: a guard process
// notices the end, kills them and removes their files. No kubelet, scheduler or controller-manager runs:
// nothing becomes Ready, no PodDisruptionBudget gets a status and no object is garbage-collected unless
// the test does it.
package kubetest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
)

// AssetsEnv names the directory that holds the programs etcd, kube-apiserver and kubectl.
const AssetsEnv = "KUBEBUILDER_ASSETS"

// CRDPath is where the generated CustomResourceDefinition lies, relative to the module's root.
const CRDPath = "deploy/charts/bottlerocket-update-operator/files/brupop.bottlerocket.aws_bottlerocketshadows.yaml"

// startTimeout bounds the start of each of the two processes: four seconds on an idle machine, far more
// on a busy one that runs several test packages at once.
const startTimeout = 90 * time.Second

// Cluster is the control plane shared by all tests of one test binary.
type Cluster struct {
	// Config is that of a member of system:masters, without client-side rate limits.
	Config *rest.Config
	env    *envtest.Environment
	guard  *guard
}

var shared = sync.OnceValues(start)

// Start returns the control plane of this test binary, starting it when needed. With -short it skips the
// test; without the programs it fails it with the remedy.
func Start(t testing.TB) *Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a control plane; skipped by -short")
	}
	if os.Getenv(AssetsEnv) == "" {
		t.Fatalf("%s is not set: run this test through `make test`, which builds the control plane and sets it, or leave it out with -short", AssetsEnv)
	}
	c, err := shared()
	if err != nil {
		t.Fatalf("starting the control plane: %v (KUBEBUILDER_ATTACH_CONTROL_PLANE_OUTPUT=true shows its output)", err)
	}
	return c
}

func start() (*Cluster, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	g, err := newGuard()
	if err != nil {
		return nil, err
	}
	env := &envtest.Environment{
		Scheme:                   Scheme(),
		CRDDirectoryPaths:        []string{filepath.Join(root, CRDPath)},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: startTimeout,
	}
	assets := os.Getenv(AssetsEnv)
	env.ControlPlane.Etcd = &envtest.Etcd{}
	api := env.ControlPlane.GetAPIServer()
	var errs [4]error
	env.ControlPlane.Etcd.Path, errs[0] = g.wrap(filepath.Join(assets, "etcd"))
	env.ControlPlane.Etcd.DataDir, errs[1] = g.subdir("etcd-data")
	api.Path, errs[2] = g.wrap(filepath.Join(assets, "kube-apiserver"))
	api.CertDir, errs[3] = g.subdir("certs")
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("preparing the programs of %s: %w", AssetsEnv, err)
	}
	// Set, not Append: envtest has its own default, and the server refuses a flag given twice.
	api.Configure().Set("authorization-mode", "Node,RBAC")
	cfg, err := env.Start()
	if err != nil {
		return nil, err
	}
	cfg.QPS = -1
	return &Cluster{Config: cfg, env: env, guard: g}, nil
}

// Scheme knows the Kubernetes types and the BottlerocketShadow.
func Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	// Both only add types to an empty scheme and have no way to fail there.
	_ = clientgoscheme.AddToScheme(s)
	_ = v2.AddToScheme(s)
	return s
}

// Client returns a client with all rights that reads from the server, never from a cache.
func (c *Cluster) Client(t testing.TB) client.WithWatch {
	t.Helper()
	return newClient(t, c.Config)
}

// User returns the configuration of a user of that name and groups, who has only the rights that the
// test's RBAC objects give.
func (c *Cluster) User(t testing.TB, name string, groups ...string) *rest.Config {
	t.Helper()
	u, err := c.env.ControlPlane.AddUser(envtest.User{Name: name, Groups: groups}, &rest.Config{QPS: -1})
	if err != nil {
		t.Fatalf("adding user %s: %v", name, err)
	}
	return u.Config()
}

// ServiceAccount returns the configuration of a user that the server treats as that ServiceAccount.
func (c *Cluster) ServiceAccount(t testing.TB, namespace, name string) *rest.Config {
	t.Helper()
	return c.User(t, "system:serviceaccount:"+namespace+":"+name,
		"system:serviceaccounts", "system:serviceaccounts:"+namespace, "system:authenticated")
}

// Namespace creates a namespace of the test's own and returns its name. It stays until the control plane
// ends, because deleting a namespace takes a controller that does not run here.
func (c *Cluster) Namespace(t testing.TB) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := c.Client(t).Create(t.Context(), ns); err != nil {
		t.Fatalf("creating a namespace: %v", err)
	}
	return ns.Name
}

func newClient(t testing.TB, cfg *rest.Config) client.WithWatch {
	t.Helper()
	cl, err := client.NewWithWatch(cfg, client.Options{Scheme: Scheme()})
	if err != nil {
		t.Fatalf("making a client: %v", err)
	}
	return cl
}

// ModuleRoot returns the directory of the module under test, for tests that read its files.
func ModuleRoot(t testing.TB) string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// moduleRoot walks up from the package directory, where go test runs the binary.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), "module github.com/drydock-os/drydock\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("finding the module's root: no go.mod of this module above the test's directory")
		}
		dir = parent
	}
}
