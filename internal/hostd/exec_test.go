// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHowCommandsGetIntoContainers(t *testing.T) {
	root := t.TempDir()
	if args, err := execArgv(Config{Root: root, ExecSocket: "/s"})("admin", []string{"ls"}, false); err == nil {
		t.Errorf("below a root without host-ctr: %v", args)
	}
	if err := os.MkdirAll(filepath.Join(root, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "usr/bin/host-ctr"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cfg  Config
		tty  bool
		want string
	}{
		{Config{Root: "/", ExecSocket: "/s"}, false, "/usr/bin/host-ctr exec --containerd-socket /s -- admin ls -l"},
		{Config{Root: "/", ExecSocket: "/s"}, true, "/usr/bin/host-ctr exec --containerd-socket /s --tty -- admin ls -l"},
		{Config{Root: "/", ExecProgram: "/p", ExecSocket: "/s"}, true, "/p admin ls -l"},
		{Config{Root: "/r", ExecProgram: "/p"}, false, "/p admin ls -l"},
		{Config{Root: root, ExecSocket: "/s"}, false, root + "/usr/bin/host-ctr exec --containerd-socket /s --root " + root + " -- admin ls -l"},
	} {
		args, err := execArgv(c.cfg)("admin", []string{"ls", "-l"}, c.tty)
		if got := strings.Join(args, " "); err != nil || got != c.want {
			t.Errorf("%+v: %s %v, want %s", c.cfg, got, err, c.want)
		}
	}
}
