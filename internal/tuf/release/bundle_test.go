// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package release

import (
	"archive/tar"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/drydock-os/drydock/internal/manifest"
	"github.com/drydock-os/drydock/internal/osimage"
	"github.com/drydock-os/drydock/internal/slot"
	"github.com/drydock-os/drydock/internal/tuf"
)

var now = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

// published makes a repository with the given versions, whose images hold nothing of interest.
func published(t *testing.T, versions ...string) Where {
	t.Helper()
	w := Where{Dir: filepath.Join(t.TempDir(), "repo"), KeysDir: t.TempDir(), Variant: "metal", Arch: "x86_64", Now: now}
	if _, err := tuf.Init(t.Context(), w.Dir, w.KeysDir, tuf.InitOptions{Now: now}); err != nil {
		t.Fatal(err)
	}
	for _, v := range versions {
		images := t.TempDir()
		for _, part := range slot.Parts() {
			name := filepath.Join(images, osimage.TargetName(w.Variant, w.Arch, v, part))
			if err := os.WriteFile(name, []byte(v+part.String()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Publish(t.Context(), Config{
			Dir: w.Dir, KeysDir: w.KeysDir, Variant: w.Variant, Arch: w.Arch, Version: v, Images: images, Now: now,
		}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func trusted(t *testing.T, w Where) []byte {
	t.Helper()
	root, err := os.ReadFile(filepath.Join(w.Dir, "1.root.json"))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// files lists everything below dir.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestBundleHoldsOneVersionAndItsMigrations(t *testing.T) {
	w := published(t, "1.0.0", "1.1.0")
	folder := t.TempDir()
	for _, name := range []string{"migrate_v1.0.0_a.lz4", "migrate_v1.1.0_b.lz4"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	migrations := []manifest.Migration{
		{From: semver.MustParse("0.9.0"), To: semver.MustParse("1.0.0"), Names: []string{"migrate_v1.0.0_a.lz4"}},
		{From: semver.MustParse("1.0.0"), To: semver.MustParse("1.1.0"), Names: []string{"migrate_v1.1.0_b.lz4"}},
	}
	if _, err := SetMigrations(t.Context(), w, migrations, folder); err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(t.TempDir(), "bundle.tar")
	if _, err := Export(t.Context(), w, semver.MustParse("1.0.0"), bundle); err != nil {
		t.Fatal(err)
	}
	mirror := filepath.Join(t.TempDir(), "mirror")
	parts, err := Import(t.Context(), ImportConfig{Bundle: bundle, Dir: mirror, TrustedRoot: trusted(t, w), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"metal/x86_64"}, parts); diff != "" {
		t.Error(diff)
	}
	report, err := Check(t.Context(), CheckConfig{Files: os.DirFS(mirror), TrustedRoot: trusted(t, w), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if p := report.Parts[0]; len(report.Faults) > 0 || p.Targets != 5 || len(p.Updates) != 1 || p.Updates[0] != "1.0.0" {
		t.Errorf("%+v", report)
	}
	for _, left := range []string{filepath.Dir(bundle), mirror} {
		if found, _ := filepath.Glob(filepath.Join(left, ".*")); len(found) > 0 {
			t.Errorf("left behind: %v", found)
		}
	}
}

// Hosts that read a mirror while a bundle is put into it find what was there or what is there then, whole.
func TestReadersOfAMirrorNeverSeeABrokenOne(t *testing.T) {
	versions := []string{"1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0"}
	w := published(t, versions...)
	dir, mirror := t.TempDir(), filepath.Join(t.TempDir(), "mirror")
	put := func(v string) {
		t.Helper()
		if _, err := Import(t.Context(), ImportConfig{Bundle: filepath.Join(dir, v), Dir: mirror, TrustedRoot: trusted(t, w), Now: w.Now}); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range versions {
		w.Now = w.Now.Add(time.Minute)
		if _, err := Export(t.Context(), w, semver.MustParse(v), filepath.Join(dir, v)); err != nil {
			t.Fatal(err)
		}
	}
	put(versions[0])
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	root, at := trusted(t, w), w.Now
	reads := make(chan int)
	go func() {
		n := 0
		defer func() { reads <- n }()
		for ; ctx.Err() == nil; n++ {
			report, err := Check(context.WithoutCancel(ctx), CheckConfig{Files: os.DirFS(mirror), TrustedRoot: root, Now: at})
			if err != nil || len(report.Faults) > 0 {
				t.Errorf("read %d: %+v, %v", n, report, err)
				return
			}
		}
	}()
	for _, v := range versions[1:] {
		put(v)
	}
	stop()
	if n := <-reads; n == 0 {
		t.Error("nobody read")
	}
}

// Whatever a bundle holds, nothing outside of the staging folder is touched, and a refused one leaves nothing.
func TestImportRefusesWhatIsNoBundle(t *testing.T) {
	w := published(t, "1.0.0")
	good := filepath.Join(t.TempDir(), "good.tar")
	if _, err := Export(t.Context(), w, semver.MustParse("1.0.0"), good); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	one := func(h tar.Header) []byte {
		var b strings.Builder
		tw := tar.NewWriter(&b)
		h.Size, h.Mode = 0, 0o644
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if err := tw.Close(); err != nil {
			t.Fatal(err)
		}
		return []byte(b.String())
	}
	flipped := append([]byte{}, data...)
	if i := strings.Index(string(data), "1.0.0root"); i < 0 {
		t.Fatal("the bundle does not hold the root image")
	} else {
		flipped[i] ^= 1
	}
	cases := map[string][]byte{
		"nothing":       {},
		"no tar file":   []byte(strings.Repeat("x", 2000)),
		"cut short":     data[:len(data)/2],
		"flipped byte":  flipped,
		"outside":       one(tar.Header{Name: "../evil"}),
		"absolute":      one(tar.Header{Name: "/tmp/evil"}),
		"outside below": one(tar.Header{Name: "targets/../../evil"}),
		"link":          one(tar.Header{Name: "root.json", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}),
		"device":        one(tar.Header{Name: "root.json", Typeflag: tar.TypeChar}),
		"strange name":  one(tar.Header{Name: "metal/x86_64/run.sh"}),
		"hidden part":   one(tar.Header{Name: ".git/x/timestamp.json"}),
		"only a root":   one(tar.Header{Name: "root.json"}),
	}
	for name, content := range cases {
		base := t.TempDir()
		bundle, dir := filepath.Join(base, "bundle.tar"), filepath.Join(base, "mirror")
		if err := os.WriteFile(bundle, content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Import(t.Context(), ImportConfig{Bundle: bundle, Dir: dir, TrustedRoot: trusted(t, w), Now: now})
		if !errors.Is(err, ErrBundle) {
			t.Errorf("%s: got error %v, want %v", name, err, ErrBundle)
		}
		if diff := cmp.Diff([]string{bundle}, files(t, base)); diff != "" {
			t.Errorf("%s: left behind:\n%s", name, diff)
		}
	}
	// A bundle is for a while only.
	_, err = Import(t.Context(), ImportConfig{Bundle: good, Dir: t.TempDir(), TrustedRoot: trusted(t, w), Now: now.Add(30 * 24 * time.Hour)})
	if !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), "expired on") {
		t.Errorf("expired bundle: %v", err)
	}
}

func TestCheckNamesEachFaultOfTheManifest(t *testing.T) {
	w := published(t, "1.0.0")
	_, err := edit(t.Context(), w, func(m *manifest.Manifest) ([]tuf.Source, error) {
		twice := m.Updates[0]
		foreign := m.Updates[0]
		foreign.Variant, foreign.Images.Boot = "other", "missing.lz4"
		foreign.Waves = manifest.Waves{0: now, 100: now}
		m.Updates = append(m.Updates, twice, foreign)
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	report, err := Check(t.Context(), CheckConfig{Files: os.DirFS(w.Dir), TrustedRoot: trusted(t, w), Now: now.Add(300 * 24 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(report.Faults, "\n")
	for _, want := range []string{
		"timestamp.json expired on", "targets.json expired on", "snapshot.json expired on",
		"metal x86_64 1.0.0 is listed twice", "not after wave", "an update for other/x86_64", "missing.lz4: not in the repository",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no fault about %q in:\n%s", want, text)
		}
	}
}

// Whatever is unpacked lies in the folder, and nothing in it is anything but a file or a folder.
func FuzzUnpack(f *testing.F) {
	for _, name := range []string{"root.json", "../x", "metal/x86_64/timestamp.json", "targets/" + strings.Repeat("0", 64) + ".a"} {
		var b strings.Builder
		tw := tar.NewWriter(&b)
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: 1, Typeflag: tar.TypeReg}); err != nil {
			f.Fatal(err)
		}
		if _, err := tw.Write([]byte("x")); err != nil {
			f.Fatal(err)
		}
		if err := tw.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(b.String()))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		base := t.TempDir()
		bundle, dir := filepath.Join(base, "bundle"), filepath.Join(base, "dir")
		if err := errors.Join(os.WriteFile(bundle, data, 0o600), os.Mkdir(dir, 0o700)); err != nil {
			t.Fatal(err)
		}
		_ = unpack(t.Context(), bundle, dir) // what matters is what it leaves
		entries, err := os.ReadDir(base)
		if err != nil || len(entries) != 2 {
			t.Errorf("outside of the folder: %v, %v", entries, err)
		}
		err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !d.Type().IsRegular() {
				t.Errorf("%s is a %v", path, d.Type())
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}
