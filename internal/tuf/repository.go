// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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

	// ErrKeyPresent means that a role was given a key twice.
	ErrKeyPresent = errors.New("the role has this key already")

	// ErrNoRepository means that the folder holds no repository.
	ErrNoRepository = errors.New("there is no repository here")
)

// Roles lists the roles of a repository. Root and targets may have many keys; the other two sign unattended.
func Roles() []string { return slices.Clone(metadata.TOP_LEVEL_ROLE_NAMES[:]) }

// InitOptions are the choices for a new repository. The zero value is usable.
type InitOptions struct {
	KeyType   KeyType       // of the keys that are made; default Ed25519
	KeyCount  int           // keys made for root and for targets; default 1. Snapshot and timestamp always get one
	Threshold int           // how many keys of root and of targets must sign; default 1
	Expires   time.Duration // of root; default 52 weeks
	Now       time.Time     // required

	// Public gives roles keys that exist already; such a role gets no others. Signers sign for those of root.
	Public  map[string][]crypto.PublicKey
	Signers []Signer
}

const maxKeys = 32 // of one role

func (o *InitOptions) check() error {
	if o.KeyCount == 0 {
		o.KeyCount = 1
	}
	if o.Threshold == 0 {
		o.Threshold = 1
	}
	if o.Expires == 0 {
		o.Expires = 52 * 7 * 24 * time.Hour
	}
	if o.Expires <= 0 || o.Now.IsZero() {
		return errors.New("root would expire before it is made")
	}
	for role := range o.Public {
		if !slices.Contains(Roles(), role) {
			return fmt.Errorf("there is no role %q", role)
		}
	}
	for _, role := range Roles() {
		keys, threshold := o.count(role)
		if threshold < 1 || keys < threshold {
			return fmt.Errorf("%s: threshold %d with %d keys: want 1 <= threshold <= keys", role, threshold, keys)
		}
		if keys > maxKeys {
			return fmt.Errorf("%s: %d keys are too many (at most %d)", role, keys, maxKeys)
		}
	}
	return nil
}

// count returns how many keys a role gets and how many of them must sign.
func (o *InitOptions) count(role string) (keys, threshold int) {
	keys, threshold = 1, 1
	if role == metadata.ROOT || role == metadata.TARGETS {
		keys, threshold = o.KeyCount, o.Threshold
	}
	if n := len(o.Public[role]); n > 0 {
		keys = n
	}
	return keys, threshold
}

// Init makes a new repository in dir and its keys in keysDir, and returns the path of its root.json, which belongs
// into images. Both folders are made if missing and must not hold a repository or keys yet; on any error no key and no
// root.json is left behind.
//
// keysDir is not part of the repository: it must never be published.
func Init(ctx context.Context, dir, keysDir string, o InitOptions) (rootPath string, err error) {
	if err := o.check(); err != nil {
		return "", fmt.Errorf("making repository: %w", err)
	}
	rootPath = filepath.Join(dir, "root.json")
	for _, used := range []string{rootPath, filepath.Join(keysDir, "*.pem")} {
		if found, err := filepath.Glob(used); err != nil || len(found) > 0 {
			return "", fmt.Errorf("making repository: %s: %w", used, errors.Join(ErrInitialized, err))
		}
	}
	var made []string
	var undo []func()
	defer func() {
		if err != nil {
			for _, path := range made {
				_ = os.Remove(path) // best effort: the error is already being told
			}
			for _, f := range slices.Backward(undo) {
				f()
			}
		}
	}()
	for _, folder := range []struct {
		path string
		mode os.FileMode
	}{{dir, 0o755}, {keysDir, 0o700}} {
		remove, err := durable.MakeDir(folder.path, folder.mode)
		if err != nil {
			return "", fmt.Errorf("making repository: %w", err)
		}
		undo = append(undo, remove)
	}
	root := metadata.Root(expiry(o.Now, o.Expires))
	root.Signed.SpecVersion = specVersion
	root.Signed.ConsistentSnapshot = true
	signers := slices.Clone(o.Signers)
	for _, role := range Roles() {
		count, threshold := o.count(role)
		keys := o.Public[role]
		for i := range count {
			if len(o.Public[role]) > 0 {
				break
			}
			path := filepath.Join(keysDir, role+"-"+strconv.Itoa(i+1)+".pem")
			key, err := GenerateKey(path, o.KeyType)
			if err != nil {
				return "", err
			}
			made = append(made, path)
			signers = append(signers, key)
			keys = append(keys, key.Public())
		}
		for _, key := range keys {
			if err := addKey(&root.Signed, key, role); err != nil {
				return "", fmt.Errorf("making root.json: %w", err)
			}
		}
		root.Signed.Roles[role].Threshold = threshold
	}
	if err := sign(ctx, root, metadata.ROOT, signers, &root.Signed); err != nil {
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

// addKey gives a role one key more.
func addKey(root *metadata.RootType, public crypto.PublicKey, role string) error {
	if err := checkPublic(public); err != nil {
		return err
	}
	key, err := metadata.KeyFromPublicKey(public)
	if err != nil {
		return err
	}
	id, err := key.ID()
	if err != nil {
		return err
	}
	if slices.Contains(root.Roles[role].KeyIDs, id) {
		return fmt.Errorf("%s: %w: %s", role, ErrKeyPresent, id)
	}
	return root.AddKey(key, role)
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
		root, err := parse(metadata.Root().FromBytes, data)
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
