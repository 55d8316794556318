// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package osimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pierrec/lz4/v4"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/osimage/verity"
	"github.com/drydock-os/drydock/internal/slot"
)

func testSpec() Spec {
	return Spec{
		Variant: "k8s-1.36", Arch: "x86_64", Version: "1.20.0", BuildID: "abc123", Size: mib,
		Files: map[string]File{
			"/usr/bin/hostd":             {Data: bytes.Repeat([]byte("program "), 1000), Mode: 0o755},
			"/usr/share/updog/root.json": {Data: []byte("{}\n")},
			"/etc/empty":                 {},
		},
	}
}

func mustBuild(t testing.TB, s Spec) *Image {
	t.Helper()
	im, err := Build(t.Context(), s, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// mustDisk writes a disk with im in slot A and opens it.
func mustDisk(t testing.TB, im *Image) (*gpt.File, *slot.Table) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := WriteDisk(t.Context(), path, LayoutFor(im.RootSize), im); err != nil {
		t.Fatal(err)
	}
	d, err := gpt.OpenFile(path, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	table, err := slot.Open(d, d.Size())
	if err != nil {
		t.Fatal(err)
	}
	return d, table
}

func TestBuildInstallOpen(t *testing.T) {
	im := mustBuild(t, testSpec())
	if info, err := os.Stat(im.Root); err != nil || info.Size() != mib || im.RootSize != mib {
		t.Errorf("root image: %v, %d bytes, want exactly the size asked for", err, im.RootSize)
	}
	d, table := mustDisk(t, im)

	s, err := table.Boot()
	if err != nil || s != slot.A {
		t.Fatalf("a new disk boots %v (%v), want A", s, err)
	}
	if got, want := table.Flags(slot.A), (slot.Flags{Priority: 1, Successful: true}); got != want {
		t.Errorf("flags of A %+v, want %+v", got, want)
	}
	if got := table.Flags(slot.B); got != (slot.Flags{}) {
		t.Errorf("flags of B %+v", got)
	}
	sys, err := OpenSlot(d, table, slot.A)
	if err != nil {
		t.Fatal(err)
	}
	want := Release{Version: "1.20.0", Variant: "k8s-1.36", PrettyName: "Drydock OS 1.20.0 (k8s-1.36)", BuildID: "abc123", ID: "drydock"}
	if diff := cmp.Diff(want, sys.Release()); diff != "" {
		t.Error(diff)
	}
	if sys.RootHash() != im.RootHash || sys.RootSize() != mib || !strings.Contains(sys.CommandLine(), "drydock.roothash="+im.RootHash) {
		t.Errorf("root hash %s, size %d, command line %q", sys.RootHash(), sys.RootSize(), sys.CommandLine())
	}
	if err := sys.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	for name, f := range testSpec().Files {
		got, err := fs.ReadFile(sys.FS(), strings.TrimPrefix(name, "/"))
		if err != nil || !bytes.Equal(got, f.Data) {
			t.Errorf("%s: %d bytes (%v), want %d", name, len(got), err, len(f.Data))
		}
		info, err := fs.Stat(sys.FS(), strings.TrimPrefix(name, "/"))
		if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != max(f.Mode, 0o644) {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if _, err := OpenSlot(d, table, slot.B); !errors.Is(err, ErrDamaged) {
		t.Errorf("an empty slot opened: %v", err)
	}
	if _, err := OpenSlot(d, table, slot.Slot(7)); !errors.Is(err, ErrNoSlot) {
		t.Errorf("a slot that does not exist opened: %v", err)
	}
}

func TestSameInputsMakeTheSameBytes(t *testing.T) {
	// The local file's name, time and owner bits must not show; nor must the order of anything.
	local := func(name string, mode fs.FileMode) File {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte("binary"), mode); err != nil {
			t.Fatal(err)
		}
		return File{Path: path}
	}
	var images [2]*Image
	var disks [2]string
	for i, f := range []File{local("hostd", 0o700), local("other-name", 0o755)} {
		s := testSpec()
		s.Files["/usr/bin/hostd"] = f
		images[i] = mustBuild(t, s)
		disks[i] = filepath.Join(t.TempDir(), "disk.img")
		if err := WriteDisk(t.Context(), disks[i], LayoutFor(mib), images[i]); err != nil {
			t.Fatal(err)
		}
	}
	same := func(what, a, b string) {
		t.Helper()
		x, err := os.ReadFile(a)
		if err != nil {
			t.Fatal(err)
		}
		y, err := os.ReadFile(b)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(x, y) {
			t.Errorf("%s differs", what)
		}
	}
	for _, part := range slot.Parts() {
		same(part.String(), images[0].Path(part), images[1].Path(part))
	}
	same("disk", disks[0], disks[1])

	other := testSpec()
	other.Version = "1.21.0"
	if im := mustBuild(t, other); im.RootHash == images[0].RootHash {
		t.Error("another version has the same root hash")
	}
}

func TestPaddingDoesNotCompress(t *testing.T) {
	im := mustBuild(t, testSpec())
	dir := t.TempDir()
	targets, err := im.WriteTargets(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range targets {
		if want := TargetName("k8s-1.36", "x86_64", "1.20.0", target.Part); target.Name != want || filepath.Base(target.Path) != want {
			t.Errorf("target is named %s, file %s", target.Name, target.Path)
		}
		f, err := os.Open(target.Path)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(lz4.NewReader(f))
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(im.Path(target.Part))
		if err != nil || !bytes.Equal(plain, want) {
			t.Errorf("%s decompresses to something else (%v)", target.Name, err)
		}
	}
	if root := targets[1]; root.Part != slot.Root || root.Size < mib*9/10 {
		t.Errorf("the padded root image shrank to %d bytes", root.Size)
	}
	if got := TargetName("v", "aarch64", "1.0.0", slot.Root); got != "drydock-v-aarch64-v1.0.0-root.erofs.lz4" {
		t.Errorf("target name %s", got)
	}
	if _, err := im.WriteTargets(t.Context(), dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("targets were overwritten: %v", err)
	}
}

// Whatever byte of a slot is damaged, it is found: in the boot image when the slot is opened, elsewhere at
// the latest by Verify.
func TestDamageIsFound(t *testing.T) {
	im := mustBuild(t, testSpec())
	boot, err := os.ReadFile(im.Boot)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		part slot.Part
		at   int64
		want error
	}{
		"magic":            {slot.Boot, 0, ErrDamaged},
		"version":          {slot.Boot, 8, ErrDamaged},
		"payload length":   {slot.Boot, 16, ErrDamaged},
		"huge length":      {slot.Boot, 23, ErrDamaged},
		"digest":           {slot.Boot, 40, ErrDamaged},
		"rest of header":   {slot.Boot, 4095, ErrDamaged},
		"payload":          {slot.Boot, int64(len(boot)) - 3, ErrDamaged},
		"erofs superblock": {slot.Root, 1024, ErrCorrupt},
		"last root byte":   {slot.Root, im.RootSize - 1, ErrCorrupt},
		"padding":          {slot.Root, mib / 2, ErrCorrupt},
		"verity signature": {slot.Hash, 0, ErrCorrupt},
		"verity salt":      {slot.Hash, 90, ErrCorrupt},
		"verity size":      {slot.Hash, 72, ErrCorrupt},
		"tree top":         {slot.Hash, 4096, ErrCorrupt},
		"tree bottom":      {slot.Hash, im.HashSize - 4096 + 7, ErrCorrupt},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d, table := mustDisk(t, im)
			b := make([]byte, 1)
			at := table.Partition(slot.A, test.part).Offset() + test.at
			if _, err := d.ReadAt(b, at); err != nil {
				t.Fatal(err)
			}
			b[0] ^= 0x10
			if _, err := d.WriteAt(b, at); err != nil {
				t.Fatal(err)
			}
			sys, err := OpenSlot(d, table, slot.A)
			if err == nil && test.part != slot.Boot {
				err = sys.Verify(t.Context())
			}
			if !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
		})
	}
}

func TestBadSpecs(t *testing.T) {
	dir := t.TempDir()
	tests := map[string]func(*Spec){
		"no variant":        func(s *Spec) { s.Variant = "" },
		"variant with path": func(s *Spec) { s.Variant = "../x" },
		"unknown arch":      func(s *Spec) { s.Arch = "vax" },
		"version with v":    func(s *Spec) { s.Version = "v1.2.3" },
		"half a version":    func(s *Spec) { s.Version = "1.2" },
		"version with path": func(s *Spec) { s.Version = "1.2.3-/../x" },
		"newline in name":   func(s *Spec) { s.PrettyName = "a\nVERSION_ID=9" },
		"negative size":     func(s *Spec) { s.Size = -4096 },
		"odd size":          func(s *Spec) { s.Size = 1000 },
		"relative path":     func(s *Spec) { s.Files["usr/x"] = File{} },
		"path with dots":    func(s *Spec) { s.Files["/usr/../x"] = File{} },
		"file as directory": func(s *Spec) { s.Files["/usr/bin"] = File{} },
		"file over release": func(s *Spec) { s.Files["/usr/lib/os-release"] = File{} },
		"release below it":  func(s *Spec) { s.Files["/usr/lib"] = File{} },
		"setuid":            func(s *Spec) { s.Files["/x"] = File{Mode: fs.ModeSetuid | 0o755} },
		"two sources":       func(s *Spec) { s.Files["/x"] = File{Path: "/etc/passwd", Data: []byte("x")} },
	}
	for name, edit := range tests {
		s := testSpec()
		edit(&s)
		if _, err := Build(t.Context(), s, filepath.Join(dir, "out")); !errors.Is(err, ErrSpec) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := testSpec()
	s.Files["/x"] = File{Path: filepath.Join(dir, "missing")}
	if _, err := Build(t.Context(), s, filepath.Join(dir, "out")); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "/x") {
		t.Errorf("missing file: %v", err)
	}
	s.Files["/x"] = File{Path: dir}
	if _, err := Build(t.Context(), s, filepath.Join(dir, "out")); err == nil {
		t.Error("a directory was taken for a file")
	}
	if _, err := os.Stat(filepath.Join(dir, "out")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused build made its directory: %v", err)
	}
}

func TestFailedBuildLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	empty := func(when string) {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 0 {
			t.Errorf("%s left %v (%v)", when, entries, err)
		}
	}
	s := testSpec()
	s.Size = 4096
	if _, err := Build(t.Context(), s, dir); err == nil || !strings.Contains(err.Error(), "4096") {
		t.Errorf("too small a size: %v", err)
	}
	empty("too small a size")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(ctx, testSpec(), dir); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled build: %v", err)
	}
	empty("a cancelled build")

	im := mustBuild(t, testSpec())
	if err := WriteDisk(ctx, filepath.Join(dir, "disk.img"), LayoutFor(mib), im); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled disk: %v", err)
	}
	empty("a cancelled disk")

	taken := filepath.Join(filepath.Dir(im.Root), "boot.img")
	if _, err := Build(t.Context(), testSpec(), filepath.Dir(im.Root)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("an image was overwritten: %v", err)
	}
	if _, err := os.Stat(taken); err != nil {
		t.Errorf("the earlier image is gone: %v", err)
	}
}

func TestDiskRefusesWhatDoesNotFit(t *testing.T) {
	im := mustBuild(t, testSpec())
	dir := t.TempDir()
	small := LayoutFor(mib)
	for part, field := range map[slot.Part]*int64{slot.Boot: &small.Boot, slot.Root: &small.Root, slot.Hash: &small.Hash} {
		if err := os.Truncate(im.Path(part), *field+1); err != nil {
			t.Fatal(err)
		}
		err := WriteDisk(t.Context(), filepath.Join(dir, "disk.img"), small, im)
		if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), fmt.Sprint(*field)) || !strings.Contains(err.Error(), fmt.Sprint(*field+1)) {
			t.Errorf("%v: error %v does not name both sizes", part, err)
		}
		if err := os.Truncate(im.Path(part), mib/2); err != nil {
			t.Fatal(err)
		}
	}
	for name, edit := range map[string]func(*Layout){
		"zero": func(l *Layout) { l.Data = 0 }, "negative": func(l *Layout) { l.Boot = -mib },
		"odd": func(l *Layout) { l.Root++ }, "huge": func(l *Layout) { l.Private = 1 << 62 },
	} {
		l := LayoutFor(mib)
		edit(&l)
		if err := WriteDisk(t.Context(), filepath.Join(dir, "disk.img"), l, im); err == nil {
			t.Errorf("%s: a disk was made", name)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v (%v)", entries, err)
	}
}

func TestDiskIsSparseAndLaidOut(t *testing.T) {
	im := mustBuild(t, testSpec())
	d, table := mustDisk(t, im)
	if d.Size() != LayoutFor(im.RootSize).DiskSize() {
		t.Errorf("disk has %d bytes", d.Size())
	}
	path := filepath.Join(t.TempDir(), "disk.img")
	big := LayoutFor(im.RootSize)
	big.Data = 100 << 30
	if err := WriteDisk(t.Context(), path, big, im); err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	if used := st.Blocks * 512; used > im.RootSize+im.HashSize+im.BootSize+mib {
		t.Errorf("a disk of %d bytes takes %d, the image in it has %d", st.Size, used, im.RootSize)
	}

	g, err := gpt.Read(d, d.Size())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range g.Partitions() {
		names = append(names, p.Name)
		if p.Offset()%mib != 0 || p.Size()%mib != 0 {
			t.Errorf("%s is not aligned: %d, %d", p.Name, p.Offset(), p.Size())
		}
	}
	want := strings.Fields(`BIOS-BOOT EFI-SYSTEM BOTTLEROCKET-BOOT-A BOTTLEROCKET-ROOT-A BOTTLEROCKET-HASH-A BOTTLEROCKET-RESERVED-A
		EFI-BACKUP BOTTLEROCKET-BOOT-B BOTTLEROCKET-ROOT-B BOTTLEROCKET-HASH-B BOTTLEROCKET-RESERVED-B BOTTLEROCKET-PRIVATE BOTTLEROCKET-DATA`)
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	for _, s := range table.Slots() {
		if a, b := table.Partition(s, slot.Boot).Number, table.Partition(s, slot.Root).Number; b != a+1 || table.Partition(s, slot.Hash).Number != a+2 {
			t.Errorf("slot %v: root and hash must follow boot", s)
		}
		if got, err := table.FindBoot(table.Partition(s, slot.Boot).UUID); got != s || err != nil {
			t.Errorf("slot %v is found as %v (%v)", s, got, err)
		}
	}
}

// However large the root, its tree and a somewhat larger successor must fit.
func TestLayoutForHasRoom(t *testing.T) {
	for _, root := range []int64{-1, 0, 1, 4096, mib, 32 * mib, 512 * mib, 920 * mib, 100 << 30} {
		l := LayoutFor(root)
		if err := l.check(); err != nil {
			t.Errorf("%d: %v", root, err)
		}
		if l.Root < root+root/5 || l.Hash < verity.Size(l.Root) || l.Boot < 4*mib {
			t.Errorf("%d: too tight: %+v", root, l)
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	s := testSpec()
	s.Size = 32 * mib
	b.SetBytes(s.Size)
	for i := 0; b.Loop(); i++ {
		if _, err := Build(b.Context(), s, filepath.Join(b.TempDir(), fmt.Sprint(i))); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	s := testSpec()
	s.Size = 32 * mib
	d, table := mustDisk(b, mustBuild(b, s))
	sys, err := OpenSlot(d, table, slot.A)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(s.Size)
	for b.Loop() {
		if err := sys.Verify(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
