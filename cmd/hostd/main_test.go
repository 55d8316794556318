// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCommandLine(t *testing.T) {
	empty, booted, directory := t.TempDir(), t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		filepath.Join(empty, "proc/cmdline"):                    "quiet\n",
		filepath.Join(empty, "proc/sys/kernel/random/boot_id"):  "x\n",
		filepath.Join(booted, "proc/cmdline"):                   "drydock.boot_uuid=00000000-0000-4000-8000-000000000001\n",
		filepath.Join(booted, "sys/block/of-another-disk/size"): "1\n",
		filepath.Join(directory, "proc/cmdline"):                "drydock.boot_uuid=00000000-0000-4000-8000-000000000001\n",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name   string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{"help", []string{"--help"}, 0, "Daemons and tools", ""},
		{"help of serve", []string{"serve", "--help"}, 0, "--reboot-program", ""},
		{"nothing", nil, 2, "", "hostd: error: no command given\nhostd: hint: see 'hostd --help'\n"},
		{"unknown command", []string{"fly"}, 2, "", `hostd: error: hostd has no command "fly"`},
		{"unknown flag", []string{"serve", "--fly"}, 2, "", "hostd: error: unknown flag: --fly"},
		{"argument", []string{"serve", "x"}, 2, "", `hostd: error: hostd serve takes no argument, but got "x"`},
		{"no disk", []string{"serve", "--root", booted}, 1, "", "hostd: hint: name the system disk with --disk"},
		{"no devices", []string{"serve", "--root", directory}, 1, "", "hostd: hint: name the system disk with --disk"},
		{"log format", []string{"serve", "--disk", "x", "--log-format", "xml"}, 2, "", "want text or json"},
		{"log level", []string{"serve", "--disk", "x", "--log-level", "loud"}, 2, "", "want debug, info, warn or error"},
		{"group", []string{"serve", "--disk", "x", "--socket-gid", "api"}, 2, "", "invalid argument"},
		{"no boot slot", []string{"serve", "--disk", "x", "--root", empty}, 1, "", "hostd: hint: the boot loader must name the booted boot partition"},
		{"no host", []string{"serve", "--disk", "x", "--root", filepath.Join(empty, "none")}, 1, "", "hostd: error: identifying the running system"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(context.Background(), tc.args, &stdout, &stderr); code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			if !strings.Contains(stdout.String(), tc.stdout) || !strings.Contains(stderr.String(), tc.stderr) {
				t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
			}
			if tc.code == 0 && stderr.Len() > 0 || tc.code != 0 && stdout.Len() > 0 {
				t.Errorf("data and messages are mixed: stdout %q, stderr %q", stdout.String(), stderr.String())
			}
		})
	}
}
