// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A program that holds the key signs in its stead; nothing but a good signature is taken from it.
func TestCommandSigner(t *testing.T) {
	for _, kind := range []KeyType{Ed25519, ECDSA, RSA} {
		file := filepath.Join(t.TempDir(), "key.pem")
		key, err := GenerateKey(file, kind)
		if err != nil {
			t.Fatal(err)
		}
		payload := []byte("what is signed")
		sig, err := key.SignPayload(t.Context(), payload)
		if err != nil {
			t.Fatal(err)
		}
		raw := filepath.Join(t.TempDir(), "sig")
		if err := os.WriteFile(raw, sig, 0o600); err != nil {
			t.Fatal(err)
		}
		for command, ok := range map[string]bool{
			"cat " + raw:               true,
			"base64 <" + raw:           true,
			"cat " + file:              false, // never the key itself
			"head -c 3 " + raw:         false,
			"echo no >&2; exit 3":      false,
			"head -c 100000 /dev/zero": false,
		} {
			got, err := NewCommandSigner(key.Public(), command).SignPayload(t.Context(), payload)
			if (err == nil) != ok || ok && !verifies(key.Public(), payload, got) {
				t.Errorf("%s, %q: %v", kind, command, err)
			}
			if err != nil && strings.Contains(err.Error(), "PRIVATE") {
				t.Errorf("the error shows what the command printed: %v", err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := NewCommandSigner(key.Public(), "cat").SignPayload(ctx, payload); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
}
