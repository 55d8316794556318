// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/drydock-os/drydock/internal/durable"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// ErrKeyUnknown means that a role does not have the key that was to be taken from it.
var ErrKeyUnknown = errors.New("the role has no such key")

// RootChange says what a new root.json changes. The zero value only renews its expiry.
type RootChange struct {
	Add       map[string][]crypto.PublicKey // by role
	Remove    map[string][]string           // key ids by role
	Threshold map[string]int                // by role; default: as before
	Expires   time.Duration                 // default 52 weeks
}

// Rotation says what became of a RootChange.
type Rotation struct {
	Version int64
	Expires time.Time

	// Gap lists the roles for which the old keys could not sign any more. Readers that asked while the rotation ran
	// may have failed once; they find a whole repository when they ask again.
	Gap []string
}

// RotateRoot publishes the next root.json, signed by as many keys as the old and the new one ask for.
//
// Readers see a whole repository at every instant: where keys of other roles change, what they signed is first signed
// by the old and the new keys together, and only then does the new root appear. When old keys are lost, see Gap. An
// expired root may be rotated: that is the cure. Errors: ErrNoKey, ErrKeyUnknown, ErrLocked, and those of reading the
// repository; after an error before the new root was written the repository means what it meant before.
func RotateRoot(ctx context.Context, cfg RepositoryConfig, change RootChange) (_ *Rotation, err error) {
	r, err := openRepository(cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if change.Expires == 0 {
		change.Expires = 52 * 7 * 24 * time.Hour
	}
	old := r.root()
	next, err := r.nextRoot(ctx, change)
	if err != nil {
		return nil, fmt.Errorf("making root.json: %w", err)
	}
	result := &Rotation{Version: next.Signed.Version, Expires: next.Signed.Expires}
	resign := false
	for _, role := range []string{metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP} {
		if sameRole(old.Roles[role], next.Signed.Roles[role]) {
			continue
		}
		resign = true
		r.asks[role] = []*metadata.RootType{&next.Signed}
		if canSign(role, old, r.signers) == nil {
			r.asks[role] = append(r.asks[role], old)
		} else {
			result.Gap = append(result.Gap, role)
		}
	}
	parts, err := r.Parts()
	if err != nil {
		return nil, err
	}
	if resign { // all three are signed anew
		for role, roots := range r.asks {
			if role == metadata.ROOT {
				continue
			}
			for _, root := range roots {
				if err := canSign(role, root, r.signers); err != nil {
					return nil, err
				}
			}
		}
	}
	republish := func() error {
		for _, part := range parts {
			if _, err := r.Publish(ctx, part, nil); err != nil {
				return err
			}
		}
		return nil
	}
	if resign && len(result.Gap) == 0 {
		if err := republish(); err != nil {
			return nil, err
		}
	}
	// From here on the new root is the truth; whatever is missing when this is cut short, the next publication adds.
	if err := durable.WriteFile(filepath.Join(cfg.Dir, next.name), next.data, 0o644); err != nil {
		return nil, fmt.Errorf("writing root.json: %w", err)
	}
	r.roots = append(r.roots, *next)
	if resign && len(result.Gap) > 0 {
		if err := republish(); err != nil {
			return nil, err
		}
	}
	for _, part := range parts {
		if err := r.copyRoots(part); err != nil {
			return nil, err
		}
	}
	if err := durable.WriteFile(filepath.Join(cfg.Dir, "root.json"), next.data, 0o644); err != nil {
		return nil, fmt.Errorf("writing root.json: %w", err)
	}
	return result, nil
}

// nextRoot makes and signs the root after the newest one.
func (r *Repository) nextRoot(ctx context.Context, change RootChange) (*rootFile, error) {
	// The old data is parsed again, since changes to a copy would reach the maps of the original.
	root, err := parse(metadata.Root().FromBytes, r.roots[len(r.roots)-1].data)
	if err != nil {
		return nil, err
	}
	s := &root.Signed
	s.Version++
	s.Expires = expiry(r.cfg.Now, change.Expires)
	for role, keys := range change.Add {
		if s.Roles[role] == nil {
			return nil, fmt.Errorf("there is no role %q", role)
		}
		for _, key := range keys {
			if err := addKey(s, key, role); err != nil {
				return nil, err
			}
		}
	}
	for role, ids := range change.Remove {
		for _, id := range ids {
			if s.Roles[role] == nil || !slices.Contains(s.Roles[role].KeyIDs, id) {
				return nil, fmt.Errorf("%s: %w: %s", role, ErrKeyUnknown, id)
			}
			if err := s.RevokeKey(id, role); err != nil {
				return nil, err
			}
		}
	}
	for role, threshold := range change.Threshold {
		if s.Roles[role] == nil {
			return nil, fmt.Errorf("there is no role %q", role)
		}
		s.Roles[role].Threshold = threshold
	}
	for _, role := range Roles() {
		if keys, threshold := len(s.Roles[role].KeyIDs), s.Roles[role].Threshold; threshold < 1 || keys < threshold || keys > maxKeys {
			return nil, fmt.Errorf("%s: threshold %d with %d keys: want 1 <= threshold <= keys <= %d", role, threshold, keys, maxKeys)
		}
	}
	if err := sign(ctx, root, metadata.ROOT, r.signers, r.root(), s); err != nil {
		return nil, err
	}
	data, err := root.ToBytes(true)
	if err != nil {
		return nil, err
	}
	if err := checkRoot(data); err != nil {
		return nil, err
	}
	return &rootFile{root, strconv.FormatInt(s.Version, 10) + ".root.json", data}, nil
}

func sameRole(a, b *metadata.Role) bool {
	sorted := func(r *metadata.Role) []string { return slices.Sorted(slices.Values(r.KeyIDs)) }
	return a.Threshold == b.Threshold && slices.Equal(sorted(a), sorted(b))
}

// Key describes a key that counts for a role.
type Key struct {
	ID     string           `json:"id"`
	Type   KeyType          `json:"type"`
	Public crypto.PublicKey `json:"-"`
}

// RootInfo describes the newest root of a repository.
type RootInfo struct {
	Version    int64
	Expires    time.Time
	Keys       map[string][]Key // by role
	Thresholds map[string]int   // by role
}

// ReadRoot describes the newest root of the repository in dir. It needs no keys.
func ReadRoot(dir string) (*RootInfo, error) {
	chain, err := loadRoots(dir)
	if err != nil {
		return nil, err
	}
	root := &chain[len(chain)-1].Signed
	info := &RootInfo{Version: root.Version, Expires: root.Expires, Keys: map[string][]Key{}, Thresholds: map[string]int{}}
	for name, role := range root.Roles {
		info.Thresholds[name] = role.Threshold
		for _, id := range role.KeyIDs {
			public, err := root.Keys[id].ToPublicKey()
			if err != nil {
				return nil, fmt.Errorf("reading repository: key %s: %w", id, err)
			}
			info.Keys[name] = append(info.Keys[name], Key{id, KeyType(root.Keys[id].Type), public})
		}
	}
	return info, nil
}
