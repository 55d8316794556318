// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/drydock-os/drydock/internal/durable"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// specVersion is the version of the metadata format that the original writes.
const specVersion = "1.0.0"

var (
	// ErrInitialized means that the folder already holds a repository or keys.
	ErrInitialized = errors.New("there is a repository already")

	// ErrNoRepository means that the folder holds no repository.
	ErrNoRepository = errors.New("there is no repository here")
)

// InitOptions are the choices for a new repository. The zero value is usable.
type InitOptions struct {
	KeyCount  int           // keys for root and for targets; default 1. Snapshot and timestamp always have one
	Threshold int           // how many of them must sign; default 1
	Expires   time.Duration // of root; default 52 weeks
	Now       time.Time     // required
}

// Init makes a new repository in dir and its keys in keysDir, and returns the path of its root.json, which belongs
// into images. Both folders are made if missing and must not hold a repository or keys yet; on any error no key and no
// root.json is left behind.
//
// keysDir is not part of the repository: it must never be published.
func Init(dir, keysDir string, o InitOptions) (rootPath string, err error) {
	if o.KeyCount == 0 {
		o.KeyCount = 1
	}
	if o.Threshold == 0 {
		o.Threshold = 1
	}
	if o.Expires == 0 {
		o.Expires = 52 * 7 * 24 * time.Hour
	}
	switch {
	case o.Threshold < 1 || o.KeyCount < o.Threshold:
		return "", fmt.Errorf("making repository: threshold %d with %d keys: want 1 <= threshold <= keys", o.Threshold, o.KeyCount)
	case o.KeyCount > 32:
		return "", fmt.Errorf("making repository: %d keys are too many (at most 32)", o.KeyCount)
	case o.Expires <= 0 || o.Now.IsZero():
		return "", errors.New("making repository: root would expire before it is made")
	}
	rootPath = filepath.Join(dir, "root.json")
	for _, used := range []string{rootPath, filepath.Join(keysDir, "*.pem")} {
		if found, err := filepath.Glob(used); err != nil || len(found) > 0 {
			return "", fmt.Errorf("making repository: %s: %w", used, errors.Join(ErrInitialized, err))
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("making repository: %w", err)
	}
	if err := os.MkdirAll(keysDir, 0o700); err != nil {
		return "", fmt.Errorf("making repository: %w", err)
	}
	var made []string
	defer func() {
		if err != nil {
			for _, path := range made {
				_ = os.Remove(path) // best effort: the error is already being told
			}
		}
	}()
	root := metadata.Root(expiry(o.Now, o.Expires))
	root.Signed.SpecVersion = specVersion
	root.Signed.ConsistentSnapshot = true
	var keys []crypto.Signer
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		count, threshold := 1, 1
		if role == metadata.ROOT || role == metadata.TARGETS {
			count, threshold = o.KeyCount, o.Threshold
		}
		for i := range count {
			path := filepath.Join(keysDir, role+"-"+strconv.Itoa(i+1)+".pem")
			key, err := newKey(path)
			if err != nil {
				return "", err
			}
			made = append(made, path)
			keys = append(keys, key)
			public, err := metadata.KeyFromPublicKey(key.Public())
			if err != nil {
				return "", fmt.Errorf("making root.json: %w", err)
			}
			if err := root.Signed.AddKey(public, role); err != nil {
				return "", fmt.Errorf("making root.json: %w", err)
			}
		}
		root.Signed.Roles[role].Threshold = threshold
	}
	if err := sign(root, metadata.ROOT, &root.Signed, keys); err != nil {
		return "", err
	}
	data, err := root.ToBytes(true)
	if err != nil {
		return "", fmt.Errorf("making root.json: %w", err)
	}
	made = append(made, filepath.Join(dir, "1.root.json"), rootPath)
	for _, path := range made[len(made)-2:] { // root.json last: it marks the repository as complete
		if err := durable.WriteFile(path, data, 0o644); err != nil {
			return "", fmt.Errorf("making repository: %w", err)
		}
	}
	return rootPath, nil
}

// expiry is now + d in whole seconds, as metadata spells time.
func expiry(now time.Time, d time.Duration) time.Time { return now.Add(d).UTC().Truncate(time.Second) }

// loadRoots reads the chain of roots of the repository in dir, oldest first, and verifies it from its first member on.
func loadRoots(dir string) ([]rootFile, error) {
	var chain []rootFile
	for n := 1; n <= maxRootUpdates; n++ {
		name := strconv.Itoa(n) + ".root.json"
		data, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading repository: %w", err)
		}
		if err := checkRoot(data); err != nil {
			return nil, fmt.Errorf("reading repository: %w", malformed(name, err))
		}
		root, err := metadata.Root().FromBytes(data)
		if err == nil && len(chain) > 0 {
			err = chain[len(chain)-1].VerifyDelegate(metadata.ROOT, root)
		}
		if err == nil {
			err = root.VerifyDelegate(metadata.ROOT, root)
		}
		if err != nil {
			return nil, fmt.Errorf("reading repository: %w", classify(name, err))
		}
		chain = append(chain, rootFile{root, name, data})
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("reading repository %s: %w", dir, ErrNoRepository)
	}
	return chain, nil
}

type rootFile struct {
	*metadata.Metadata[metadata.RootType]
	name string
	data []byte
}
