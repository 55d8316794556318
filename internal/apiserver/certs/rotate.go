// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package certs

import (
	"crypto/x509"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	// keyNextCert and keyNextKey hold the CA that takes over, in the CA's Secret.
	keyNextCert = "next.crt"
	keyNextKey  = "next.key"

	// overlap is how long a new CA is published before certificates of it are served. The kubelets of all nodes
	// have written it into the agents' pods minutes after it is published; a day lets nodes be away for a while.
	overlap = 24 * time.Hour
)

// rotateAt is four fifths into the CA's life: a CA of ten years has a successor two years before its end, so that
// an apiserver may be away for long and still be in time.
func rotateAt(ca *x509.Certificate) time.Time {
	return ca.NotBefore.Add(ca.NotAfter.Sub(ca.NotBefore) / 5 * 4)
}

// rotate takes the next step of replacing the CA in its Secret, if one is due, and says which. First the successor
// is made and published beside the present CA; when everybody can know it, it takes over. The old CA stays in the
// bundle until it expires: replicas that have not seen the change yet serve certificates of it.
func (m *Manager) rotate(secret *corev1.Secret, ca *authority) (step string, err error) {
	now := m.cfg.Now()
	if len(secret.Data[keyNextCert]) == 0 {
		if now.Before(rotateAt(ca.cert)) {
			return "", nil
		}
		cert, key, err := newAuthority(now)
		if err != nil {
			return "", err
		}
		next, err := parseBundle(cert)
		if err != nil {
			return "", err
		}
		secret.Data[keyNextCert], secret.Data[keyNextKey] = cert, key
		secret.Data[keyBundle] = encodeBundle(merge(ca.bundle, next, now))
		return "successor published", nil
	}
	next, err := parseAuthority(secret.Data[keyNextCert], secret.Data[keyNextKey], nil, now)
	if err != nil { // nothing is signed with it yet: make another one
		m.cfg.Log.Warn("the successor of the CA is unusable", "error", err)
		delete(secret.Data, keyNextCert)
		delete(secret.Data, keyNextKey)
		return "unusable successor removed", nil
	}
	if now.Before(next.cert.NotBefore.Add(skew + overlap)) {
		return "", nil
	}
	secret.Data[keyCert], secret.Data[keyKey] = secret.Data[keyNextCert], secret.Data[keyNextKey]
	secret.Data[keyBundle] = encodeBundle(merge(next.bundle, ca.bundle, now))
	delete(secret.Data, keyNextCert)
	delete(secret.Data, keyNextKey)
	return "successor took over", nil
}
