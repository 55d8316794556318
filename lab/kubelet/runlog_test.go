// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestWhatAReaderOfALogAsksFor(t *testing.T) {
	log, err := createLog(filepath.Join(t.TempDir(), "0.log"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = log.Write([]byte("one\ntwo\n"))
	now := time.Now()
	time.Sleep(2 * time.Millisecond) // so that the next line is later
	_, _ = log.Write([]byte("three\n\n"))
	for query, want := range map[string]string{
		"":                "one\ntwo\nthree\n\n",
		"tailLines=2":     "three\n\n",
		"tailLines=0":     "",
		"tailLines=99":    "one\ntwo\nthree\n\n",
		"limitBytes=5":    "one\nt",
		"limitBytes=0":    "",
		"sinceSeconds=60": "one\ntwo\nthree\n\n",
		"sinceTime=" + url.QueryEscape(now.Add(time.Millisecond).UTC().Format(time.RFC3339Nano)): "three\n\n",
		"sinceTime=2999-01-01T00:00:00Z": "",
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		o, err := logOptionsOf(q, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		if err := log.copyTo(t.Context(), &got, func() {}, o); err != nil || got.String() != want {
			t.Errorf("%s: %q, %v, want %q", query, got.String(), err, want)
		}
	}
	for _, query := range []string{"tailLines=-1", "limitBytes=many", "sinceTime=yesterday", "sinceSeconds=1.5"} {
		q, _ := url.ParseQuery(query)
		if _, err := logOptionsOf(q, time.Now()); err == nil {
			t.Errorf("%s is taken", query)
		}
	}
	var stamped strings.Builder
	if err := log.copyTo(t.Context(), &stamped, func() {}, logOptions{tail: 1, limit: -1, timestamps: true}); err != nil {
		t.Fatal(err)
	}
	if at, rest, _ := strings.Cut(stamped.String(), " "); rest != "\n" || len(at) < len("2006-01-02T15:04:05Z") {
		t.Errorf("with its time: %q", stamped.String())
	}
	log.end()
	if kept, err := keptLog(log.path); err != nil || kept.size != log.size {
		t.Errorf("kept: %+v, %v", kept, err)
	}
}

func TestAReaderThatFollowsGetsEveryLine(t *testing.T) {
	log, err := createLog(filepath.Join(t.TempDir(), "0.log"))
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	go func() {
		_ = log.copyTo(t.Context(), w, func() {}, logOptions{tail: -1, limit: -1, follow: true})
		w.Close()
	}()
	go func() {
		for i := range 1000 {
			_, _ = log.Write(fmt.Appendf(nil, "line %d\n", i))
		}
		log.end()
	}()
	text, err := io.ReadAll(r)
	if lines := strings.Split(string(text), "\n"); err != nil || len(lines) != 1001 || lines[999] != "line 999" {
		t.Errorf("%d lines, %v", len(lines), err)
	}
}

// authority is that of the tests' cluster, for kubelets and for who asks them.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority() (*authority, error) {
	a := &authority{}
	self, err := a.issue(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "ca"}})
	if err != nil {
		return nil, err
	}
	a.cert, a.key = self.Leaf, self.PrivateKey.(*ecdsa.PrivateKey)
	return a, nil
}

func (a *authority) issue(template *x509.Certificate) (tls.Certificate, error) {
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func (a *authority) user(name string, groups ...string) (tls.Certificate, error) {
	return a.issue(&x509.Certificate{Subject: pkix.Name{CommonName: name, Organization: groups}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

// apiserverFlags writes what the API server needs to ask kubelets into a directory, and returns its flags.
func (a *authority) apiserverFlags(dir string) (map[string]string, error) {
	client, err := a.user("kube-apiserver-kubelet-client", "system:masters")
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(client.PrivateKey)
	if err != nil {
		return nil, err
	}
	flags := map[string]string{"kubelet-preferred-address-types": "InternalIP"}
	for flag, block := range map[string]*pem.Block{
		"kubelet-certificate-authority": {Type: "CERTIFICATE", Bytes: a.cert.Raw},
		"kubelet-client-certificate":    {Type: "CERTIFICATE", Bytes: client.Certificate[0]},
		"kubelet-client-key":            {Type: "PRIVATE KEY", Bytes: key},
	} {
		flags[flag] = filepath.Join(dir, flag+".pem")
		if err := os.WriteFile(flags[flag], pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, err
		}
	}
	return flags, nil
}

// Logs are for who may read them: the API server, which has asked its own users before.
func TestLogsAreServedToWhoMayReadThem(t *testing.T) {
	c, ns := newCluster(t)
	n := newNode(t, c, "logs", func(cfg *Config) {
		certificate, err := c.authority.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "node"}, IPAddresses: []net.IP{cfg.NodeIP.AsSlice()}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Serving = &Serving{Certificate: certificate, ClientCAs: c.authority.pool()}
	})
	pod := n.pod(ns, "talks", "exit", "7")
	n.await(n.create(pod), func(p *corev1.Pod) string {
		if len(p.Status.ContainerStatuses) == 0 || p.Status.ContainerStatuses[0].RestartCount < 2 {
			return "no second restart"
		}
		return ""
	})
	idle := n.pod(ns, "idle")
	idle.Spec.Containers[0].Image = "registry.example/unknown:v1"
	n.await(n.create(idle), isReady)
	// As 'kubectl logs' does: through the API server.
	text, err := c.client.CoreV1().Pods(ns).GetLogs("talks", &corev1.PodLogOptions{Container: "main", Previous: true, TailLines: new(int64(1))}).DoRaw(t.Context())
	if err != nil || string(text) != "exiting with 7\n" {
		t.Errorf("through the API server: %q, %v", text, err)
	}
	get := func(who *tls.Certificate, path string) (int, string) {
		t.Helper()
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.authority.pool()}, DisableKeepAlives: true}
		if who != nil {
			transport.TLSClientConfig.Certificates = []tls.Certificate{*who}
		}
		client := http.Client{Transport: transport, Timeout: 30 * time.Second}
		resp, err := client.Get(fmt.Sprintf("https://%s:%d/containerLogs/%s", n.cfg.NodeIP, Port, path))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	server, err := c.authority.user("kube-apiserver-kubelet-client", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	jane, err := c.authority.user("jane")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		who  *tls.Certificate
		path string
		code int
		says string
	}{
		{&server, ns + "/talks/main?previous=true", 200, "exiting with 7\n"},
		{nil, ns + "/talks/main", 401, "Unauthorized"},
		{&jane, ns + "/talks/main", 403, "Forbidden (user=jane"},
		{&server, ns + "/talks/other", 404, `container "other"`},
		{&server, ns + "/nobody/main", 404, `pod "nobody"`},
		{&server, ns + "/talks/main?tailLines=x", 422, "tailLines"},
		// Who wonders why a simulated pod does nothing learns it where they look first.
		{&server, ns + "/idle/main", 200, "'lab up --image registry.example/unknown:v1=DIR'"},
	} {
		if code, body := get(tc.who, tc.path); code != tc.code || !strings.Contains(body, tc.says) {
			t.Errorf("%s: %d %q, want %d %q", tc.path, code, body, tc.code, tc.says)
		}
	}
}
