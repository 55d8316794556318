// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/drydock-os/drydock/internal/durable"
	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// ErrNoKey means that the keys at hand are not enough to sign for a role.
var ErrNoKey = errors.New("not enough keys at hand to sign")

// newKey makes an ed25519 key and writes it to path, readable by its owner only. An existing file is never replaced.
func newKey(path string) (crypto.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("making key: %w", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("making key %s: %w", path, errors.Join(fs.ErrExist, err))
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := durable.WriteFile(path, block, 0o600); err != nil {
		return nil, fmt.Errorf("making key: %w", err)
	}
	return key, nil
}

// loadKeys reads all private keys (*.pem, PKCS #8) in dir: ed25519, ECDSA on P-256 or RSA. Errors name files, never
// their content.
func loadKeys(dir string) ([]crypto.Signer, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("reading keys: no *.pem files in %s: %w", dir, ErrNoKey)
	}
	var keys []crypto.Signer
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading keys: %w", err)
		}
		block, _ := pem.Decode(data)
		if block == nil || block.Type != "PRIVATE KEY" {
			return nil, fmt.Errorf("reading keys: %s is not a private key in PEM form (PKCS #8)", path)
		}
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading keys: %s: not a private key in PKCS #8 form", path)
		}
		switch key := parsed.(type) {
		case ed25519.PrivateKey:
			keys = append(keys, key)
		case *rsa.PrivateKey:
			keys = append(keys, key)
		case *ecdsa.PrivateKey:
			if key.Curve != elliptic.P256() {
				return nil, fmt.Errorf("reading keys: %s: only the P-256 curve can sign here", path)
			}
			keys = append(keys, key)
		default:
			return nil, fmt.Errorf("reading keys: %s: a key of a kind that cannot sign here", path)
		}
	}
	return keys, nil
}

// sign signs m for a role of root with every key at hand that counts for it. Key ids are taken from root: they are
// computed over the key as it is written there, and programs write the same key in different ways.
func sign[T metadata.Roles](m *metadata.Metadata[T], role string, root *metadata.RootType, keys []crypto.Signer) error {
	payload, err := cjson.EncodeCanonical(m.Signed)
	if err != nil {
		return fmt.Errorf("signing %s: %w", role, err)
	}
	m.Signatures = nil
	ids := slices.Clone(root.Roles[role].KeyIDs)
	slices.Sort(ids) // the same input gives the same file
	for _, id := range ids {
		public, err := root.Keys[id].ToPublicKey()
		if err != nil {
			return fmt.Errorf("signing %s: key %s: %w", role, id, err)
		}
		for _, key := range keys {
			if !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(public) {
				continue
			}
			sig, err := signature(key, payload)
			if err != nil {
				return fmt.Errorf("signing %s: key %s: %w", role, id, err)
			}
			m.Signatures = append(m.Signatures, metadata.Signature{KeyID: id, Signature: sig})
			break
		}
	}
	if got, want := len(m.Signatures), root.Roles[role].Threshold; got < want {
		return fmt.Errorf("signing %s: %w: %d of the %d that are needed", role, ErrNoKey, got, want)
	}
	return nil
}

func signature(key crypto.Signer, payload []byte) ([]byte, error) {
	if _, ok := key.(ed25519.PrivateKey); ok {
		return key.Sign(rand.Reader, payload, crypto.Hash(0))
	}
	digest := sha256.Sum256(payload)
	if _, ok := key.(*rsa.PrivateKey); ok {
		// The original client accepts no other salt length.
		return key.Sign(rand.Reader, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	}
	return key.Sign(rand.Reader, digest[:], crypto.SHA256)
}
