// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package network is the cluster network of a lab: pod addresses, service addresses and cluster DNS that are
// real inside the lab's own network namespace and do not exist outside of it.
//
// The process that uses it must already be inside that namespace (it configures whatever namespace it finds
// itself in), hold CAP_NET_ADMIN and CAP_SYS_ADMIN there, and have brought up lo. Every pod gets a network
// namespace of its own behind a bridge, so that two pods may listen on the same port. The whole range of
// service addresses is local: a proxy in this process accepts connections and splices them to a ready endpoint,
// and an address without a service refuses them at once.
//
// Nothing needs to be cleaned up: links, addresses and namespaces end with the process and its namespace.
package network

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Bridge is the name of the link that connects all pods of a lab.
const Bridge = "lab0"

// ErrNoAddress means that every address of the pod range is taken.
var ErrNoAddress = errors.New("no free pod address")

// Config describes the address ranges of one lab. Fields are required unless they name a default.
type Config struct {
	PodCIDR     netip.Prefix // IPv4; its first address becomes the gateway of all pods
	ServiceCIDR netip.Prefix // IPv4; must not overlap PodCIDR
	DNS         netip.Addr   // service address on which Run answers DNS
	Log         *slog.Logger // default: discard
}

func (c *Config) check() error {
	switch {
	case !c.PodCIDR.IsValid() || !c.PodCIDR.Addr().Is4() || c.PodCIDR.Bits() > 29:
		return fmt.Errorf("pod range %v: need an IPv4 prefix of at most 29 bits", c.PodCIDR)
	case !c.ServiceCIDR.IsValid() || !c.ServiceCIDR.Addr().Is4():
		return fmt.Errorf("service range %v: need an IPv4 prefix", c.ServiceCIDR)
	case c.PodCIDR.Overlaps(c.ServiceCIDR):
		return fmt.Errorf("pod range %v overlaps service range %v", c.PodCIDR, c.ServiceCIDR)
	case !c.ServiceCIDR.Contains(c.DNS):
		return fmt.Errorf("DNS address %v is not in service range %v", c.DNS, c.ServiceCIDR)
	}
	return nil
}

// Network hands out pod namespaces and addresses. Its methods may be called from several goroutines.
type Network struct {
	cfg     Config
	log     *slog.Logger
	gateway netip.Addr
	bridge  int // link index

	mu     sync.Mutex
	last   netip.Addr          // most recently given address; the search for the next one starts behind it
	taken  map[netip.Addr]bool // true: a namespace answers there; false: an address without a pod behind it
	serial int                 // names host ends of pod links
}

// New creates the bridge in the current network namespace. It fails when the bridge exists already, which
// means that another lab uses the same namespace.
func New(cfg Config) (*Network, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	n := &Network{
		cfg:     cfg,
		log:     cfg.Log,
		gateway: cfg.PodCIDR.Masked().Addr().Next(),
		taken:   map[netip.Addr]bool{},
	}
	n.last = n.gateway
	attrs := netlink.NewLinkAttrs()
	attrs.Name = Bridge
	// A bridge without a fixed address takes over the lowest one of its ports, and would change it under
	// the neighbour caches of running pods.
	attrs.HardwareAddr = hardwareAddr(n.gateway)
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := netlink.LinkAdd(bridge); err != nil {
		return nil, fmt.Errorf("creating bridge %s: %w", Bridge, err)
	}
	n.bridge = bridge.Index
	if err := netlink.AddrAdd(bridge, ipNet(n.gateway, cfg.PodCIDR.Bits())); err != nil {
		return nil, fmt.Errorf("adding %v to bridge %s: %w", n.gateway, Bridge, err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return nil, fmt.Errorf("bringing up bridge %s: %w", Bridge, err)
	}
	if err := n.routeServices(); err != nil {
		return nil, err
	}
	return n, nil
}

// routeServices makes every service address local, so that sockets can be bound to it without further ado.
func (n *Network) routeServices() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("looking up lo: %w", err)
	}
	route := &netlink.Route{
		LinkIndex: lo.Attrs().Index,
		Dst:       ipNet(n.cfg.ServiceCIDR.Masked().Addr(), n.cfg.ServiceCIDR.Bits()).IPNet,
		Type:      unix.RTN_LOCAL,
		Table:     unix.RT_TABLE_LOCAL,
		Scope:     netlink.SCOPE_HOST,
	}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("making service range %v local: %w", n.cfg.ServiceCIDR, err)
	}
	return nil
}

// AddAddress makes a, a node's address, one of this namespace, on lo. Adding it twice is not an error. Service
// addresses need not be added.
func (n *Network) AddAddress(a netip.Addr) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("looking up lo: %w", err)
	}
	if err := netlink.AddrReplace(lo, ipNet(a, a.BitLen())); err != nil {
		return fmt.Errorf("adding %v to lo: %w", a, err)
	}
	return nil
}

// DNS is the address on which Run answers DNS.
func (n *Network) DNS() netip.Addr { return n.cfg.DNS }

// ReserveIP gives an address of the pod range to a pod that has no processes and therefore needs no
// namespace. Give it back with ReleaseIP. It returns ErrNoAddress when the range is full.
func (n *Network) ReserveIP() (netip.Addr, error) { return n.allocate(false) }

// ReleaseIP returns an address obtained from ReserveIP.
func (n *Network) ReleaseIP(a netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.taken, a)
}

// allocate walks through the whole range before it gives an address a second time, so that a client that
// still remembers the address of an ended pod does not meet another one.
func (n *Network) allocate(live bool) (netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.last
	for {
		a = a.Next()
		if !n.cfg.PodCIDR.Contains(a) || !n.cfg.PodCIDR.Contains(a.Next()) { // the last address is the broadcast one
			a = n.gateway
		}
		if _, used := n.taken[a]; a != n.gateway && !used {
			n.taken[a] = live
			n.last = a
			return a, nil
		}
		if a == n.last {
			return netip.Addr{}, ErrNoAddress
		}
	}
}

// answers reports whether a connection to a can get an answer at once: a pod address without a namespace
// behind it would make the caller wait for the neighbour discovery to give up.
func (n *Network) answers(a netip.Addr) bool {
	if !n.cfg.PodCIDR.Contains(a) || a == n.gateway {
		return true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.taken[a]
}

// dialTimeout bounds one connection attempt to an endpoint. All endpoints are on this machine: one that
// needs longer has a full backlog or is stopped.
const dialTimeout = 2 * time.Second

// hardwareAddr derives a link address from an IP address, so that the two never disagree in a cache.
func hardwareAddr(a netip.Addr) net.HardwareAddr {
	b := a.As4()
	return net.HardwareAddr{0x02, 0x00, b[0], b[1], b[2], b[3]} // 0x02: locally administered
}

func ipNet(a netip.Addr, bits int) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, a.BitLen())}}
}
