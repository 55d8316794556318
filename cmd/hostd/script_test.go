// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/drydock-os/drydock/internal/gpt"
	"github.com/drydock-os/drydock/internal/hostd/system"
	"github.com/drydock-os/drydock/internal/osimage"
	"github.com/drydock-os/drydock/internal/slot"
	"github.com/drydock-os/drydock/internal/tuf"
	"github.com/drydock-os/drydock/internal/tuf/release"
)

func TestMain(m *testing.M) {
	// The tools are links to hostd, as on a host.
	testscript.Main(m, map[string]func(){"hostd": main, "apiclient": main, "signpost": main, "updog": main, "storewolf": main, "migrator": main,
		"early-boot-config": main, "sundog": main, "settings-committer": main, "thar-be-settings": main, "logdog": main,
		"host-containers": main, "bootstrap-containers": main, "activated": activated})
}

// activated stands for a service manager: it listens on a path and becomes the program that serves it, with the socket
// where sd_listen_fds(3) says.
func activated() {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: os.Args[1]})
	if err != nil {
		panic(err)
	}
	file, err := l.File()
	if err == nil {
		err = unix.Dup3(int(file.Fd()), 3, 0)
	}
	program := ""
	if err == nil {
		program, err = exec.LookPath(os.Args[2])
	}
	if err == nil {
		err = syscall.Exec(program, os.Args[2:], append(os.Environ(), "LISTEN_FDS=1", "LISTEN_PID="+strconv.Itoa(os.Getpid())))
	}
	panic(err)
}

// The scripts in testdata run the programs of a host against a disk image and a repository.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata",
		Setup: setUp,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "site": site, "publish": publish, "boot": boot, "ready": ready, "withdraw": withdraw, "migration": migration, "gone": gone, "await": await,
		},
	})
}

const variant = "metal"

func arch() string {
	if runtime.GOARCH == "arm64" {
		return "aarch64"
	}
	return "x86_64"
}

// setUp says where hostd is, for links to it, and keeps programs under the race detector from waiting a second before
// they end.
func setUp(env *testscript.Env) error {
	env.Setenv("GORACE", "atexit_sleep_ms=0")
	hostd, err := exec.LookPath("hostd")
	env.Setenv("HOSTD", hostd)
	return err
}

// exits runs a program and checks its exit code, which plain exec does not tell: exits CODE PROGRAM ARGS...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("running %s: %v", args[1], err)
		}
		code = exit.ExitCode()
	}
	if want := args[0]; strconv.Itoa(code) != want {
		ts.Fatalf("exit code %d, want %s", code, want)
	}
}

// site makes a repository with a web server at $URL, the files of a host in root/, and disk.img with the given version
// in slot A: site VERSION.
func site(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: site VERSION")
	}
	_, err := tuf.Init(context.Background(), ts.MkAbs("repo"), ts.MkAbs("keys"), tuf.InitOptions{Now: time.Now()})
	ts.Check(err)
	image := publishVersion(ts, args[0])
	ts.Check(osimage.WriteDisk(context.Background(), ts.MkAbs("disk.img"), osimage.LayoutFor(0), image))
	server := httptest.NewServer(http.FileServer(http.Dir(ts.MkAbs("repo"))))
	ts.Defer(server.Close)
	writeFile(ts, "root/etc/updog.toml", fmt.Sprintf(
		"metadata_base_url = %q\ntargets_base_url = %q\nseed = 17\nversion_lock = \"latest\"\nignore_waves = false\n",
		server.URL+"/"+variant+"/"+arch()+"/", server.URL+"/targets/"))
	ts.Setenv("ARCH", arch())
	ts.Setenv("URL", server.URL)
}

func writeFile(ts *testscript.TestScript, name, text string) {
	name = ts.MkAbs(name)
	ts.Check(os.MkdirAll(filepath.Dir(name), 0o755))
	ts.Check(os.WriteFile(name, []byte(text), 0o644))
}

// publish builds a version and adds it to the repository: publish VERSION.
func publish(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: publish VERSION")
	}
	publishVersion(ts, args[0])
}

func publishVersion(ts *testscript.TestScript, version string) *osimage.Image {
	dir := ts.MkAbs("images-" + version)
	image, err := osimage.Build(context.Background(), osimage.Spec{
		Variant: variant, Arch: arch(), Version: version,
		Files: map[string]osimage.File{"/usr/share/updog/root.json": {Path: ts.MkAbs("repo/root.json")}},
	}, dir)
	ts.Check(err)
	_, err = image.WriteTargets(context.Background(), dir)
	ts.Check(err)
	_, err = release.Publish(context.Background(), release.Config{
		Dir: ts.MkAbs("repo"), KeysDir: ts.MkAbs("keys"), Variant: variant, Arch: arch(), Version: version, Images: dir, Now: time.Now(),
	})
	ts.Check(err)
	return image
}

// withdraw takes the repository away, as a broken network does.
func withdraw(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(os.Rename(ts.MkAbs("repo"), ts.MkAbs("repo-gone")))
}

// boot does what the boot loader and the kernel do: it picks a slot, and a new boot begins.
func boot(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: boot SLOT-THAT-MUST-BOOT")
	}
	d, err := gpt.OpenFile(ts.MkAbs("disk.img"), true)
	ts.Check(err)
	defer d.Close()
	table, err := slot.Open(d, d.Size())
	ts.Check(err)
	booted, err := table.Boot()
	ts.Check(err)
	if booted.String() != args[0] {
		ts.Fatalf("slot %v booted, want %s", booted, args[0])
	}
	ts.Check(os.RemoveAll(ts.MkAbs("root/run")))
	writeFile(ts, "root/proc/cmdline", "drydock.boot_uuid="+table.Partition(booted, slot.Boot).UUID.String()+"\n")
	writeFile(ts, "root/proc/sys/kernel/random/boot_id", fmt.Sprintf("%d\n", time.Now().UnixNano()))
}

// await waits until a program has made a file: await FILE.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await FILE")
	}
	for range 1000 {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("no file %s", args[0])
}

// ready waits until a daemon answers on the socket and the boot is marked successful: ready SOCKET.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ready SOCKET")
	}
	good := func() bool {
		c, err := net.Dial("unix", ts.MkAbs(args[0]))
		if err != nil {
			return false
		}
		_ = c.Close()
		d, err := gpt.OpenFile(ts.MkAbs("disk.img"), false)
		if err != nil {
			return false
		}
		defer d.Close()
		table, err := slot.Open(d, d.Size())
		if err != nil {
			return false
		}
		uuid, err := system.BootUUID(ts.MkAbs("root"))
		if err != nil {
			return false
		}
		active, err := table.FindBoot(uuid)
		return err == nil && table.Flags(active).Successful
	}
	for range 1000 {
		if good() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("no daemon answers on %s", args[0])
}

// gone waits until a file is no more: gone FILE.
func gone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gone FILE")
	}
	for range 1000 {
		if _, err := os.Lstat(ts.MkAbs(args[0])); errors.Is(err, os.ErrNotExist) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("%s does not go", args[0])
}
