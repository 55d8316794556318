// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/internal/hostapi"
	"github.com/drydock-os/drydock/internal/hostd/migrate"
	"github.com/drydock-os/drydock/internal/slot"
)

// small puts a folder of the host on a small file system of its own.
func (s *site) small(t *testing.T, name string) (dir string) {
	t.Helper()
	dir, away := filepath.Join(s.root, name), t.TempDir()
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.CopyFS(away, os.DirFS(dir))); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("cannot mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	if err := os.CopyFS(dir, os.DirFS(away)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// failing is a way in which a file system takes no more writes.
type failing struct {
	name, want, advice string
	begin              func(t *testing.T, dir string) (end func())
}

var failings = []failing{
	{"full", "no space left", "free space or inodes in ", func(t *testing.T, dir string) func() {
		t.Helper()
		path := filepath.Join(dir, "fill")
		if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("filling it: %v", err)
		}
		return func() { _ = os.Remove(path) }
	}},
	{"read-only", "read-only file system", "make the file system writable in ", func(t *testing.T, dir string) func() {
		t.Helper()
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		return func() { _ = unix.Mount("", dir, "", unix.MS_REMOUNT, "") }
	}},
}

// failure runs a command that must fail, and returns why it did.
func (d *daemon) failure(start func(context.Context) error) string {
	d.t.Helper()
	if err := start(d.t.Context()); err != nil {
		return err.Error()
	}
	status, err := d.WaitUpdateStatus(d.t.Context())
	if err != nil {
		return err.Error()
	}
	if status.MostRecentCommand.Status != hostapi.StatusFailed {
		d.t.Errorf("%s succeeded", status.MostRecentCommand.Type)
	}
	return status.MostRecentCommand.Stderr
}

func (f failing) mustSay(t *testing.T, text, dir string) {
	t.Helper()
	if !strings.Contains(text, f.want) || !strings.Contains(text, f.advice+dir) {
		t.Errorf("told %q, want %q and advice about %s", text, f.want, dir)
	}
}

// A folder that the update engine writes to takes no more writes. Its command fails and says which, why and what to do;
// the boot flags stay, the status can be read, and once the folder is writable the command succeeds.
func TestFoldersThatTakeNoWrites(t *testing.T) {
	for _, name := range []string{"run", "var/lib/drydock/repository", "var/lib/drydock", migrate.MetadataDir, migrate.TargetsDir} {
		for _, f := range failings {
			t.Run(f.name+" "+name, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, 1<<20, "1.20.0", "1.21.0")
				s.wantBoot(slot.A)
				dir := s.small(t, name)
				d := s.start()
				d.log.await(t, "boot marked successful")
				d.mustCommand(d.Refresh, hostapi.StateAvailable)
				s.publish("1.22.0") // so that there is new metadata to remember
				end := f.begin(t, dir)
				f.mustSay(t, d.failure(d.Prepare), dir)
				if status, err := d.UpdateStatus(t.Context()); err != nil || status.UpdateState != hostapi.StateAvailable {
					t.Errorf("status: %+v, %v", status, err)
				}
				if a, b := s.flags(); a != (slot.Flags{Priority: 1, Successful: true}) || b != (slot.Flags{}) {
					t.Errorf("flags: A %+v, B %+v", a, b)
				}
				end()
				d.mustCommand(d.Prepare, hostapi.StateStaged)
				d.mustCommand(d.Refresh, hostapi.StateStaged)
			})
		}
	}
}

// What a client once knew of a repository is not lost when it cannot remember more: nothing older is accepted afterwards.
func TestMemoryOfARepositoryThatTakesNoWrites(t *testing.T) {
	for _, f := range failings {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 1<<20, "1.20.0")
			old := filepath.Join(t.TempDir(), "old")
			if err := os.CopyFS(old, os.DirFS(s.repo)); err != nil {
				t.Fatal(err)
			}
			s.publish("1.21.0")
			s.wantBoot(slot.A)
			const name = "var/lib/drydock/repository"
			dir := s.small(t, name)
			d := s.start()
			d.log.await(t, "boot marked successful")
			d.mustCommand(d.Refresh, hostapi.StateAvailable)
			s.publish("1.22.0")
			end := f.begin(t, dir)
			f.mustSay(t, d.failure(d.Refresh), dir)
			end()
			s.setTamper(func(w http.ResponseWriter, r *http.Request) bool {
				http.FileServer(http.Dir(old)).ServeHTTP(w, r)
				return true
			})
			if text := d.failure(d.Refresh); !strings.Contains(text, "older") && !strings.Contains(text, "version") {
				t.Errorf("an older repository: %q", text)
			}
			s.setTamper(nil)
			d.mustCommand(d.Refresh, hostapi.StateAvailable)
		})
	}
}

// The folder of the status becomes full while a command runs. What the command has done counts, and the next command goes
// on from there.
func TestStatusThatCannotBeWrittenAtTheEnd(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0", "1.21.0")
	s.wantBoot(slot.A)
	dir := s.small(t, "run")
	d := s.start()
	d.log.await(t, "boot marked successful")
	d.mustCommand(d.Refresh, hostapi.StateAvailable)
	ends := make(chan func(), 1)
	full := failings[0]
	s.setTamper(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "-boot.img.lz4") {
			ends <- full.begin(t, dir)
		}
		return false
	})
	status := d.mustCommand(d.Prepare, hostapi.StateStaged)
	d.log.await(t, "update status not written")
	if again, err := d.UpdateStatus(t.Context()); err != nil || again.StagingPartition == nil || *again.StagingPartition != *status.StagingPartition {
		t.Errorf("read again: %+v, %v", again, err)
	}
	full.mustSay(t, d.failure(d.Activate), dir)
	if _, b := s.flags(); b != (slot.Flags{Tries: 1}) {
		t.Errorf("slot B after an activate that did not begin: %+v", b)
	}
	(<-ends)()
	d.mustCommand(d.Activate, hostapi.StateReady)
	// Whoever reads the file finds the same.
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	d = s.start()
	if status, err := d.UpdateStatus(t.Context()); err != nil || status.UpdateState != hostapi.StateReady || status.MostRecentCommand.Type != hostapi.CommandActivate {
		t.Errorf("after a restart: %+v, %v", status, err)
	}
}

// A daemon that cannot even make its socket says so and ends; the next start works.
func TestStartWithoutAWritableRun(t *testing.T) {
	s := newSite(t, 1<<20, "1.20.0")
	s.wantBoot(slot.A)
	dir := s.small(t, "run")
	end := failings[1].begin(t, dir)
	d, err := New(Config{Root: s.root, Disk: s.disk, SocketGID: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context()); !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), "making the API socket") || !strings.Contains(err.Error(), dir) {
		t.Errorf("got error %v", err)
	}
	end()
	s.start().log.await(t, "boot marked successful")
}
