// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"bytes"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Whatever a server or a cache holds is refused or can be used: no accepted file stops the process later, and an
// accepted root has, for each role, a threshold of at least one and only keys whose names are their digests.
func FuzzMetadata(f *testing.F) {
	keys := filepath.Join(f.TempDir(), "keys")
	dir := f.TempDir()
	if _, err := Init(f.Context(), dir, keys, InitOptions{Now: start}); err != nil {
		f.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) < 1 {
		f.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, nasty := range []string{
		"", "null", "{}", "[]", `{"signed":null,"signatures":null}`, `{"signatures":[],"signed":{"_type":"root","keys":{"a":null},"roles":{"root":null}}}`,
		`{"signatures":[],"signed":{"_type":"targets","targets":{"a":null}}}`, `{"signatures":[],"signed":{"_type":"timestamp","meta":{"snapshot.json":null}}}`,
		`{"signatures":[],"signed":{"_type":"snapshot","meta":{"targets.json":{"version":-1}}}}`, strings.Repeat("[", 20000),
	} {
		f.Add([]byte(nasty))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = checkTimestamp(data), checkSnapshot(data, 1)
		if checkTargets(data, 0) == nil {
			m, err := metadata.Targets().FromBytes(data)
			if err != nil {
				t.Fatal(err)
			}
			for name, target := range m.Signed.Targets {
				if target.Length < 0 || len(target.Hashes["sha256"]) != 32 {
					t.Errorf("accepted target %q: %+v", name, target)
				}
			}
		}
		if checkRoot(data) != nil {
			return
		}
		root, err := metadata.Root().FromBytes(data)
		if err != nil {
			t.Fatal(err)
		}
		for id, key := range root.Signed.Keys {
			if digest, err := keyID(key); err != nil || digest != id {
				t.Errorf("accepted key %q of digest %q, %v", id, digest, err)
			}
		}
		for _, role := range Roles() {
			if root.Signed.Roles[role].Threshold < 1 {
				t.Errorf("accepted role %s without a threshold", role)
			}
			_ = root.VerifyDelegate(role, root) // must not panic; whether it is signed is not the question
		}
	})
}

// A key file is refused as ErrKey, without a word of what is in it, or holds a key that reads back the same.
func FuzzKeyFile(f *testing.F) {
	for _, kind := range []KeyType{Ed25519, ECDSA, RSA} {
		path := filepath.Join(f.TempDir(), "key.pem")
		key, err := GenerateKey(path, kind)
		if err != nil {
			f.Fatal(err)
		}
		private, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		public, err := PublicPEM(key.Public())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(private)
		f.Add(public)
		f.Add(bytes.TrimSpace(private)) // PEM without the final newline
		f.Add(bytes.Replace(private, []byte("PRIVATE"), []byte("PUBLIC"), 2))
		f.Add(private[:len(private)/2])
	}
	for _, nasty := range []string{"", "\x00", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		f.Add([]byte(nasty))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "k")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		key, err := LoadPublicKey(path)
		if err != nil {
			block, _ := pem.Decode(data)
			if !errors.Is(err, ErrKey) || block != nil && len(block.Bytes) > 16 && strings.Contains(err.Error(), string(block.Bytes[:16])) {
				t.Errorf("error %q", err)
			}
			return
		}
		text, err := PublicPEM(key)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := LoadPublicKey(path)
		if err != nil {
			t.Fatalf("an accepted key does not read back: %v", err)
		}
		if same, err := PublicPEM(again); err != nil || !bytes.Equal(same, text) {
			t.Errorf("reads back as another key, %v", err)
		}
	})
}
