// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/drydock-os/drydock/internal/testutil/containerdtest"
)

// commandsOf returns the blocks of commands in a document.
func commandsOf(t *testing.T, name string) []string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("../../docs/host", name))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, block := range strings.Split(string(page), "```sh\n")[1:] {
		commands, _, _ := strings.Cut(block, "```")
		blocks = append(blocks, commands)
	}
	return blocks
}

// The page about containers is right: on a host that is a directory, booted as in the tutorial, its commands start and
// stop containers, and leave nothing behind.
func TestTheGuideToContainers(t *testing.T) {
	if testing.Short() {
		t.Skip("starts containers")
	}
	containerdtest.Need(t)
	dir, err := os.MkdirTemp("", "guide") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("something holds files of the host: %v", err)
		}
	})
	bin := t.TempDir()
	for _, name := range []string{"hostd", "host-ctr", "imgtool"} {
		if err := os.Symlink(containerdtest.Program(t, "../../cmd/"+name), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	registry := containerdtest.Registry(t, nil)
	image := containerdtest.Image(t, containerdtest.Program(t, "../../internal/hostd/hostctr/testdata/probe"))
	for _, name := range []string{"tools:v1", "disks:v1"} {
		containerdtest.Push(t, image, registry+"/"+name)
	}

	tutorial, page := commandsOf(t, "tutorial.md"), commandsOf(t, "containers.md")
	if len(page) != 4 || strings.Count(page[0], "\n") != 3 {
		t.Fatalf("the page has other blocks of commands than this test knows: %q", page)
	}
	settings := strings.Split(page[0], "\n")
	const wait = "until %s; do sleep 0.1; done\n"
	script := strings.Join([]string{
		"stop() {\n" + page[3] + "}\ntrap 'exit 1' TERM\n",
		tutorial[0], tutorial[2], // a host that has booted
		"trap 'set +e; stop; kill $(cat hostd.pid)' EXIT\n",
		page[1], // with containerd
		fmt.Sprintf(`apiclient set -j '{"container-registry": {"mirrors": [{"registry": "example.com", "endpoint": ["http://%s"]}]}}'`, registry),
		settings[0],
		fmt.Sprintf(wait, "[ -e host/local/host-containers/tools/report.json ]"),
		"code=0; apiclient exec tools /program exit 7 || code=$?; [ $code = 7 ]",
		settings[1],
		fmt.Sprintf(wait, "[ -e host/local/host-containers/tools/stopped ]"),
		settings[2],
		"apiclient set bootstrap-containers.disks.user-data=$(printf 'exit 0' | base64)", // which the image knows
		page[2],
		"ls host/local/bootstrap-containers/disks/report.json",
		"apiclient get settings.bootstrap-containers.disks.mode",
		// It runs when the host goes down.
		"rm host/local/host-containers/tools/*; apiclient set host-containers.tools.enabled=true",
		fmt.Sprintf(wait, "[ -e host/local/host-containers/tools/report.json ]"),
		"if imgtool boot --disk host.img --root host; then exit 1; fi",
		"echo ==; stop; trap - EXIT; sh power-off; while kill -0 $(cat hostd.pid) 2>/dev/null; do sleep 0.1; done",
		"imgtool boot --disk host.img --root host",
	}, "\n")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-eu", "-c", script)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, 30*time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	err = cmd.Run()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if err != nil {
		for _, name := range []string{"hostd.log", "containerd.log", "host/run/host-containers/tools.log"} {
			log, _ := os.ReadFile(filepath.Join(dir, name))
			t.Logf("%s:\n%s", name, log)
		}
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{`"mode": "off"`, "imgtool: hint: stop its containers"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
}
