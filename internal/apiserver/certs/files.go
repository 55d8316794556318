// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package certs

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// FilesDir is where a Secret with the server's certificate is mounted.
const FilesDir = "/etc/brupop-tls-keys"

// maxFile bounds each file that is read: a chain of a few certificates.
const maxFile = 1 << 20

// Files is a server certificate that somebody else provides and renews as files: tls.crt, tls.key and, for the
// Kubernetes API server to trust, ca.crt. What changes on disk is served from the next handshake on.
type Files struct {
	dir string
	log *slog.Logger

	mu     sync.Mutex
	seen   [2]stamp
	leaf   *tls.Certificate
	failed string // the last failure that was logged
}

// stamp tells one content of a file from another.
type stamp struct {
	modified time.Time
	size     int64
}

// NewFiles reads nothing yet. log may be nil.
func NewFiles(dir string, log *slog.Logger) *Files {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Files{dir: dir, log: log}
}

// Ensure returns nil if there is a usable certificate.
func (f *Files) Ensure(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reload()
}

// Run waits for the end: files are looked at when they are needed.
func (f *Files) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// GetCertificate is for tls.Config. While what is on disk cannot be used it goes on with the last good one.
func (f *Files) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch err := f.reload(); {
	case err == nil:
		f.failed = ""
	case f.leaf == nil:
		return nil, err
	case f.failed != err.Error():
		f.failed = err.Error()
		f.log.Error("reading the new server certificate failed, going on with the present one", "error", err)
	}
	return f.leaf, nil
}

// Authorities returns the content of ca.crt, nil if there is none.
func (f *Files) Authorities() []byte {
	data, err := readFile(filepath.Join(f.dir, keyBundle))
	if err != nil {
		return nil
	}
	if certs, err := parseBundle(data); err != nil || len(certs) == 0 {
		return nil
	}
	return data
}

// reload reads the pair if it changed. Between the two files of a renewal they do not fit: the next call succeeds.
func (f *Files) reload() error {
	certFile, keyFile := filepath.Join(f.dir, keyCert), filepath.Join(f.dir, keyKey)
	var now [2]stamp
	for i, name := range []string{certFile, keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("reading server certificate: %w", err)
		}
		now[i] = stamp{info.ModTime(), info.Size()}
	}
	if f.leaf != nil && now == f.seen {
		return nil
	}
	cert, err := readFile(certFile)
	if err != nil {
		return fmt.Errorf("reading server certificate: %w", err)
	}
	key, err := readFile(keyFile)
	if err != nil {
		return fmt.Errorf("reading server certificate's key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("reading server certificate: %s and %s: %w", certFile, keyFile, err)
	}
	f.leaf, f.seen = &pair, now
	f.log.Info("server certificate read", "names", pair.Leaf.DNSNames, "notAfter", pair.Leaf.NotAfter)
	return nil
}

func readFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	return data, err
}
