// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Pod is the network namespace of one pod: lo, and eth0 with an address of the pod range.
type Pod struct {
	// IP is the pod's address.
	IP netip.Addr

	network *Network
	link    int // index of the end of the pod's link that is in the lab's namespace

	mu sync.Mutex
	ns int // descriptor that keeps the namespace; -1 after Close
}

// NewPod creates a namespace and connects it. The caller must Close it. It returns ErrNoAddress when the pod
// range is full.
func (n *Network) NewPod() (_ *Pod, err error) {
	ip, err := n.allocate(true)
	if err != nil {
		return nil, err
	}
	p := &Pod{IP: ip, network: n, ns: -1}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("creating pod network %v: %w", ip, err), p.Close())
		}
	}()

	err = Thread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("creating namespace: %w", err)
		}
		fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("opening namespace: %w", err)
		}
		p.ns = fd
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return fmt.Errorf("looking up lo: %w", err)
		}
		return netlink.LinkSetUp(lo)
	})
	if err != nil {
		return nil, err
	}

	attrs := netlink.NewLinkAttrs()
	n.mu.Lock()
	n.serial++
	attrs.Name = fmt.Sprintf("pod%d", n.serial)
	n.mu.Unlock()
	attrs.MasterIndex = n.bridge
	attrs.Flags = net.FlagUp
	veth := &netlink.Veth{
		LinkAttrs:        attrs,
		PeerName:         "eth0",
		PeerHardwareAddr: hardwareAddr(ip),
		PeerNamespace:    netlink.NsFd(p.ns),
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return nil, fmt.Errorf("adding link: %w", err)
	}
	p.link = veth.Index
	if err := netlink.LinkSetUp(veth); err != nil {
		return nil, fmt.Errorf("bringing up link: %w", err)
	}
	return p, p.Enter(func() error { return p.configure() })
}

// configure runs inside the pod's namespace.
func (p *Pod) configure() error {
	eth, err := netlink.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("looking up eth0: %w", err)
	}
	if err := netlink.AddrAdd(eth, ipNet(p.IP, p.network.cfg.PodCIDR.Bits())); err != nil {
		return fmt.Errorf("adding address: %w", err)
	}
	if err := netlink.LinkSetUp(eth); err != nil {
		return fmt.Errorf("bringing up eth0: %w", err)
	}
	route := &netlink.Route{LinkIndex: eth.Attrs().Index, Gw: p.network.gateway.AsSlice()}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("adding default route: %w", err)
	}
	return nil
}

// Enter runs f on a throw-away thread (see Thread) inside the pod's network namespace: sockets that f opens
// and processes that f starts belong to the pod.
func (p *Pod) Enter(f func() error) error {
	return Thread(func() error {
		p.mu.Lock()
		if p.ns < 0 {
			p.mu.Unlock()
			return fmt.Errorf("entering network of pod %v: %w", p.IP, net.ErrClosed)
		}
		err := unix.Setns(p.ns, unix.CLONE_NEWNET)
		p.mu.Unlock()
		if err != nil {
			return fmt.Errorf("entering network of pod %v: %w", p.IP, err)
		}
		return f()
	})
}

// Close cuts the pod off the network and gives its address back. Processes that still run inside the
// namespace keep it, without a link. Closing twice is not an error.
func (p *Pod) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if p.link != 0 {
		gone := netlink.NewLinkAttrs()
		gone.Index = p.link
		if e := netlink.LinkDel(&netlink.GenericLink{LinkAttrs: gone, LinkType: "veth"}); e != nil && !errors.Is(e, unix.ENODEV) {
			err = fmt.Errorf("removing link of pod %v: %w", p.IP, e)
		}
		p.link = 0
	}
	if p.ns >= 0 {
		err = errors.Join(err, unix.Close(p.ns))
		p.ns = -1
	}
	if p.network != nil {
		p.network.ReleaseIP(p.IP)
		p.network = nil
	}
	return err
}
