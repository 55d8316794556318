// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/drydock-os/drydock/internal/testutil/kubetest"
)

func secrets(t *testing.T) (corev1client.SecretInterface, string) {
	t.Helper()
	c := kubetest.Start(t)
	kube, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	ns := c.Namespace(t)
	return kube.CoreV1().Secrets(ns), ns
}

func manager(t *testing.T, s corev1client.SecretInterface, ns string, now func() time.Time) *Manager {
	t.Helper()
	m, err := New(Config{Secrets: s, Namespace: ns, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func bundle(t *testing.T, s corev1client.SecretInterface) *x509.CertPool {
	t.Helper()
	secret, err := s.Get(t.Context(), BundleSecret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(secret.Data["ca.crt"]) {
		t.Fatal("the published bundle is empty")
	}
	return pool
}

// trusted checks the manager's certificate as an agent with the bundle does.
func trusted(t *testing.T, m *Manager, pool *x509.CertPool, now time.Time) {
	t.Helper()
	leaf, err := m.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range m.names {
		if _, err := leaf.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool, CurrentTime: now}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOfSeveralFirstReplicasOneMakesTheCA(t *testing.T) {
	s, ns := secrets(t)
	managers := make([]*Manager, 3)
	errs := make([]error, len(managers))
	var wg sync.WaitGroup
	for i := range managers {
		managers[i] = manager(t, s, ns, nil)
		wg.Go(func() { errs[i] = managers[i].Ensure(t.Context()) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	pool := bundle(t, s)
	for _, m := range managers {
		trusted(t, m, pool, time.Now())
	}
	secret, err := s.Get(t.Context(), BundleSecret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(secret.Data["ca.crt"], []byte("BEGIN")); n != 1 {
		t.Errorf("%d CAs in the bundle", n)
	}
	if len(secret.Data) != 1 {
		t.Errorf("the agents' secret holds more than the bundle: %d keys", len(secret.Data))
	}
}

func TestD13TheLeafIsRenewedInPlace(t *testing.T) {
	s, ns := secrets(t)
	now := time.Now()
	m := manager(t, s, ns, func() time.Time { return now })
	if err := m.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := m.leaf.Load()
	now = now.Add(19 * 24 * time.Hour)
	if err := m.Ensure(t.Context()); err != nil || m.leaf.Load() != first {
		t.Errorf("renewed too early, or %v", err)
	}
	now = now.Add(2 * 24 * time.Hour)
	if err := m.Ensure(t.Context()); err != nil || m.leaf.Load() == first {
		t.Errorf("not renewed after two thirds, or %v", err)
	}
	trusted(t, m, bundle(t, s), now)
}

func TestALostBundleComesBackAndOtherCAsStay(t *testing.T) {
	s, ns := secrets(t)
	earlier, _, err := newAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: BundleSecret}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{"ca.crt": earlier, "tls.crt": []byte("x"), "tls.key": []byte("y")},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m := manager(t, s, ns, nil)
	if err := m.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	secret, err := s.Get(t.Context(), BundleSecret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(secret.Data["ca.crt"], bytes.TrimSpace(earlier)) || string(secret.Data["tls.crt"]) != "x" {
		t.Error("what another installation published is gone")
	}
	trusted(t, m, bundle(t, s), time.Now())
	if err := m.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := s.Get(t.Context(), BundleSecret, metav1.GetOptions{})
	if err != nil || again.ResourceVersion != secret.ResourceVersion {
		t.Errorf("written without a change, %v", err)
	}
	if err := s.Delete(t.Context(), BundleSecret, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := m.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	trusted(t, m, bundle(t, s), time.Now())
}

// TestAClockThatIsALittleBehindDoesNotMatter: the CA was made a moment ago, by somebody whose clock is right.
func TestAClockThatIsALittleBehindDoesNotMatter(t *testing.T) {
	made := time.Now()
	cert, key, err := newAuthority(made.Add(skew)) // valid from now on: others do not backdate
	if err != nil {
		t.Fatal(err)
	}
	for behind, want := range map[time.Duration]bool{0: true, skew - time.Second: true, skew + 2*time.Second: false} {
		_, err := parseAuthority(cert, key, nil, made.Add(-behind))
		if ok := err == nil; ok != want {
			t.Errorf("a clock that is %v behind: %v", behind, err)
		}
	}
}

func TestABrokenCASecretIsNamed(t *testing.T) {
	cert, key, err := newAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, otherKey, err := newAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	old, oldKey, err := newAuthority(time.Now().Add(-2 * caLifetime))
	if err != nil {
		t.Fatal(err)
	}
	young, youngKey, err := newAuthority(time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	s, ns := secrets(t)
	for _, tc := range []struct {
		name string
		data map[string][]byte
		want string
	}{
		{"not valid yet", map[string][]byte{"tls.crt": young, "tls.key": youngKey}, "the CA is not valid before " + time.Now().Add(time.Hour-skew).UTC().Format("2006-01-02T15:")},
		{"empty", map[string][]byte{}, "tls.crt"},
		{"no key", map[string][]byte{"tls.crt": cert, "tls.key": []byte("x")}, "tls.key"},
		{"another key", map[string][]byte{"tls.crt": cert, "tls.key": otherKey}, "does not match"},
		{"expired", map[string][]byte{"tls.crt": old, "tls.key": oldKey}, "expired"},
		{"a bad bundle", map[string][]byte{"tls.crt": cert, "tls.key": key, "ca.crt": []byte("x")}, "ca.crt: not a list"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_ = s.Delete(t.Context(), CASecret, metav1.DeleteOptions{})
			_, err := s.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: CASecret}, Data: tc.data}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			m := manager(t, s, ns, nil)
			err = m.Ensure(t.Context())
			if !errors.Is(err, ErrBrokenSecret) || !strings.Contains(err.Error(), ns+"/"+CASecret) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "delete the secret") {
				t.Errorf("got %v, want %q and what to do in it", err, tc.want)
			}
			if _, err := m.GetCertificate(&tls.ClientHelloInfo{}); err == nil {
				t.Error("a certificate without a CA")
			}
		})
	}
}

func TestALeafIsNoCA(t *testing.T) {
	cert, key, err := newAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ca, err := parseAuthority(cert, key, cert, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if len(ca.bundle) != 1 {
		t.Errorf("%d certificates in the bundle", len(ca.bundle))
	}
	leaf, err := ca.issue([]string{"n"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if leaf.Leaf.IsCA || leaf.Leaf.NotAfter.After(time.Now().Add(leafLifetime+time.Minute)) {
		t.Errorf("leaf: CA %v, until %v", leaf.Leaf.IsCA, leaf.Leaf.NotAfter)
	}
}
