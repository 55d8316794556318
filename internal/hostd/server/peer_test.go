// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package server

import (
	"context"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/drydock-os/drydock/internal/hostapi/execapi"
)

// The kernel says who opened a connection: this process, with all of its groups.
func TestThePeerOfASocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p, ok := WithPeer(t.Context(), conn).Value(peerKey{}).(Peer)
	if !ok || int(p.UID) != os.Geteuid() || int(p.Groups[0]) != os.Getegid() {
		t.Fatalf("got %+v, %v", p, ok)
	}
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		if !slices.Contains(p.Groups, uint32(g)) {
			t.Errorf("group %d is missing in %v", g, p.Groups)
		}
	}
	one, other := net.Pipe()
	defer one.Close()
	defer other.Close()
	if _, ok := WithPeer(t.Context(), one).Value(peerKey{}).(Peer); ok {
		t.Error("a connection without credentials has a peer")
	}
}

func TestRightsByPeer(t *testing.T) {
	rights := Rights{Owner: 500, Group: 274}
	for _, tc := range []struct {
		name        string
		peer        *Peer
		mayDoIt     bool
		explanation string
	}{
		{"root", &Peer{UID: 0, Groups: []uint32{0}}, true, ""},
		{"the daemon's user", &Peer{UID: 500, Groups: []uint32{500}}, true, ""},
		{"primary group", &Peer{UID: 1000, Groups: []uint32{274}}, true, ""},
		{"supplementary group", &Peer{UID: 1000, Groups: []uint32{1000, 4, 274}}, true, ""},
		{"somebody else", &Peer{UID: 1000, Groups: []uint32{1000, 4}}, false, "user 1000 is neither root nor in group 274"},
		{"unknown", nil, false, "it is not known who asks"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, request := range []struct{ method, path string }{
				{"PATCH", "/settings"}, {"POST", "/actions/reboot"}, {"DELETE", "/tx"}, {"GET", execapi.Path}, {"HEAD", "/os"},
			} {
				r := httptest.NewRequest(request.method, request.path, nil)
				if tc.peer != nil {
					r = r.WithContext(context.WithValue(r.Context(), peerKey{}, *tc.peer))
				}
				refused := rights.permits(r)
				if (refused == nil) != tc.mayDoIt || refused != nil && (refused.code != 403 || !strings.Contains(refused.text, tc.explanation)) {
					t.Errorf("%v: %v", request, refused)
				}
			}
			r := httptest.NewRequest("GET", "/settings", nil)
			if refused := rights.permits(r); refused != nil {
				t.Errorf("reading: %v", refused)
			}
		})
	}
}
