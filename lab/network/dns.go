// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package network

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Limits of the DNS server. Sizes are bytes.
const (
	recordTTL    = 5    // seconds: as long as a client may use an old answer
	plainUDPSize = 512  // RFC 1035 4.2.1: largest answer to a client that did not announce more
	maxUDPSize   = 1232 // what we send at most over UDP, whatever the client announces
	maxQuerySize = 4096
	maxConns     = 64 // TCP clients at a time
	connIdle     = 5 * time.Second
)

// dnsServer answers on the cluster DNS address.
type dnsServer struct {
	packets net.PacketConn
	streams net.Listener
	log     *slog.Logger
}

func (n *Network) listenDNS(ctx context.Context) (*dnsServer, error) {
	at := netip.AddrPortFrom(n.cfg.DNS, 53).String()
	var lc net.ListenConfig
	packets, err := lc.ListenPacket(ctx, "udp4", at)
	if err != nil {
		return nil, fmt.Errorf("listening for DNS: %w", err)
	}
	streams, err := lc.Listen(ctx, "tcp4", at)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listening for DNS: %w", err), packets.Close())
	}
	return &dnsServer{packets: packets, streams: streams, log: n.log}, nil
}

// close may be called again after serving ended.
func (s *dnsServer) close() {
	_ = s.packets.Close()
	_ = s.streams.Close()
}

func (s *dnsServer) serveUDP(ctx context.Context, d directory) {
	defer context.AfterFunc(ctx, func() { s.packets.Close() })()
	buf := make([]byte, maxQuerySize)
	for {
		n, from, err := s.packets.ReadFrom(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			s.log.Debug("reading DNS query", "error", err)
			continue
		}
		if reply := answer(d, buf[:n], true); reply != nil {
			if _, err := s.packets.WriteTo(reply, from); err != nil {
				s.log.Debug("writing DNS answer", "to", from, "error", err)
			}
		}
	}
}

func (s *dnsServer) serveTCP(ctx context.Context, d directory) {
	defer context.AfterFunc(ctx, func() { s.streams.Close() })()
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, maxConns)
	for {
		c, err := s.streams.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			s.log.Debug("accepting DNS client", "error", err)
			if !wait(ctx, acceptPause) {
				return
			}
			continue
		}
		slots <- struct{}{} // held for at most connIdle without progress of the client
		wg.Go(func() {
			defer func() { <-slots }()
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			serveStream(c, d)
		})
	}
}

// serveStream answers length-prefixed queries until the client stops.
func serveStream(c net.Conn, d directory) {
	for {
		if c.SetDeadline(time.Now().Add(connIdle)) != nil {
			return
		}
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if len(query) > maxQuerySize {
			return
		}
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		reply := answer(d, query, false)
		if reply == nil || len(reply) > 0xffff {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}

// answer builds the reply to one query, or nil when the query deserves none. Names outside of the cluster's
// domain are refused at once: a lab has no way to the world.
func answer(d directory, query []byte, udp bool) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil
	}
	q, err := p.Question()
	reply := dnsmessage.Message{Header: dnsmessage.Header{
		ID: h.ID, Response: true, OpCode: h.OpCode, RecursionDesired: h.RecursionDesired, RecursionAvailable: true,
	}}
	switch {
	case err != nil:
		reply.RCode = dnsmessage.RCodeFormatError
		return pack(reply)
	case h.OpCode != 0:
		reply.RCode = dnsmessage.RCodeNotImplemented
		return pack(reply)
	}
	reply.Questions = []dnsmessage.Question{q}

	addrs, found := d.lookup(q.Name.String())
	switch found {
	case foreign:
		reply.RCode = dnsmessage.RCodeRefused
	case unknown:
		reply.Authoritative = true
		reply.RCode = dnsmessage.RCodeNameError
	case known:
		reply.Authoritative = true
		if (q.Type == dnsmessage.TypeA || q.Type == dnsmessage.TypeALL) && q.Class == dnsmessage.ClassINET {
			for _, a := range addrs {
				reply.Answers = append(reply.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: recordTTL},
					Body:   &dnsmessage.AResource{A: a.As4()},
				})
			}
		}
	}
	out := pack(reply)
	if udp && len(out) > udpLimit(&p) {
		reply.Truncated, reply.Answers = true, nil // the client asks again over TCP
		out = pack(reply)
	}
	return out
}

// udpLimit reads the size that the client announced with EDNS(0), if it did. p stands behind the first
// question.
func udpLimit(p *dnsmessage.Parser) int {
	err := cmp.Or(p.SkipAllQuestions(), p.SkipAllAnswers(), p.SkipAllAuthorities())
	for err == nil {
		var h dnsmessage.ResourceHeader
		if h, err = p.AdditionalHeader(); err == nil && h.Type == dnsmessage.TypeOPT {
			return min(max(int(h.Class), plainUDPSize), maxUDPSize)
		}
		err = cmp.Or(err, p.SkipAdditional())
	}
	return plainUDPSize
}

func pack(m dnsmessage.Message) []byte {
	out, err := m.Pack()
	if err != nil {
		return nil // only a name that the parser accepted and the packer does not; silence is an answer too
	}
	return out
}
