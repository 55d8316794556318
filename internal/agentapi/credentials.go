// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package agentapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// maxCredential bounds the files read here: a token has 1-2 KiB, a bundle a few certificates.
const maxCredential = 1 << 20

// watchedFile re-reads a file when it was replaced: kubelet swaps tokens and secrets under us.
type watchedFile struct {
	path string
	info os.FileInfo
}

// changed returns the content and true when the file is not the one seen last.
func (f *watchedFile) changed() ([]byte, bool, error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, false, err
	}
	if f.info != nil && os.SameFile(f.info, info) && f.info.ModTime().Equal(info.ModTime()) && f.info.Size() == info.Size() {
		return nil, false, nil
	}
	file, err := os.Open(f.path)
	if err != nil {
		return nil, false, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxCredential+1))
	if err != nil {
		return nil, false, err
	}
	if len(data) > maxCredential {
		return nil, false, fmt.Errorf("%s is larger than %d bytes", f.path, maxCredential)
	}
	f.info = info
	return data, true, nil
}

// credentials holds what a request needs: the token and a transport that trusts the present CA bundle.
type credentials struct {
	mu        sync.Mutex
	tokenFile watchedFile
	caFile    watchedFile
	token     string
	nodeUID   string
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	transport *http.Transport
}

// current returns token, node UID and transport, re-reading what changed on disk. One transport, hence
// one HTTP/2 connection, serves until the CA bundle changes; requests on the old one may still finish.
func (c *credentials) current() (token, nodeUID string, rt http.RoundTripper, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, changed, err := c.tokenFile.changed()
	switch {
	case err != nil:
		return "", "", nil, fmt.Errorf("reading service account token: %w", err)
	case changed:
		c.token = strings.TrimSpace(string(data))
		c.nodeUID = tokenNodeUID(c.token)
	}
	if c.token == "" {
		c.tokenFile.info = nil
		return "", "", nil, fmt.Errorf("reading service account token: %s is empty", c.tokenFile.path)
	}
	data, changed, err = c.caFile.changed()
	if err != nil {
		return "", "", nil, fmt.Errorf("reading CA bundle: %w", err)
	}
	if changed {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(data) {
			c.caFile.info = nil
			return "", "", nil, fmt.Errorf("reading CA bundle: %s holds no certificate", c.caFile.path)
		}
		if c.transport != nil {
			c.transport.CloseIdleConnections()
		}
		c.transport = newTransport(pool, c.dial)
	}
	return c.token, c.nodeUID, c.transport, nil
}

// reload makes the next request read the token anew: the server does not accept the one that is known, and a file may
// change without a trace in what changed looks at.
func (c *credentials) reload() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokenFile.info = nil
}

// close ends idle connections.
func (c *credentials) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.transport != nil {
		c.transport.CloseIdleConnections()
	}
}

func newTransport(pool *x509.CertPool, dial func(context.Context, string, string) (net.Conn, error)) *http.Transport {
	return &http.Transport{
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		// A peer that vanished without a word is noticed within half a minute, also under a long drain.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
}

// tokenNodeUID reads the node's UID out of a service account token, without verifying anything: it is
// only told to the server, which verifies. It returns "" for tokens without that claim.
func tokenNodeUID(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Kubernetes struct {
			Node struct {
				UID string `json:"uid"`
			} `json:"node"`
		} `json:"kubernetes.io"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.Kubernetes.Node.UID
}
