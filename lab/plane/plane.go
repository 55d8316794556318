// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package plane runs a Kubernetes control plane as four plain processes: etcd, kube-apiserver,
// kube-controller-manager and kube-scheduler, all from the one multi-call binary of lab/controlplane.
// A plane that Start returned answers; when one of its processes dies, Failed says which and why.
package plane

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// readyLimit bounds the start of the whole control plane; it takes 3-4 s on two idle cores.
const readyLimit = 90 * time.Second

// probePause is the time between two looks at a starting component's health.
const probePause = 50 * time.Millisecond

// Config says where the control plane lives. All fields are required.
type Config struct {
	Binary      string       // the multi-call binary
	Dir         string       // its files: certificates, etcd data, logs, audit log
	Address     netip.Addr   // the address the API server announces, present on this machine
	ServiceIP   netip.Addr   // the address of the kubernetes Service, present on this machine
	ServiceCIDR netip.Prefix // where Service addresses come from
	Now         time.Time    // when certificates begin
	Log         *slog.Logger
}

// Plane is a running control plane.
type Plane struct {
	cfg       Config
	ca        *authority
	admin     *rest.Config
	processes []*process
	failed    chan error
}

// Start starts the four components and waits until each says that it is healthy. When it fails it has
// stopped whatever it started.
func Start(ctx context.Context, cfg Config) (*Plane, error) {
	p := &Plane{cfg: cfg, failed: make(chan error, 4)}
	ctx, cancel := context.WithTimeoutCause(ctx, readyLimit,
		fmt.Errorf("the control plane was not ready after %v; its logs are in %s", readyLimit, cfg.Dir))
	defer cancel()
	if err := p.start(ctx); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

func (p *Plane) start(ctx context.Context) error {
	if err := p.writeFiles(); err != nil {
		return err
	}
	if err := p.run("etcd", p.etcdArgs()); err != nil {
		return err
	}
	if err := p.waitHealthy(ctx, "etcd", http.DefaultClient, "http://127.0.0.1:2379/health"); err != nil {
		return err
	}
	if err := p.run("kube-apiserver", p.apiserverArgs()); err != nil {
		return err
	}
	admin, err := rest.HTTPClientFor(p.AdminConfig())
	if err != nil {
		return fmt.Errorf("making a client of the API server: %w", err)
	}
	if err := p.waitHealthy(ctx, "kube-apiserver", admin, p.server()+"/readyz"); err != nil {
		return err
	}
	if err := p.run("kube-controller-manager", p.controllerManagerArgs()); err != nil {
		return err
	}
	return p.run("kube-scheduler", p.schedulerArgs())
}

// Failed delivers the first unexpected end of a component, with the last lines of its log.
func (p *Plane) Failed() <-chan error { return p.failed }

// Stop ends all components and returns when they are gone.
func (p *Plane) Stop() {
	for i := len(p.processes) - 1; i >= 0; i-- {
		p.processes[i].stop()
	}
}

// AuditLog returns the path of the API server's audit log: one JSON object for each request.
func (p *Plane) AuditLog() string { return filepath.Join(p.cfg.Dir, "audit.log") }

// AdminConfig returns the configuration of a client that may do everything.
func (p *Plane) AdminConfig() *rest.Config { return rest.CopyConfig(p.admin) }

// ClientConfig returns the configuration of a client that is the user, in the groups.
func (p *Plane) ClientConfig(user string, groups ...string) (*rest.Config, error) {
	crt, err := p.ca.client(user, groups...)
	if err != nil {
		return nil, err
	}
	return &rest.Config{
		Host:      p.server(),
		UserAgent: user,
		QPS:       -1, // the lab's own server needs no protection from the lab
		TLSClientConfig: rest.TLSClientConfig{
			CAData: p.ca.pem, CertData: crt.cert, KeyData: crt.key,
		},
	}, nil
}

// Serving returns what a node at that address needs to be asked by the API server: a certificate that it trusts, and the
// authority of its own.
func (p *Plane) Serving(node string, address netip.Addr) (tls.Certificate, *x509.CertPool, error) {
	crt, err := p.ca.server("system:node:"+node, []string{node}, []net.IP{address.AsSlice()})
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	pair, err := tls.X509KeyPair(crt.cert, crt.key)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("reading the certificate of %s back: %w", node, err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(p.ca.cert)
	return pair, clients, nil
}

// Kubeconfig writes an administrator's kubeconfig for the server's URL, as seen by its reader.
func (p *Plane) Kubeconfig(path, server string) error {
	crt, err := p.ca.client("drydock-lab-admin", "system:masters")
	if err != nil {
		return err
	}
	c := clientcmdapi.NewConfig()
	c.Clusters["lab"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: p.ca.pem}
	c.AuthInfos["admin"] = &clientcmdapi.AuthInfo{ClientCertificateData: crt.cert, ClientKeyData: crt.key}
	c.Contexts["lab"] = &clientcmdapi.Context{Cluster: "lab", AuthInfo: "admin"}
	c.CurrentContext = "lab"
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		return fmt.Errorf("writing kubeconfig: %w", err)
	}
	return nil
}

func (p *Plane) server() string { return "https://" + p.cfg.ServiceIP.String() + ":443" }

func (p *Plane) path(name string) string { return filepath.Join(p.cfg.Dir, name) }

// writeFiles makes the certificates, keys and configuration files the components read.
func (p *Plane) writeFiles() error {
	if err := os.MkdirAll(p.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("making the control plane's directory: %w", err)
	}
	var err error
	if p.ca, err = newAuthority(p.cfg.Now); err != nil {
		return err
	}
	if p.admin, err = p.ClientConfig("drydock-lab", "system:masters"); err != nil {
		return err
	}
	serving, err := p.ca.server("kube-apiserver",
		[]string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"},
		[]net.IP{p.cfg.ServiceIP.AsSlice(), p.cfg.Address.AsSlice(), net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	toKubelets, err := p.ca.client("kube-apiserver-kubelet-client", "system:masters")
	if err != nil {
		return err
	}
	signing, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making the service account key: %w", err)
	}
	signingKey, err := marshalKey(signing)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(signing.Public())
	if err != nil {
		return fmt.Errorf("encoding the service account key: %w", err)
	}
	for name, data := range map[string][]byte{
		"ca.crt": p.ca.pem, "apiserver.crt": serving.cert, "apiserver.key": serving.key,
		"kubelet-client.crt": toKubelets.cert, "kubelet-client.key": toKubelets.key,
		"sa.key": signingKey, "sa.pub": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
		"audit.yaml": []byte(auditPolicy),
	} {
		if err := os.WriteFile(p.path(name), data, 0o600); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	for _, user := range []string{"system:kube-controller-manager", "system:kube-scheduler"} {
		if err := p.componentKubeconfig(user); err != nil {
			return err
		}
	}
	return nil
}

func (p *Plane) componentKubeconfig(user string) error {
	crt, err := p.ca.client(user)
	if err != nil {
		return err
	}
	c := clientcmdapi.NewConfig()
	c.Clusters["lab"] = &clientcmdapi.Cluster{Server: p.server(), CertificateAuthorityData: p.ca.pem}
	c.AuthInfos["me"] = &clientcmdapi.AuthInfo{ClientCertificateData: crt.cert, ClientKeyData: crt.key}
	c.Contexts["lab"] = &clientcmdapi.Context{Cluster: "lab", AuthInfo: "me"}
	c.CurrentContext = "lab"
	if err := clientcmd.WriteToFile(*c, p.path(user[len("system:"):]+".kubeconfig")); err != nil {
		return fmt.Errorf("writing the kubeconfig of %s: %w", user, err)
	}
	return nil
}

// waitHealthy looks at the URL until it answers 200, the component ends, or ctx does. The components
// offer no event for this; the look is local and cheap.
func (p *Plane) waitHealthy(ctx context.Context, name string, client *http.Client, url string) error {
	tick := time.NewTicker(probePause)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return fmt.Errorf("asking %s for its health: %w", name, err)
		}
		if resp, err := client.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-p.failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", name, errors.Join(context.Cause(ctx), lastLines(p.path(name+".log"))))
		case <-tick.C:
		}
	}
}
