// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// go-tuf takes parsed metadata at its word and would follow a null into a crash. These checks run on every file
// before go-tuf does, so that nothing a server or a damaged cache holds can stop the process.

const (
	snapshotFile = metadata.SNAPSHOT + ".json"
	targetsFile  = metadata.TARGETS + ".json"
)

// parse lets go-tuf read metadata. It does that before any signature is checked, and it, too, follows some nulls: that
// must not end the process.
func parse[T any](read func([]byte) (T, error), data []byte) (m T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("malformed metadata: %v", p)
		}
	}()
	return read(data)
}

// checkRoot also holds root to the rule of the original client that each key's name is the digest of the whole key.
func checkRoot(data []byte) error {
	root, err := parse(metadata.Root().FromBytes, data)
	if err != nil {
		return err
	}
	if root.Signed.Version < 1 {
		return fmt.Errorf("version %d", root.Signed.Version)
	}
	for id, key := range root.Signed.Keys {
		if key == nil {
			return fmt.Errorf("key %q is null", id)
		}
		if want, err := keyID(key); err != nil || want != id {
			return fmt.Errorf("key %q: its digest is %q: %w", id, want, errors.Join(errKeyID, err))
		}
		switch pub, err := key.ToPublicKey(); pub := pub.(type) {
		case ed25519.PublicKey:
			if len(pub) != ed25519.PublicKeySize {
				return fmt.Errorf("key %q has %d bytes", id, len(pub))
			}
		case *ecdsa.PublicKey:
			if _, err := pub.ECDH(); err != nil {
				return fmt.Errorf("key %q: %w", id, err)
			}
		default:
			if err != nil {
				return fmt.Errorf("key %q: %w", id, err)
			}
		}
	}
	for _, name := range metadata.TOP_LEVEL_ROLE_NAMES {
		role := root.Signed.Roles[name]
		if role == nil || role.Threshold < 1 {
			return fmt.Errorf("no usable role %q", name)
		}
		seen := map[string]bool{}
		for _, id := range role.KeyIDs {
			if seen[id] {
				return fmt.Errorf("role %q names key %q twice", name, id)
			}
			seen[id] = true
		}
	}
	return nil
}

var errKeyID = errors.New("key id does not match")

// keyID computes the id of a key as the original client does: over the whole key object, in canonical JSON.
func keyID(key *metadata.Key) (string, error) {
	data, err := cjson.EncodeCanonical(key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

func checkTimestamp(data []byte) error {
	m, err := parse(metadata.Timestamp().FromBytes, data)
	if err != nil {
		return err
	}
	return checkMeta(m.Signed.Meta, snapshotFile)
}

// checkSnapshot also makes sure that this is the snapshot the timestamp speaks of, when want is its version there.
func checkSnapshot(data []byte, want int64) error {
	m, err := parse(metadata.Snapshot().FromBytes, data)
	if err != nil {
		return err
	}
	if want != 0 && m.Signed.Version != want {
		return fmt.Errorf("%w: version %d, but the timestamp speaks of %d", ErrDigest, m.Signed.Version, want)
	}
	return checkMeta(m.Signed.Meta, targetsFile)
}

func checkMeta(meta map[string]*metadata.MetaFiles, required string) error {
	for name, file := range meta {
		if file == nil || file.Version < 1 || file.Length < 0 {
			return fmt.Errorf("%q is not described", name)
		}
	}
	if meta[required] == nil {
		return fmt.Errorf("%q is not described", required)
	}
	return nil
}

func checkTargets(data []byte, want int64) error {
	m, err := parse(metadata.Targets().FromBytes, data)
	if err != nil {
		return err
	}
	if want != 0 && m.Signed.Version != want {
		return fmt.Errorf("%w: version %d, but the snapshot speaks of %d", ErrDigest, m.Signed.Version, want)
	}
	for name, t := range m.Signed.Targets {
		if t == nil || t.Length < 0 || len(t.Hashes["sha256"]) != sha256.Size {
			return fmt.Errorf("target %q has no length or no sha256", name)
		}
	}
	return nil
}
