// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// ErrNoKey means that the keys at hand are not enough to sign for a role.
var ErrNoKey = errors.New("not enough keys at hand to sign")

// Signer signs with one private key, wherever that key is.
type Signer interface {
	Public() crypto.PublicKey

	// SignPayload returns the signature over payload (not over its digest): ed25519, ECDSA in ASN.1 form with
	// SHA-256, or RSA-PSS with SHA-256 and a salt as long as the digest.
	SignPayload(ctx context.Context, payload []byte) ([]byte, error)
}

// keySigner signs with a private key in memory.
type keySigner struct{ crypto.Signer }

func (k keySigner) SignPayload(_ context.Context, payload []byte) ([]byte, error) {
	digest := sha256.Sum256(payload)
	switch k.Public().(type) {
	case ed25519.PublicKey:
		return k.Sign(rand.Reader, payload, crypto.Hash(0))
	case *rsa.PublicKey:
		return k.Sign(rand.Reader, digest[:], pssOptions) // the original client accepts no other salt length
	}
	return k.Sign(rand.Reader, digest[:], crypto.SHA256)
}

var pssOptions = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}

// Bounds of a signing command. It may ask a person to touch a token, but not for ever.
const (
	commandTimeout = 2 * time.Minute
	maxSignature   = 16 << 10 // bytes of output
)

// commandSigner signs by running a program.
type commandSigner struct {
	public  crypto.PublicKey
	command string
}

// NewCommandSigner returns a Signer for a key that another program holds, such as an HSM or a key management service.
// The shell command gets the bytes to sign on stdin and prints the signature as SignPayload describes it, raw or in
// base64. What it prints is verified before it is used.
func NewCommandSigner(public crypto.PublicKey, command string) Signer {
	return commandSigner{public, command}
}

func (c commandSigner) Public() crypto.PublicKey { return c.public }

func (c commandSigner) SignPayload(ctx context.Context, payload []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, commandTimeout, fmt.Errorf("no signature after %v", commandTimeout))
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", c.command)
	cmd.WaitDelay = 5 * time.Second // what the command started may hold its output open
	var stdout, stderr limitedBuffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(payload), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("signing command: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	sig := stdout.Bytes()
	if verifies(c.public, payload, sig) {
		return sig, nil
	}
	text := strings.Join(strings.Fields(string(sig)), "")
	if decoded, err := base64.StdEncoding.DecodeString(text); err == nil && verifies(c.public, payload, decoded) {
		return decoded, nil
	}
	return nil, fmt.Errorf("signing command: it printed %d bytes that are not a signature of its public key", len(sig))
}

// limitedBuffer refuses to grow beyond maxSignature.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxSignature {
		return 0, io.ErrShortWrite
	}
	return b.Buffer.Write(p)
}

func verifies(public crypto.PublicKey, payload, sig []byte) bool {
	digest := sha256.Sum256(payload)
	switch key := public.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(key, payload, sig)
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(key, digest[:], sig)
	case *rsa.PublicKey:
		return rsa.VerifyPSS(key, crypto.SHA256, digest[:], sig, pssOptions) == nil
	}
	return false
}

// signerFor returns the signer at hand for a key of root, or nil.
func signerFor(key *metadata.Key, signers []Signer) (Signer, error) {
	public, err := key.ToPublicKey()
	if err != nil {
		return nil, err
	}
	for _, s := range signers {
		if s.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(public) {
			return s, nil
		}
	}
	return nil, nil
}

// canSign tells whether the signers at hand reach the threshold of a role, without signing anything.
func canSign(role string, root *metadata.RootType, signers []Signer) error {
	got := 0
	for _, id := range root.Roles[role].KeyIDs {
		s, err := signerFor(root.Keys[id], signers)
		if err != nil {
			return fmt.Errorf("signing %s: key %s: %w", role, id, err)
		}
		if s != nil {
			got++
		}
	}
	if want := root.Roles[role].Threshold; got < want {
		return fmt.Errorf("signing %s: %w: %d of the %d that are needed", role, ErrNoKey, got, want)
	}
	return nil
}

// sign signs m for a role with every key at hand that counts for it in any of the roots, each of whose thresholds must
// be reached. Key ids are taken from root: they are computed over the key as it is written there, and programs write
// the same key in different ways.
func sign[T metadata.Roles](ctx context.Context, m *metadata.Metadata[T], role string, signers []Signer, roots ...*metadata.RootType) error {
	payload, err := cjson.EncodeCanonical(m.Signed)
	if err != nil {
		return fmt.Errorf("signing %s: %w", role, err)
	}
	m.Signatures = nil
	signed := map[string]bool{}
	for _, root := range roots {
		if err := canSign(role, root, signers); err != nil {
			return err // before an HSM is asked for anything
		}
	}
	for _, root := range roots {
		for _, id := range slices.Sorted(slices.Values(root.Roles[role].KeyIDs)) { // the same input gives the same file
			signer, err := signerFor(root.Keys[id], signers)
			if err != nil {
				return fmt.Errorf("signing %s: key %s: %w", role, id, err)
			}
			if signer == nil || signed[id] {
				continue
			}
			sig, err := signer.SignPayload(ctx, payload)
			if err != nil {
				return fmt.Errorf("signing %s: key %s: %w", role, id, err)
			}
			signed[id] = true
			m.Signatures = append(m.Signatures, metadata.Signature{KeyID: id, Signature: sig})
		}
	}
	return nil
}
