// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package engine

import (
	"context"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/drydock-os/drydock/internal/hostd/system"
	"github.com/drydock-os/drydock/internal/manifest"
	"github.com/drydock-os/drydock/internal/osimage"
	"github.com/drydock-os/drydock/internal/tuf"
)

// updateHost is the name in the certificate of httptest. It means this test's server, whoever looks it up.
const updateHost = "example.com"

// A repository behind TLS is reached through the proxy of the settings, which sees nothing but the name of the host,
// and past it when the settings say so.
func TestProxyOfTheSettings(t *testing.T) {
	dir := t.TempDir()
	repo, keys := filepath.Join(dir, "repo"), filepath.Join(dir, "keys")
	rootPath, err := tuf.Init(t.Context(), repo, keys, tuf.InitOptions{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	r, err := tuf.OpenRepository(tuf.RepositoryConfig{Dir: repo, KeysDir: keys, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	empty := tuf.Source{Name: manifest.TargetName, Data: []byte(`{"updates": [], "migrations": {}}`)}
	if _, err := r.Publish(t.Context(), "metal/x86_64", []tuf.Source{empty}); err != nil {
		t.Fatal(err)
	}
	trusted, err := os.ReadFile(rootPath)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(http.FileServer(http.Dir(repo)))
	defer server.Close()
	authorities := filepath.Join(dir, "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(authorities, block, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", authorities) // read once, by the first TLS connection: no other test of this package makes one
	answerLookups(t, updateHost)
	to := server.Listener.Addr().String()
	_, port, err := net.SplitHostPort(to)
	if err != nil {
		t.Fatal(err)
	}
	name := net.JoinHostPort(updateHost, port)
	p := &proxy{to: to}
	proxyServer := httptest.NewServer(p)
	defer proxyServer.Close()

	for _, tc := range []struct {
		name, settings string
		want           bool // through the proxy
	}{
		{"proxy", fmt.Sprintf("https_proxy = %q\n", proxyServer.URL), true},
		{"proxy, not for others", fmt.Sprintf("https_proxy = %q\nno_proxy = [\"localhost\", \"other.example.com\"]\n", proxyServer.URL), true},
		{"not for this host", fmt.Sprintf("https_proxy = %q\nno_proxy = [\"localhost\", %q]\n", proxyServer.URL, updateHost), false},
		{"not for its domain", fmt.Sprintf("https_proxy = %q\nno_proxy = [\".com\"]\n", proxyServer.URL), false},
		{"not for anybody", fmt.Sprintf("https_proxy = %q\nno_proxy = [\"*\"]\n", proxyServer.URL), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root := t.TempDir()
			path := filepath.Join(root, settingsPath)
			text := fmt.Sprintf("metadata_base_url = \"https://%s/metal/x86_64/\"\ntargets_base_url = \"https://%s/targets/\"\n", name, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text+tc.settings), 0o600); err != nil {
				t.Fatal(err)
			}
			version, err := manifest.ParseVersion("1.0.0")
			if err != nil {
				t.Fatal(err)
			}
			e, err := New(Config{Root: root, Disk: &system.Disk{}, System: &system.Identity{
				TrustedRoot: trusted, Version: version, Arch: "x86_64", Release: osimage.Release{Variant: "metal"},
			}})
			if err != nil {
				t.Fatal(err)
			}
			p.forget()
			if _, err := e.refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			asked := p.forget()
			if !tc.want && len(asked) > 0 || tc.want && !slices.Equal(slices.Compact(asked), []string{"CONNECT " + name}) {
				t.Errorf("the proxy was asked for %q", asked)
			}
		})
	}
}

// proxy is an HTTP proxy that connects whatever it is asked for to one address.
type proxy struct {
	to string

	mu    sync.Mutex
	asked []string
}

// forget returns what was asked so far.
func (p *proxy) forget() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.asked
	p.asked = nil
	return asked
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.Host)
	p.mu.Unlock()
	if r.Method != http.MethodConnect {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	server, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", p.to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer server.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(server, buffered)
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(client, server)
	_ = client.Close() // ends the other direction
	<-done
}

// answerLookups makes name mean 127.0.0.1, and no other name anything, until the test ends.
func answerLookups(t *testing.T, name string) {
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer ours.Close()
			_ = answerLookup(ours, name+".") // the resolver sees an end that comes too early
		}()
		return theirs, nil
	}}
}

// answerLookup answers one question in the form of DNS over TCP.
func answerLookup(conn net.Conn, name string) error {
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return err
	}
	data := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, data); err != nil {
		return err
	}
	var m dnsmessage.Message
	if err := m.Unpack(data); err != nil {
		return err
	}
	if len(m.Questions) != 1 {
		return errors.New("want one question")
	}
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	switch {
	case q.Name.String() != name:
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	data, err := m.Pack()
	if err != nil {
		return err
	}
	_, err = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(data))), data...))
	return err
}
