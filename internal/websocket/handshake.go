// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package websocket

import (
	"bufio"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the protocol asks for it, and nothing is secret about it
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// acceptKey answers a key, as proof that the server knows the protocol.
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// hasToken reports whether a header is a list that has a word in it.
func hasToken(h http.Header, name, token string) bool {
	for _, line := range h.Values(name) {
		for word := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(word), token) {
				return true
			}
		}
	}
	return false
}

// maxKey is far longer than any key that a client makes.
const maxKey = 128

// Check reports why a request is no WebSocket handshake, in words for its client. Keys are taken as they are: what
// matters is that the answer fits.
func Check(r *http.Request) error {
	key := r.Header.Get("Sec-WebSocket-Key")
	switch {
	case !r.ProtoAtLeast(1, 1):
		return errors.New("WebSocket needs HTTP/1.1")
	case !hasToken(r.Header, "Upgrade", "websocket"):
		return errors.New("WebSocket upgrade is expected")
	case !hasToken(r.Header, "Connection", "upgrade"):
		return errors.New("Connection upgrade is expected") //nolint:staticcheck // the name of a header
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return errors.New("WebSocket version 13 is expected")
	case key == "" || len(key) > maxKey:
		return errors.New("a WebSocket key is expected")
	}
	return nil
}

// Accept takes over the connection of a request that Check is content with, and answers it. Deadlines of the HTTP
// server no longer apply.
func Accept(w http.ResponseWriter, r *http.Request, limit int) (*Conn, error) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("taking over the connection: %w", err)
	}
	err = conn.SetDeadline(time.Time{})
	if err == nil {
		_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			acceptKey(r.Header.Get("Sec-WebSocket-Key")))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("answering the handshake: %w", err), conn.Close())
	}
	return NewConn(conn, rw.Reader, false, limit), nil
}

// Connect makes the handshake for a path over a connection. When the server does not agree, the connection is nil and
// the answer is what the server said instead, with its body to be read and closed.
func Connect(conn net.Conn, path string, header http.Header, limit int) (*Conn, *http.Response, error) {
	req, err := http.NewRequest(http.MethodGet, "http://localhost"+path, http.NoBody)
	if err != nil {
		return nil, nil, err
	}
	key := make([]byte, 16)
	_, _ = rand.Read(key) // never fails
	if header != nil {
		req.Header = header.Clone()
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	req.Header.Set("Sec-WebSocket-Version", "13")
	req.Header.Set("Sec-WebSocket-Key", base64.StdEncoding.EncodeToString(key))
	if err := req.Write(conn); err != nil {
		return nil, nil, fmt.Errorf("asking for a WebSocket: %w", err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		return nil, nil, fmt.Errorf("asking for a WebSocket: %w", err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, resp, nil
	}
	if resp.Header.Get("Sec-WebSocket-Accept") != acceptKey(req.Header.Get("Sec-WebSocket-Key")) {
		return nil, nil, errors.New("asking for a WebSocket: the server's proof is wrong")
	}
	return NewConn(conn, r, true, limit), nil, nil
}
