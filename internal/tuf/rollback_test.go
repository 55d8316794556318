// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package tuf

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// What one run of the client has seen, no later run goes behind, even when every file that it is shown was once signed
// by the right keys, and when those in front of it are newer.
func TestRollbackIsRefusedByTheNextRun(t *testing.T) {
	for _, tc := range []struct {
		role string
		// play shows the second run something old; first and second are the publications, the second of which was seen.
		play func(w *world, first, second *Published)
		want error
	}{
		{metadata.ROOT, func(w *world, _, _ *Published) {
			// The first root in the place of the next one.
			w.setTamper(on("/3.root.json", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(w.root) }))
		}, ErrRollback},
		{metadata.ROOT + ", by hiding the new one", func(w *world, _, second *Published) {
			// All as it was before the keys changed: the old timestamp is signed by a key that counts no more.
			root, err := metadata.Root().FromBytes(w.root)
			if err != nil {
				w.t.Fatal(err)
			}
			data := signedTimestamp(w, second.Version+1, second.Version, &root.Signed)
			w.setTamper(func(rw http.ResponseWriter, r *http.Request) bool {
				switch filepath.Base(r.URL.Path) {
				case "2.root.json":
					http.NotFound(rw, r)
				case "timestamp.json":
					_, _ = rw.Write(data)
				default:
					return false
				}
				return true
			})
		}, ErrSignature},
		{metadata.TIMESTAMP, func(w *world, first, second *Published) {
			data := signedTimestamp(w, first.Version, second.Version)
			w.setTamper(on("/timestamp.json", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(data) }))
		}, ErrRollback},
		{metadata.SNAPSHOT, func(w *world, first, second *Published) {
			data := signedTimestamp(w, second.Version+1, first.Version)
			w.setTamper(on("/timestamp.json", func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(data) }))
		}, ErrRollback},
		{metadata.TARGETS, func(w *world, first, second *Published) {
			next := second.Version + 1
			snapshot := metadata.Snapshot(start.Add(24 * time.Hour))
			snapshot.Signed.Version = next
			snapshot.Signed.Meta[targetsFile] = metadata.MetaFile(first.Version)
			signed := signedFile(w, snapshot, metadata.SNAPSHOT, next)
			data := signedTimestamp(w, next, next)
			w.setTamper(func(rw http.ResponseWriter, r *http.Request) bool {
				switch filepath.Base(r.URL.Path) {
				case strconv.FormatInt(next, 10) + "." + snapshotFile:
					_, _ = rw.Write(signed)
				case "timestamp.json":
					_, _ = rw.Write(data)
				default:
					return false
				}
				return true
			})
		}, ErrRollback},
	} {
		t.Run(tc.role, func(t *testing.T) {
			w := newWorld(t, InitOptions{})
			first := w.publish(start, map[string]string{"manifest.json": "one"})
			rotate(w, metadata.TIMESTAMP)
			second := w.publish(start.Add(time.Hour), map[string]string{"manifest.json": "two"})
			w.mustRefresh()
			tc.play(w, first, second)
			c := w.client()
			if err := c.Refresh(t.Context()); !errors.Is(err, tc.want) {
				t.Fatalf("got error %v, want %v", err, tc.want)
			}
			if _, err := c.Lookup("manifest.json"); err == nil {
				t.Error("a target is offered although the refresh failed")
			}
			// The refused files have left nothing behind that keeps the next publication away.
			w.setTamper(nil)
			w.publish(start.Add(2*time.Hour), map[string]string{"manifest.json": "three"})
			if got, err := w.mustRefresh().Read(t.Context(), "manifest.json", 100); err != nil || string(got) != "three" {
				t.Errorf("afterwards: %q, %v", got, err)
			}
		})
	}
}

// signedTimestamp returns a timestamp that names a snapshot.
func signedTimestamp(w *world, version, snapshot int64, by ...*metadata.RootType) []byte {
	w.t.Helper()
	ts := metadata.Timestamp(start.Add(24 * time.Hour))
	ts.Signed.Version = version
	ts.Signed.Meta[snapshotFile] = metadata.MetaFile(snapshot)
	return signedFile(w, ts, metadata.TIMESTAMP, version, by...)
}

// signedFile signs m with the keys that roots ask for; default: the newest.
func signedFile[T metadata.Roles](w *world, m *metadata.Metadata[T], role string, version int64, roots ...*metadata.RootType) []byte {
	w.t.Helper()
	r, err := OpenRepository(RepositoryConfig{Dir: w.dir, KeysDir: w.keys, Now: start})
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Close()
	if len(roots) > 0 {
		r.asks[role] = roots
	}
	dir := w.t.TempDir()
	if _, err := write(w.t.Context(), r, m, role, dir, "file", version); err != nil {
		w.t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "file"))
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

// A publisher whose folder holds nonsense is told so, by each of its commands, and nothing is published over it.
func TestPublisherRefusesMalformedFiles(t *testing.T) {
	for _, nasty := range []string{
		`{"signatures":[],"signed":{"_type":"ROLE","version":VERSION,"targets":{"a":null}}}`,
		`{"signatures":[],"signed":{"_type":"ROLE","version":VERSION,"meta":{"snapshot.json":null,"targets.json":null}}}`,
		`{"signatures":[],"signed":{"_type":"ROLE","version":VERSION,"keys":{"a":null},"roles":{"root":null}}}`,
		`{"signatures":null,"signed":null}`, "null", "",
	} {
		for _, role := range Roles() {
			w := newWorld(t, InitOptions{})
			p := w.publish(start, map[string]string{"manifest.json": "one"})
			version := strconv.FormatInt(p.Version, 10)
			path := map[string]string{
				metadata.ROOT: "1.root.json", metadata.TIMESTAMP: part + "/timestamp.json",
				metadata.SNAPSHOT: part + "/" + version + "." + snapshotFile, metadata.TARGETS: part + "/" + version + "." + targetsFile,
			}[role]
			data := []byte(strings.NewReplacer("ROLE", role, "VERSION", version).Replace(nasty))
			switch role { // the file must be the one that is described, or it would be refused for that alone
			case metadata.SNAPSHOT:
				hostile := metadata.Timestamp(start.Add(24 * time.Hour))
				hostile.Signed.Version = p.Version
				hostile.Signed.Meta[snapshotFile] = metadata.MetaFile(p.Version)
				replace(t, filepath.Join(w.dir, part, "timestamp.json"), signedFile(w, hostile, metadata.TIMESTAMP, p.Version))
			case metadata.TARGETS:
				hostile := metadata.Snapshot(start.Add(24 * time.Hour))
				hostile.Signed.Version = p.Version
				hostile.Signed.Meta[targetsFile] = metadata.MetaFile(p.Version)
				ts := signedTimestamp(w, p.Version, p.Version)
				replace(t, filepath.Join(w.dir, part, version+"."+snapshotFile), signedFile(w, hostile, metadata.SNAPSHOT, p.Version))
				replace(t, filepath.Join(w.dir, part, "timestamp.json"), ts)
			}
			replace(t, filepath.Join(w.dir, path), data)
			// What is only empty where it should not be is well-formed, but nobody signed it.
			if err := publishAgain(w); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrSignature) {
				t.Errorf("publishing over the %s %s: %v", role, data, err)
			}
			if role == metadata.ROOT {
				_, err := RotateRoot(t.Context(), RepositoryConfig{Dir: w.dir, KeysDir: w.keys, Now: start}, RootChange{})
				if !errors.Is(err, ErrMalformed) {
					t.Errorf("rotating the %s %s: %v", role, data, err)
				}
			}
			if now, err := os.ReadFile(filepath.Join(w.dir, path)); err != nil || !bytes.Equal(now, data) {
				t.Errorf("the %s was changed, %v", role, err)
			}
		}
	}
}

func publishAgain(w *world) error {
	r, err := OpenRepository(RepositoryConfig{Dir: w.dir, KeysDir: w.keys, Now: start})
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = r.Publish(w.t.Context(), part, []Source{{Name: "more", Data: []byte("more")}})
	return err
}

func replace(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
