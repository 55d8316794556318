// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Servers say in three ways that there is no such file; object stores answer 403. That is how the end of the chain of
// roots is found, so none of them is tried again.
func TestThreeAnswersMeanNotThere(t *testing.T) {
	for _, code := range []int{http.StatusForbidden, http.StatusNotFound, http.StatusGone} {
		w := newWorld(t, InitOptions{})
		w.publish(start, nil)
		missing := func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(code) }
		w.setTamper(on("/2.root.json", missing))
		w.mustRefresh()
		if n := len(w.requests); n != 4 {
			t.Errorf("%d: %d requests, want 4", code, n)
		}
		w.setTamper(on("/timestamp.json", missing))
		if err := w.client().Refresh(t.Context()); !errors.Is(err, ErrAbsent) {
			t.Errorf("%d: got error %v", code, err)
		}
	}
}

// One of two keys that must sign is not enough, however often it signs and whatever name it signs under.
func TestOneKeyCountsOnce(t *testing.T) {
	w := newWorld(t, InitOptions{KeyCount: 2, Threshold: 2})
	w.publish(start, nil)
	keys, err := LoadKeys(w.keys)
	if err != nil {
		t.Fatal(err)
	}
	// next is the second root, signed by those of the two keys that pick leaves.
	next := func(pick func([]metadata.Signature) []metadata.Signature) []byte {
		root, err := metadata.Root().FromBytes(w.root)
		if err != nil {
			t.Fatal(err)
		}
		root.Signed.Version = 2
		if err := sign(t.Context(), root, metadata.ROOT, keys, &root.Signed); err != nil {
			t.Fatal(err)
		}
		root.Signatures = pick(root.Signatures)
		data, err := root.ToBytes(true)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for name, tc := range map[string]struct {
		pick func([]metadata.Signature) []metadata.Signature
		good bool
	}{
		"both":    {func(s []metadata.Signature) []metadata.Signature { return s }, true},
		"the one": {func(s []metadata.Signature) []metadata.Signature { return s[:1] }, false},
		"one twice": {func(s []metadata.Signature) []metadata.Signature {
			return []metadata.Signature{s[0], s[0]}
		}, false},
		"one under both names": {func(s []metadata.Signature) []metadata.Signature {
			return []metadata.Signature{s[0], {KeyID: s[1].KeyID, Signature: s[0].Signature}}
		}, false},
	} {
		data := next(tc.pick)
		w.setTamper(on("/2.root.json", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(data) }))
		w.store = t.TempDir()
		err := w.client().Refresh(t.Context())
		if tc.good != (err == nil) || err != nil && !errors.Is(err, ErrSignature) && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}

// Roots of old repositories call ECDSA keys by another word.
func TestTheOlderWordForECDSAKeys(t *testing.T) {
	w := newWorld(t, InitOptions{})
	root := metadata.Root(expiry(start, 1000*time.Hour))
	root.Signed.SpecVersion, root.Signed.ConsistentSnapshot = specVersion, true
	w.keys = t.TempDir()
	signer, err := GenerateKey(filepath.Join(w.keys, "old.pem"), ECDSA)
	if err != nil {
		t.Fatal(err)
	}
	key, err := metadata.KeyFromPublicKey(signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	key.Type = metadata.KeyTypeECDSA_SHA2_P256_COMPAT
	for _, role := range Roles() {
		if err := root.Signed.AddKey(key, role); err != nil {
			t.Fatal(err)
		}
	}
	if err := sign(t.Context(), root, metadata.ROOT, []Signer{signer}, &root.Signed); err != nil {
		t.Fatal(err)
	}
	if w.root, err = root.ToBytes(true); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"1.root.json", "root.json"} {
		if err := os.WriteFile(filepath.Join(w.dir, name), w.root, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.publish(start, map[string]string{"manifest.json": "one"})
	if data, err := w.mustRefresh().Read(t.Context(), "manifest.json", 10); err != nil || string(data) != "one" {
		t.Errorf("read %q, %v", data, err)
	}
}

// Metadata without a signed length may be as long as the original client reads it, and not a byte longer.
func TestMetadataHasTheLimitsOfTheOriginal(t *testing.T) {
	for name, most := range map[string]int{"/2.root.json": 1 << 20, "/timestamp.json": 1 << 20} {
		for extra, want := range map[int]error{0: ErrMalformed, 1: ErrTooLarge} {
			w := newWorld(t, InitOptions{})
			w.publish(start, nil)
			body := bytes.Repeat([]byte(" "), most+extra)
			w.setTamper(on(name, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Transfer-Encoding", "chunked") // so that the length is not known beforehand
				_, _ = rw.Write(body)
			}))
			if err := w.client().Refresh(t.Context()); !errors.Is(err, want) {
				t.Errorf("%s with %d bytes: got error %v, want %v", name, len(body), err, want)
			}
		}
	}
	if maxSnapshot != 1<<20 || maxTargets != 10<<20 || maxRootUpdates != 1024 {
		t.Error("the limits of signed lengths and of the chain of roots are not those of the original")
	}
}
