// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package certs gives the apiserver its TLS identity without anybody's help.
//
// One CA lives in a Secret: whichever replica comes first creates it, all others use it. Each replica signs
// itself a short-lived server certificate in memory and renews it in place, and publishes the CA bundle in
// the Secret that the agents mount. The CA's key leaves the Secret only into the memory of the replicas.
package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/drydock-os/drydock/internal/agentapi"
)

const (
	// CASecret holds the CA: tls.crt, tls.key and the bundle of all CAs to trust as ca.crt.
	CASecret = "brupop-root-ca-secret"
	// BundleSecret is mounted by the agents; we keep its key ca.crt.
	BundleSecret = "brupop-apiserver-client-certificate"

	keyCert   = corev1.TLSCertKey
	keyKey    = corev1.TLSPrivateKeyKey
	keyBundle = "ca.crt"

	// recheckInterval is how often the two Secrets are compared with what we serve, so that a deleted one
	// comes back while the replicas live. Nobody waits for this: each start does the same.
	recheckInterval = 10 * time.Minute
	// maxConflicts bounds how often a write starts again because another replica was faster.
	maxConflicts = 10
)

// ErrBrokenSecret means that the CA Secret exists but does not hold a usable CA. Deleting it makes the
// apiserver create a new one.
var ErrBrokenSecret = errors.New("the CA secret is unusable")

// Config holds everything a Manager needs. Fields are required unless they name a default.
type Config struct {
	// Secrets are those of the operator's namespace.
	Secrets   corev1client.SecretInterface
	Namespace string
	Now       func() time.Time // default time.Now
	Log       *slog.Logger     // default: discard
}

// Manager owns the server certificate of one replica.
type Manager struct {
	cfg   Config
	names []string
	leaf  atomic.Pointer[tls.Certificate]
	// trusted is the bundle of all authorities, as PEM.
	trusted atomic.Pointer[[]byte]
}

// New checks cfg. Call Ensure before serving.
func New(cfg Config) (*Manager, error) {
	if cfg.Secrets == nil || cfg.Namespace == "" {
		return nil, errors.New("certificate manager needs Secrets and Namespace")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	host := agentapi.ServiceName + "." + cfg.Namespace + ".svc"
	return &Manager{cfg: cfg, names: []string{host, host + ".cluster.local"}}, nil
}

// GetCertificate is for tls.Config: it returns the present certificate.
func (m *Manager) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	leaf := m.leaf.Load()
	if leaf == nil {
		return nil, errors.New("no server certificate yet")
	}
	return leaf, nil
}

// Authorities returns the authorities that sign our certificates now or soon, as PEM. All replicas return the same.
func (m *Manager) Authorities() []byte {
	if b := m.trusted.Load(); b != nil {
		return *b
	}
	return nil
}

// Ensure makes sure that there is a CA, that the agents can see it, and that this replica has a certificate
// of it which is not due for renewal. Errors: ErrBrokenSecret, or those of the Kubernetes API.
func (m *Manager) Ensure(ctx context.Context) error {
	ca, err := m.authority(ctx)
	if err != nil {
		return err
	}
	// Publish first: an agent must never meet a certificate whose CA it could not have known.
	if err := m.publish(ctx, ca); err != nil {
		return err
	}
	bundle := encodeBundle(ca.bundle)
	m.trusted.Store(&bundle)
	now := m.cfg.Now()
	if leaf := m.leaf.Load(); leaf != nil && now.Before(renewAt(leaf)) && leaf.Leaf.CheckSignatureFrom(ca.cert) == nil {
		return nil
	}
	leaf, err := ca.issue(m.names, now)
	if err != nil {
		return err
	}
	m.leaf.Store(leaf)
	m.cfg.Log.Info("server certificate issued", "names", m.names, "notAfter", leaf.Leaf.NotAfter)
	return nil
}

// Run renews the certificate at two thirds of its life and puts missing Secrets back, until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	failing := false
	for {
		wait := recheckInterval
		if leaf := m.leaf.Load(); leaf != nil {
			// Never more often than once per minute, also when the CA itself is about to expire.
			wait = min(wait, max(renewAt(leaf).Sub(m.cfg.Now()), time.Minute))
		}
		if agentapi.Wait(ctx, wait) != nil {
			return nil
		}
		err := m.Ensure(ctx)
		if err != nil && ctx.Err() == nil && !failing {
			m.cfg.Log.Error("renewing the server certificate failed, going on with the present one", "error", err)
		}
		failing = err != nil
	}
}

// renewAt is two thirds into the certificate's life.
func renewAt(leaf *tls.Certificate) time.Time {
	life := leaf.Leaf.NotAfter.Sub(leaf.Leaf.NotBefore)
	return leaf.Leaf.NotBefore.Add(life * 2 / 3)
}

// authority returns the CA of the Secret, creating both when there is none. Of several replicas that create
// at once one wins, and the others read what it wrote.
func (m *Manager) authority(ctx context.Context) (*authority, error) {
	for range maxConflicts {
		secret, err := m.cfg.Secrets.Get(ctx, CASecret, metav1.GetOptions{})
		if err == nil {
			ca, err := parseAuthority(secret.Data[keyCert], secret.Data[keyKey], secret.Data[keyBundle], m.cfg.Now())
			if err != nil {
				return nil, fmt.Errorf("%w: secret %s/%s: %w; put a CA there that can be used, or delete the secret: the apiserver makes a new one",
					ErrBrokenSecret, m.cfg.Namespace, CASecret, err)
			}
			step, err := m.rotate(secret, ca)
			if err != nil || step == "" {
				return ca, err
			}
			// Update carries the resource version: each step is taken by one replica.
			if _, err = m.cfg.Secrets.Update(ctx, secret, metav1.UpdateOptions{}); err == nil {
				m.cfg.Log.Info("replacing the certificate authority", "step", step)
			} else if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
				return nil, fmt.Errorf("updating secret %s: %w", CASecret, err)
			}
			continue
		}
		if !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("getting secret %s: %w", CASecret, err)
		}
		cert, key, err := newAuthority(m.cfg.Now())
		if err != nil {
			return nil, err
		}
		_, err = m.cfg.Secrets.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: CASecret},
			Type:       corev1.SecretTypeTLS,
			Data:       map[string][]byte{keyCert: cert, keyKey: key, keyBundle: cert},
		}, metav1.CreateOptions{})
		switch {
		case err == nil:
			m.cfg.Log.Info("certificate authority created", "secret", CASecret)
		case !apierrors.IsAlreadyExists(err):
			return nil, fmt.Errorf("creating secret %s: %w", CASecret, err)
		}
		// Either way: read back what is stored.
	}
	return nil, fmt.Errorf("secret %s disappears as soon as it is created", CASecret)
}

// publish makes the agents' Secret hold our CA. Other certificates that are already there stay until they
// expire: during a change of installation replicas with certificates of either CA serve side by side.
func (m *Manager) publish(ctx context.Context, ca *authority) error {
	for range maxConflicts {
		secret, err := m.cfg.Secrets.Get(ctx, BundleSecret, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			_, err = m.cfg.Secrets.Create(ctx, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Name: BundleSecret},
				Type:       corev1.SecretTypeOpaque,
				Data:       map[string][]byte{keyBundle: encodeBundle(ca.bundle)},
			}, metav1.CreateOptions{})
			if apierrors.IsAlreadyExists(err) {
				continue
			}
			if err != nil {
				return fmt.Errorf("creating secret %s: %w", BundleSecret, err)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("getting secret %s: %w", BundleSecret, err)
		}
		published, err := parseBundle(secret.Data[keyBundle])
		if err != nil {
			m.cfg.Log.Warn("replacing an unreadable CA bundle", "secret", BundleSecret, "error", err)
			published = nil
		}
		all := merge(ca.bundle, published, m.cfg.Now())
		if sameSet(all, published) { // in any order: replicas must not rewrite each other's
			return nil
		}
		if secret.Data == nil {
			secret.Data = map[string][]byte{}
		}
		secret.Data[keyBundle] = encodeBundle(all)
		// Update carries the resource version: of two replicas that add at once neither loses.
		_, err = m.cfg.Secrets.Update(ctx, secret, metav1.UpdateOptions{})
		if err == nil {
			m.cfg.Log.Info("CA bundle published", "secret", BundleSecret)
			return nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return fmt.Errorf("updating secret %s: %w", BundleSecret, err)
		}
	}
	return fmt.Errorf("secret %s is changed by others all the time", BundleSecret)
}
