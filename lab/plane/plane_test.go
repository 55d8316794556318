// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package plane

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/drydock-os/drydock/lab/sandbox"
	"github.com/vishvananda/netlink"
)

// TestMain runs the whole test binary inside a sandbox: the control plane wants ports and addresses.
func TestMain(m *testing.M) {
	if sandbox.Inside() {
		if err := sandbox.Settle(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	code, err := sandbox.Keep(context.Background())
	if errors.Is(err, sandbox.ErrUnavailable) {
		fmt.Fprintf(os.Stderr, "skipping: %v\n", err)
		os.Exit(0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func testConfig(t *testing.T) Config {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a control plane")
	}
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		t.Fatal("KUBEBUILDER_ASSETS is not set: run the tests by 'make test', which builds the control plane")
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"10.0.0.1/32", "10.96.0.1/32"} {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.AddrReplace(lo, addr); err != nil {
			t.Fatal(err)
		}
	}
	return Config{
		Binary: filepath.Join(assets, "controlplane"), Dir: t.TempDir(),
		Address: netip.MustParseAddr("10.0.0.1"), ServiceIP: netip.MustParseAddr("10.96.0.1"),
		ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"),
		Now:         time.Now(), Log: slog.New(slog.DiscardHandler),
	}
}

func TestStartedPlaneAnswersAndAudits(t *testing.T) {
	p, err := Start(t.Context(), testConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	client := kubernetes.NewForConfigOrDie(p.AdminConfig())
	if _, err := client.CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	pair, clients, err := p.Serving("node-1", netip.MustParseAddr("192.168.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	own := x509.NewCertPool()
	own.AddCert(p.ca.cert)
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: own, DNSName: "192.168.0.1"}); err != nil || !clients.Equal(own) {
		t.Errorf("a node's certificate: %v", err)
	}
	log, err := os.ReadFile(p.AuditLog())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), `"userAgent":"drydock-lab"`) {
		t.Error("the audit log does not hold our request")
	}
}

func TestDeadComponentIsReported(t *testing.T) {
	p, err := Start(t.Context(), testConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	if err := p.processes[0].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-p.Failed():
		if !strings.Contains(err.Error(), "etcd ended unexpectedly") {
			t.Errorf("got %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nobody noticed that etcd died")
	}
}
