// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package certs

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"
	"time"
)

// dial connects to a live server with m's certificate as an agent with the bundle does.
func dial(t *testing.T, address, name string, pool *x509.CertPool, now func() time.Time) error {
	t.Helper()
	d := tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: name, Time: now}}
	conn, err := d.DialContext(t.Context(), "tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// D5: at each moment of a change of the CA, an agent whose bundle is up to a day old trusts every replica, and one
// with the newest bundle trusts a replica that has not noticed anything yet.
func TestD5TheCAIsReplacedWithOverlap(t *testing.T) {
	s, ns := secrets(t)
	clock := time.Now()
	now := func() time.Time { return clock }
	quick, slow := manager(t, s, ns, now), manager(t, s, ns, now)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	live := tls.NewListener(l, &tls.Config{GetCertificate: quick.GetCertificate})
	defer live.Close()
	go func() {
		for {
			conn, err := live.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = conn.(*tls.Conn).HandshakeContext(t.Context())
				_ = conn.Close()
			}()
		}
	}()
	ensure := func(m *Manager) {
		t.Helper()
		if err := m.Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	signer := func(m *Manager) string {
		leaf, err := m.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(leaf.Leaf.AuthorityKeyId)
	}
	ensure(quick)
	first := signer(quick)
	clock = clock.Add(caLifetime/5*4 + time.Hour) // the change begins
	ensure(quick)
	ensure(slow)
	if signer(quick) != first {
		t.Error("certificates of the new CA are served before anybody knows it")
	}
	dayOld := bundle(t, s)
	clock = clock.Add(overlap + time.Hour)
	ensure(quick)
	if signer(quick) == first {
		t.Error("the new CA does not take over")
	}
	newest := bundle(t, s)
	name := "brupop-apiserver." + ns + ".svc"
	for what, pool := range map[string]*x509.CertPool{"a day old": dayOld, "newest": newest} {
		if err := dial(t, l.Addr().String(), name, pool, now); err != nil {
			t.Errorf("bundle %s: %v", what, err)
		}
		trusted(t, slow, pool, clock)
	}
	ensure(slow)
	if signer(slow) != signer(quick) {
		t.Error("the replicas do not agree in the end")
	}
	if string(quick.Authorities()) != string(slow.Authorities()) {
		t.Error("the replicas would rewrite each other's CA in the CustomResourceDefinition")
	}
	trusted(t, slow, newest, clock)
}
