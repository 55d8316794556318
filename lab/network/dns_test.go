// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package network

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

// shop is a directory with a service, a headless one and a headless one with many endpoints.
func shop(t testing.TB) directory {
	t.Helper()
	d := directory{
		services: cache.NewStore(cache.MetaNamespaceKeyFunc),
		slices:   cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{byService: sliceService}),
	}
	db := slice("db", 5432, map[string]bool{"10.244.0.9": true, "10.244.0.8": true, "10.244.0.7": false})
	for i, e := range db.Endpoints {
		if e.Addresses[0] == "10.244.0.9" {
			db.Endpoints[i].Hostname = new("db-0")
		}
	}
	many := slice("many", 80, nil)
	for i := range 200 {
		many.Endpoints = append(many.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("10.244.1.%d", i+1)}})
	}
	for _, s := range []*corev1.Service{service("front", "10.96.0.50", 80), service("db", corev1.ClusterIPNone, 5432), service("many", corev1.ClusterIPNone, 80)} {
		if err := d.services.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []*discoveryv1.EndpointSlice{db, many} {
		if err := d.slices.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func query(t testing.TB, name string, kind dnsmessage.Type) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 4711, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	q, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestAnswer(t *testing.T) {
	d := shop(t)
	for _, c := range []struct {
		name string
		kind dnsmessage.Type
		code dnsmessage.RCode
		want string
	}{
		{"front.shop.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "10.96.0.50"},
		{"FRONT.shop.svc.Cluster.Local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "10.96.0.50"},
		{"front.shop.svc.cluster.local.", dnsmessage.TypeAAAA, dnsmessage.RCodeSuccess, ""},
		{"db.shop.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "10.244.0.8 10.244.0.9"},
		{"db-0.db.shop.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, "10.244.0.9"},
		{"db-1.db.shop.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
		{"x.front.shop.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
		{"front.shop.svc.shop.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
		{"back.shop.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
		{"front.nowhere.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
		{"shop.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, ""},
		{"nowhere.svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeNameError, ""},
		{"svc.cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, ""},
		{"cluster.local.", dnsmessage.TypeA, dnsmessage.RCodeSuccess, ""},
		{"example.com.", dnsmessage.TypeA, dnsmessage.RCodeRefused, ""},
		{"notcluster.local.", dnsmessage.TypeA, dnsmessage.RCodeRefused, ""},
		{".", dnsmessage.TypeA, dnsmessage.RCodeRefused, ""},
	} {
		var m dnsmessage.Message
		if err := m.Unpack(answer(d, query(t, c.name, c.kind), true)); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got []string
		for _, r := range m.Answers {
			a := r.Body.(*dnsmessage.AResource).A
			got = append(got, net.IP(a[:]).String())
			if r.Header.TTL != recordTTL {
				t.Errorf("%s: time to live %d", c.name, r.Header.TTL)
			}
		}
		if m.RCode != c.code || strings.Join(got, " ") != c.want || m.ID != 4711 || !m.Response {
			t.Errorf("%s %v: %v %v, want %v %q", c.name, c.kind, m.RCode, got, c.code, c.want)
		}
	}
}

func TestLongAnswersGoOverTCP(t *testing.T) {
	d := shop(t)
	q := query(t, "many.shop.svc.cluster.local.", dnsmessage.TypeA)
	var m dnsmessage.Message
	if err := m.Unpack(answer(d, q, true)); err != nil || !m.Truncated || len(m.Answers) != 0 {
		t.Errorf("over UDP: truncated %v, %d answers, %v", m.Truncated, len(m.Answers), err)
	}
	if err := m.Unpack(answer(d, q, false)); err != nil || m.Truncated || len(m.Answers) != 200 {
		t.Errorf("over TCP: truncated %v, %d answers, %v", m.Truncated, len(m.Answers), err)
	}

	n := newNetwork(t)
	p := newPod(t, n)
	s, err := n.listenDNS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{}, 2)
	go func() { s.serveUDP(t.Context(), d); done <- struct{}{} }()
	go func() { s.serveTCP(t.Context(), d); done <- struct{}{} }()
	addrs, err := podResolver(p).LookupHost(t.Context(), "many.shop.svc.cluster.local.")
	if err != nil || len(addrs) != 200 {
		t.Errorf("Go's resolver found %d addresses, %v", len(addrs), err)
	}
	if addrs, err := podResolver(p).LookupHost(t.Context(), "db.shop.svc.cluster.local."); err != nil || !slices.Contains(addrs, "10.244.0.8") {
		t.Errorf("Go's resolver found %v, %v", addrs, err)
	}
	t.Cleanup(func() { <-done; <-done })
}

// Any query gets either no answer or one to itself.
func FuzzAnswer(f *testing.F) {
	d := shop(f)
	f.Add(query(f, "front.shop.svc.cluster.local.", dnsmessage.TypeA), true)
	f.Add(query(f, "many.shop.svc.cluster.local.", dnsmessage.TypeALL), false)
	f.Add([]byte{0, 1, 2}, true)
	f.Fuzz(func(t *testing.T, q []byte, udp bool) {
		reply := answer(d, q, udp)
		if reply == nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(reply); err != nil {
			t.Fatal(err)
		}
		if !m.Response || reply[0] != q[0] || reply[1] != q[1] {
			t.Errorf("answer %v does not belong to the query", m.Header)
		}
		if udp && len(reply) > maxUDPSize {
			t.Errorf("%d bytes over UDP", len(reply))
		}
	})
}
