// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// proxy makes service addresses answer: one listener for each TCP port of each cluster IP.
type proxy struct {
	network *Network
	dir     directory
	log     *slog.Logger
	open    map[netip.AddrPort]*listener
	conns   sync.WaitGroup
}

// servicePort is what a connection to a listener asks for.
type servicePort struct{ namespace, service, port string }

type listener struct {
	net.Listener
	target atomic.Pointer[servicePort] // changes when an address passes from one service to another
	turn   atomic.Uint64               // round robin
}

func newProxy(n *Network, d directory) *proxy {
	return &proxy{network: n, dir: d, log: n.log, open: map[netip.AddrPort]*listener{}}
}

// run follows the services until ctx ends.
func (p *proxy) run(ctx context.Context, changed <-chan struct{}) {
	defer p.conns.Wait()
	defer p.closeAll()
	for {
		p.sync(ctx)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// sync opens and closes listeners so that they match the services known now.
func (p *proxy) sync(ctx context.Context) {
	want := p.wanted()
	for at, l := range p.open {
		if _, ok := want[at]; !ok {
			p.close(at, l)
		}
	}
	for at, target := range want {
		if l, ok := p.open[at]; ok {
			l.target.Store(&target)
			continue
		}
		l, err := listen(ctx, at)
		if err != nil {
			p.log.Warn("service does not answer", "namespace", target.namespace, "service", target.service, "address", at, "error", err)
			continue
		}
		l.target.Store(&target)
		p.open[at] = l
		p.conns.Go(func() { p.accept(ctx, l) })
		p.log.Debug("service listens", "namespace", target.namespace, "service", target.service, "address", at)
	}
}

// wanted lists the addresses that services have now. The API server's own service is left out: in a lab it
// listens on that address itself.
func (p *proxy) wanted() map[netip.AddrPort]servicePort {
	want := map[netip.AddrPort]servicePort{}
	for _, o := range p.dir.services.List() {
		s, ok := o.(*corev1.Service)
		if !ok || s.Namespace == "default" && s.Name == "kubernetes" {
			continue
		}
		ip, err := netip.ParseAddr(s.Spec.ClusterIP)
		if err != nil || !ip.Is4() { // headless, external name or not IPv4
			continue
		}
		for _, port := range s.Spec.Ports {
			if port.Protocol != corev1.ProtocolTCP && port.Protocol != "" || port.Port < 1 || port.Port > 65535 {
				p.log.Debug("service port is not served", "namespace", s.Namespace, "service", s.Name, "port", port.Port, "protocol", port.Protocol)
				continue
			}
			at := netip.AddrPortFrom(ip, uint16(port.Port))
			want[at] = servicePort{namespace: s.Namespace, service: s.Name, port: port.Name}
		}
	}
	return want
}

func listen(ctx context.Context, at netip.AddrPort) (*listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp4", at.String())
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	return &listener{Listener: l}, nil
}

func (p *proxy) close(at netip.AddrPort, l *listener) {
	if err := l.Close(); err != nil {
		p.log.Warn("closing service listener", "address", at, "error", err)
	}
	delete(p.open, at)
}

func (p *proxy) closeAll() {
	for at, l := range p.open {
		p.close(at, l)
	}
}

func (p *proxy) accept(ctx context.Context, l *listener) {
	for {
		c, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			p.log.Warn("accepting service connection", "address", l.Addr(), "error", err)
			if !wait(ctx, acceptPause) {
				return
			}
			continue
		}
		p.conns.Go(func() { p.serve(ctx, l, c.(*net.TCPConn)) })
	}
}

// acceptPause is how long a server that cannot accept, because the process has no descriptors left, waits for
// connections to end.
const acceptPause = 50 * time.Millisecond

// wait returns false when ctx ended before d was over.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// serve connects a client to the first endpoint, beginning with the one whose turn it is, that accepts.
func (p *proxy) serve(ctx context.Context, l *listener, client *net.TCPConn) {
	defer client.Close()
	defer context.AfterFunc(ctx, func() { client.Close() })()
	target := l.target.Load()
	server, err := p.dial(ctx, target, l.turn.Add(1))
	if err != nil {
		p.log.Debug("service connection refused", "namespace", target.namespace, "service", target.service, "error", err)
		_ = client.SetLinger(0) // reset instead of an orderly end: the client shall see a failure
		return
	}
	defer server.Close()
	defer context.AfterFunc(ctx, func() { server.Close() })()
	splice(client, server)
}

func (p *proxy) dial(ctx context.Context, target *servicePort, turn uint64) (*net.TCPConn, error) {
	endpoints := p.dir.endpoints(*target)
	failed := errors.New("no ready endpoint")
	for i := range endpoints {
		e := endpoints[(turn+uint64(i))%uint64(len(endpoints))]
		if !p.network.answers(e.Addr()) {
			failed = fmt.Errorf("endpoint %v is gone", e)
			continue
		}
		d := net.Dialer{Timeout: dialTimeout}
		c, err := d.DialContext(ctx, "tcp4", e.String())
		if err == nil {
			return c.(*net.TCPConn), nil
		}
		failed = err
	}
	return nil, failed
}

// endpoints lists the ready endpoints of a service port in a fixed order.
func (d directory) endpoints(target servicePort) []netip.AddrPort {
	var found []netip.AddrPort
	for _, s := range d.endpointSlices(target.namespace, target.service) {
		for _, port := range s.Ports {
			name := ""
			if port.Name != nil {
				name = *port.Name
			}
			if name != target.port || port.Port == nil {
				continue
			}
			for _, e := range s.Endpoints {
				if !ready(e) || len(e.Addresses) == 0 {
					continue
				}
				if a, err := netip.ParseAddrPort(net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(*port.Port)))); err == nil {
					found = append(found, a)
				}
			}
		}
	}
	slices.SortFunc(found, netip.AddrPort.Compare)
	return slices.Compact(found)
}

// splice copies both directions and passes on the end of each on its own, because a client may close its
// half and still wait for the answer.
func splice(a, b *net.TCPConn) {
	var wg sync.WaitGroup
	oneWay := func(to, from *net.TCPConn) {
		// Errors end the connection for both sides, which is all that a proxy could report.
		if _, err := io.Copy(to, from); err != nil {
			_ = to.SetLinger(0)
			_ = to.Close()
			_ = from.Close()
			return
		}
		_ = to.CloseWrite()
	}
	wg.Go(func() { oneWay(a, b) })
	wg.Go(func() { oneWay(b, a) })
	wg.Wait()
}
