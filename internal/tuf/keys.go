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
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/drydock-os/drydock/internal/durable"
)

// ErrKey means that a file does not hold a key that can be used here. Errors name files, never their content.
var ErrKey = errors.New("not a usable key")

// KeyType is a kind of key that can sign metadata.
type KeyType string

// The kinds of keys; all of them are known to the original client.
const (
	Ed25519 KeyType = "ed25519"
	ECDSA   KeyType = "ecdsa" // on the curve P-256
	RSA     KeyType = "rsa"   // signs with PSS
)

const (
	newRSABits   = 3072
	leastRSABits = 2048
	maxKeyFile   = 64 << 10
)

// GenerateKey makes a private key and writes it to path (PEM, PKCS #8), readable by its owner only. An existing file
// is never replaced.
func GenerateKey(path string, kind KeyType) (Signer, error) {
	var key crypto.Signer
	var err error
	switch kind {
	case Ed25519, "":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case ECDSA:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RSA:
		key, err = rsa.GenerateKey(rand.Reader, newRSABits)
	default:
		return nil, fmt.Errorf("making key: no key type %q (ed25519, ecdsa or rsa)", kind)
	}
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
	return keySigner{key}, nil
}

// LoadKeys reads all private keys (*.pem, PKCS #8) in dir. Errors: ErrNoKey when there are none, ErrKey.
func LoadKeys(dir string) ([]Signer, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("reading keys: no *.pem files in %s: %w", dir, ErrNoKey)
	}
	var keys []Signer
	for _, path := range paths {
		key, err := LoadKey(path)
		if err != nil {
			return nil, fmt.Errorf("reading keys: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// LoadKey reads a private key (PEM, PKCS #8). The error is ErrKey for anything else.
func LoadKey(path string) (Signer, error) {
	block, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	if block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s: %w: want a private key in PEM form (PKCS #8)", path, ErrKey)
	}
	key, err := parsePrivate(block)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keySigner{key}, nil
}

// LoadPublicKey reads a public key (PEM, PKIX), or the public half of a private key (PEM, PKCS #8).
func LoadPublicKey(path string) (crypto.PublicKey, error) {
	block, err := readPEM(path)
	if err != nil {
		return nil, fmt.Errorf("reading public key: %w", err)
	}
	switch block.Type {
	case "PRIVATE KEY":
		key, err := parsePrivate(block)
		if err != nil {
			return nil, fmt.Errorf("reading public key: %s: %w", path, err)
		}
		return key.Public(), nil
	case "PUBLIC KEY":
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading public key: %s: %w", path, ErrKey)
		}
		if err := checkPublic(key); err != nil {
			return nil, fmt.Errorf("reading public key: %s: %w", path, err)
		}
		return key, nil
	}
	return nil, fmt.Errorf("reading public key: %s: %w: want a public key in PEM form (PKIX)", path, ErrKey)
}

// PublicPEM returns a public key in PEM form (PKIX).
func PublicPEM(key crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("writing public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

func readPEM(path string) (*pem.Block, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s: %w: no PEM block", path, ErrKey)
	}
	return block, nil
}

func parsePrivate(block *pem.Block) (crypto.Signer, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: want a private key in PKCS #8 form", ErrKey) // the cause might quote the key
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: this kind cannot sign", ErrKey)
	}
	return key, checkPublic(key.Public())
}

// checkPublic refuses what the original client could not verify, and what is too weak.
func checkPublic(key crypto.PublicKey) error {
	switch key := key.(type) {
	case ed25519.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return fmt.Errorf("%w: only the P-256 curve can sign here", ErrKey)
		}
		return nil
	case *rsa.PublicKey:
		if key.N.BitLen() < leastRSABits {
			return fmt.Errorf("%w: RSA with %d bits, want %d or more", ErrKey, key.N.BitLen(), leastRSABits)
		}
		return nil
	}
	return fmt.Errorf("%w: want ed25519, ecdsa or rsa", ErrKey)
}
