// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"context"
	"crypto"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// A root chain is followed, remembered, and works without the server's help the next time.
func TestRootRotation(t *testing.T) {
	w := newWorld(t, InitOptions{})
	w.publish(start, map[string]string{"manifest.json": "one"})
	w.mustRefresh()
	rotate(w, metadata.TIMESTAMP)
	w.publish(start.Add(time.Hour), map[string]string{"manifest.json": "two"})
	c := w.mustRefresh()
	if got, err := c.Read(t.Context(), "manifest.json", 100); err != nil || string(got) != "two" {
		t.Errorf("after the rotation: %q, %v", got, err)
	}
	w.setTamper(on("/2.root.json", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusTeapot) }))
	w.mustRefresh() // 2.root.json is known
}

// rotate gives each role one new key, which is put beside the old ones.
func rotate(w *world, roles ...string) *Rotation {
	w.t.Helper()
	info, err := ReadRoot(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	change := RootChange{Add: map[string][]crypto.PublicKey{}, Remove: map[string][]string{}, Threshold: map[string]int{}}
	for _, role := range roles {
		name := role + "-new" + strconv.FormatInt(info.Version, 10) + ".pem"
		key, err := GenerateKey(filepath.Join(w.keys, name), ECDSA)
		if err != nil {
			w.t.Fatal(err)
		}
		change.Add[role], change.Threshold[role] = []crypto.PublicKey{key.Public()}, 1
		for _, old := range info.Keys[role] {
			change.Remove[role] = append(change.Remove[role], old.ID)
		}
	}
	r, err := RotateRoot(w.t.Context(), RepositoryConfig{Dir: w.dir, KeysDir: w.keys, Now: start.Add(time.Minute)}, change)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func TestRotationOfEachRole(t *testing.T) {
	for _, role := range Roles() {
		for _, lost := range []bool{false, true} {
			if lost && role == metadata.ROOT {
				continue // without the old root keys nobody can make the next root
			}
			w := newWorld(t, InitOptions{})
			w.publish(start, map[string]string{"manifest.json": "one"})
			w.mustRefresh()
			if lost {
				if err := os.Remove(filepath.Join(w.keys, role+"-1.pem")); err != nil {
					t.Fatal(err)
				}
			}
			r := rotate(w, role)
			if r.Version != 2 || (len(r.Gap) > 0) != lost {
				t.Errorf("%s, old key lost %v: %+v", role, lost, r)
			}
			w.mustRefresh() // nothing but the rotation happened
			w.publish(start.Add(time.Hour), map[string]string{"manifest.json": "two"})
			if got, err := w.mustRefresh().Read(t.Context(), "manifest.json", 100); err != nil || string(got) != "two" {
				t.Errorf("%s: after the rotation: %q, %v", role, got, err)
			}
			w.store = t.TempDir()
			w.mustRefresh() // a host that has never been here
		}
	}
}

func TestRotationRefuses(t *testing.T) {
	w := newWorld(t, InitOptions{KeyCount: 2, Threshold: 2})
	w.publish(start, nil)
	other, err := GenerateKey(filepath.Join(t.TempDir(), "other.pem"), Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	info, err := ReadRoot(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	first := info.Keys[metadata.ROOT][0]
	for name, tc := range map[string]struct {
		change RootChange
		want   string
	}{
		"fewer keys than needed": {RootChange{Remove: map[string][]string{"root": {first.ID}}}, "threshold 2 with 1 keys"},
		"no such key":            {RootChange{Remove: map[string][]string{"root": {"abc"}}}, ErrKeyUnknown.Error()},
		"a key twice":            {RootChange{Add: map[string][]crypto.PublicKey{"root": {first.Public}}}, ErrKeyPresent.Error()},
		"a role nobody knows":    {RootChange{Add: map[string][]crypto.PublicKey{"boss": {other.Public()}}}, "no role"},
		"threshold of zero":      {RootChange{Threshold: map[string]int{"root": 0}}, "threshold 0"},
		"the new key is not at hand": {RootChange{
			Add: map[string][]crypto.PublicKey{"root": {other.Public()}}, Threshold: map[string]int{"root": 3},
		}, ErrNoKey.Error()},
		"a targets key that is not at hand": {RootChange{
			Add: map[string][]crypto.PublicKey{"targets": {other.Public()}}, Threshold: map[string]int{"targets": 3},
		}, ErrNoKey.Error()},
	} {
		_, err := RotateRoot(t.Context(), RepositoryConfig{Dir: w.dir, KeysDir: w.keys, Now: start}, tc.change)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got error %v, want one about %q", name, err, tc.want)
		}
	}
	if _, err := os.Stat(filepath.Join(w.dir, "2.root.json")); err == nil {
		t.Error("a refused change left a root behind")
	}
	w.mustRefresh()
}

// However often the repository changes, a reader that comes at any moment finds it whole, and never older than before.
func TestReadersNeverSeeABrokenRepository(t *testing.T) {
	w := newWorld(t, InitOptions{})
	w.publish(start, map[string]string{"manifest.json": "start"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reads := make(chan int)
	reader := func(store func() string) {
		n := 0
		defer func() { reads <- n }()
		for ; ctx.Err() == nil; n++ {
			c, err := NewClient(Config{
				TrustedRoot: w.root, Dir: store(), MetadataURL: w.server.URL + "/" + part, TargetsURL: w.server.URL + "/targets/",
				Now: func() time.Time { return start.Add(time.Minute) },
			})
			if err == nil {
				err = c.Refresh(context.WithoutCancel(ctx))
			}
			if err == nil {
				_, err = c.Read(context.WithoutCancel(ctx), "manifest.json", 100)
			}
			if err != nil {
				t.Errorf("read %d: %v", n, err)
				return
			}
		}
	}
	memory := t.TempDir()
	go reader(func() string { return memory })
	go reader(t.TempDir) // each time a host that has never been here
	for i := range 12 {
		w.publish(start, map[string]string{"manifest.json": strconv.Itoa(i)})
		if i%3 == 2 {
			rotate(w, Roles()[i/3])
		}
	}
	cancel()
	if a, b := <-reads, <-reads; !t.Failed() && (a < 2 || b < 2) {
		t.Errorf("only %d and %d reads happened meanwhile", a, b)
	}
}
