// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package network

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Domain is the DNS domain of every lab cluster.
const Domain = "cluster.local"

// kind says what a name is to us.
type kind uint8

const (
	foreign kind = iota // not below Domain
	unknown             // below Domain, but there is no such name
	known               // exists, possibly without addresses
)

// lookup finds the addresses of a name as a query spells it, with or without the final dot. It knows
// <service>.<namespace>.svc.cluster.local, which has the cluster IP or, for a headless service, the addresses
// of its ready endpoints, and <hostname>.<service>.<namespace>.svc.cluster.local for the endpoints of a
// headless service that have a hostname.
func (d directory) lookup(name string) ([]netip.Addr, kind) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == Domain {
		return nil, known
	}
	rest, ok := strings.CutSuffix(name, "."+Domain)
	if !ok {
		return nil, foreign
	}
	labels := strings.Split(rest, ".")
	slices.Reverse(labels) // svc, namespace, service, hostname
	if labels[0] != "svc" || len(labels) > 4 {
		return nil, unknown
	}
	switch len(labels) {
	case 1:
		return nil, known
	case 2:
		for _, o := range d.services.List() {
			if s, ok := o.(*corev1.Service); ok && s.Namespace == labels[1] {
				return nil, known // a name with others below it exists (RFC 8020)
			}
		}
		return nil, unknown
	}
	service, ok := d.service(labels[1], labels[2])
	if !ok {
		return nil, unknown
	}
	if service.Spec.ClusterIP != corev1.ClusterIPNone {
		if len(labels) == 4 {
			return nil, unknown
		}
		if ip, err := netip.ParseAddr(service.Spec.ClusterIP); err == nil && ip.Is4() {
			return []netip.Addr{ip}, known
		}
		return nil, known
	}
	hostname := ""
	if len(labels) == 4 {
		hostname = labels[3]
	}
	addrs := d.headless(service, hostname)
	if hostname != "" && len(addrs) == 0 {
		return nil, unknown
	}
	return addrs, known
}

// headless lists the addresses of a headless service's endpoints, of all or of those with that hostname.
func (d directory) headless(service *corev1.Service, hostname string) []netip.Addr {
	var addrs []netip.Addr
	for _, s := range d.endpointSlices(service.Namespace, service.Name) {
		for _, e := range s.Endpoints {
			if !ready(e) || hostname != "" && (e.Hostname == nil || *e.Hostname != hostname) {
				continue
			}
			for _, text := range e.Addresses {
				if a, err := netip.ParseAddr(text); err == nil && a.Is4() {
					addrs = append(addrs, a)
				}
			}
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}
