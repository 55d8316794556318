// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package hostd

import (
	"regexp"
	"strings"
	"testing"
)

func TestHowCommandsGetIntoContainers(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		tty  bool
		want string
	}{
		{Config{Root: "/", ExecSocket: "/s"}, false, "/usr/bin/ctr -a /s task exec --exec-id apiexec-R admin ls -l"},
		{Config{Root: "/", ExecSocket: "/s"}, true, "/usr/bin/ctr -a /s task exec --exec-id apiexec-R --tty admin ls -l"},
		{Config{Root: "/", ExecProgram: "/p", ExecSocket: "/s"}, true, "/p admin ls -l"},
		{Config{Root: "/r", ExecProgram: "/p"}, false, "/p admin ls -l"},
	} {
		args, err := execArgv(c.cfg)("admin", []string{"ls", "-l"}, c.tty)
		got := regexp.MustCompile(`apiexec-[A-Z0-9]{16} `).ReplaceAllString(strings.Join(args, " "), "apiexec-R ")
		if err != nil || got != c.want {
			t.Errorf("%+v: %s %v, want %s", c.cfg, got, err, c.want)
		}
	}
	if args, err := execArgv(Config{Root: "/r", ExecSocket: "/s"})("admin", []string{"ls"}, false); err == nil {
		t.Errorf("below another root: %v", args)
	}
}
