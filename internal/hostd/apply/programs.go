// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/drydock-os/drydock/internal/hostd/rootdir"
)

const (
	// commandLimit is more than a service may take to stop and start again.
	commandLimit = 6 * time.Minute

	// afterKill is how long output of a program that was killed, or of its children, is waited for.
	afterKill = 2 * time.Second

	maxOutput = 4 << 10 // bytes of a failed command's output that are repeated
)

// Programs runs the commands of services as programs, without a shell.
//
// A host that is only a directory has a program if it is below that directory; it runs there as it is, with the
// directory as working directory. What it has not is left out, with a warning. Where the root is /, a program that is
// not there is an error.
type Programs struct {
	Root string
	Log  *slog.Logger
}

// Run runs one command. The environment says in CHANGED_SETTINGS what changed, unless everything is applied, and in
// DRYDOCK_ROOT which host it is for.
func (p Programs) Run(ctx context.Context, command, changed []string) error {
	if len(command) == 0 || !filepath.IsAbs(command[0]) {
		return fmt.Errorf("command %q does not start with the path of a program", strings.Join(command, " "))
	}
	name, err := filepath.Abs(filepath.Join(p.Root, command[0]))
	if err != nil {
		return err
	}
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) && filepath.Clean(p.Root) != "/" {
		p.Log.Warn("command left out: this host has no such program", "program", name)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, command[1:]...)
	cmd.Dir, cmd.WaitDelay = p.Root, afterKill
	if cmd.Env, err = rootdir.Environment(p.Root); err != nil {
		return err
	}
	if changed != nil {
		cmd.Env = append(cmd.Env, "CHANGED_SETTINGS="+strings.Join(changed, " "))
	}
	var out tail
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if text := strings.TrimSpace(string(out)); text != "" {
			return fmt.Errorf("running %s: %w: %s", strings.Join(command, " "), err, text)
		}
		return fmt.Errorf("running %s: %w", strings.Join(command, " "), err)
	}
	return nil
}

// tail keeps the end of what is written to it.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	if over := len(*t) - maxOutput; over > 0 {
		*t = append((*t)[:0], (*t)[over:]...)
	}
	return len(p), nil
}
