// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/internal/hostapi/execapi"
)

// Peer is who is at the other end of a connection, as the kernel says (SO_PEERCRED and SO_PEERGROUPS of socket(7)). It
// is who opened the connection, whoever uses it now.
type Peer struct {
	UID    uint32
	Groups []uint32 // the primary group first
}

type peerKey struct{}

// WithPeer adds the peer of a Unix socket to the context of its requests. It is for http.Server.ConnContext.
func WithPeer(ctx context.Context, conn net.Conn) context.Context {
	if p, err := peerOf(conn); err == nil {
		return context.WithValue(ctx, peerKey{}, p)
	}
	return ctx // a peer that is not known has no rights but reading
}

func peerOf(conn net.Conn) (Peer, error) {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return Peer{}, fmt.Errorf("a connection of type %T has no peer credentials", conn)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("reading peer credentials: %w", err)
	}
	var p Peer
	var asked error
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			asked = err
			return
		}
		p = Peer{UID: cred.Uid, Groups: append([]uint32{cred.Gid}, peerGroups(fd)...)}
	})
	if err == nil {
		err = asked
	}
	if err != nil {
		return Peer{}, fmt.Errorf("reading peer credentials: %w", err)
	}
	return p, nil
}

// maxGroups is how many supplementary groups a process may have: NGROUPS_MAX of Linux.
const maxGroups = 65536

// peerGroups returns the supplementary groups of a peer; none when the kernel does not tell.
func peerGroups(fd uintptr) []uint32 {
	groups := make([]uint32, 32)
	for len(groups) <= maxGroups {
		size := uint32(len(groups) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch errno {
		case 0:
			return groups[:size/4]
		case unix.ERANGE: // size says how much it would be
			groups = make([]uint32, size/4)
		default:
			return nil
		}
	}
	return nil
}

// Rights says which peers may change something. Everybody else may only read: nobody can even do that as long as the
// mode of the socket is the one it was made with.
type Rights struct {
	Owner uint32 // of the daemon, beside root
	Group uint32 // of the socket
}

// mayChange reports whether p may do more than read.
func (r Rights) mayChange(p Peer) bool {
	return p.UID == 0 || p.UID == r.Owner || slices.Contains(p.Groups, r.Group)
}

// permits returns why a request is refused, or nil.
func (r Rights) permits(req *http.Request) *httpError {
	if req.Method == http.MethodGet && req.URL.Path != execapi.Path {
		return nil
	}
	p, known := req.Context().Value(peerKey{}).(Peer)
	switch {
	case !known:
		return &httpError{http.StatusForbidden, "Permission denied: it is not known who asks, and only root and the group of the socket may do this"}
	case !r.mayChange(p):
		return &httpError{http.StatusForbidden, fmt.Sprintf("Permission denied: user %d is neither root nor in group %d, which may do this", p.UID, r.Group)}
	}
	return nil
}
