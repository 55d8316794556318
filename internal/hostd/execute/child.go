// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package execute

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/drydock-os/drydock/internal/hostapi/execapi"
	"github.com/drydock-os/drydock/internal/pty"
)

// child is a program that was started.
type child struct {
	process *os.Process
	pid     int
	in, out *os.File // ours; of a terminal they are the same
	tty     bool
	done    chan struct{} // closed when it has ended
	code    int           // then
}

// validTarget is what names of host containers look like. What else could follow might be taken for an option.
var validTarget = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,75}$`)

// start starts the program that a client has asked for.
func start(argv Argv, init *execapi.Initialize) (*child, error) {
	if !validTarget.MatchString(init.Target) {
		return nil, policy(fmt.Sprintf("%.80q is no name of a host container", init.Target))
	}
	if len(init.Command) == 0 {
		return nil, policy("the command is empty")
	}
	command := make([]string, len(init.Command))
	for i, word := range init.Command {
		if command[i] = string(word); strings.ContainsRune(command[i], 0) {
			return nil, policy("a word of the command has a zero byte")
		}
	}
	args, err := argv(init.Target, command, init.TTY != nil)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = []string{"TERM=screen"}
	cmd.Dir = "/"
	c := &child{tty: init.TTY != nil, done: make(chan struct{})}
	theirs, err := c.connect(cmd, init.TTY)
	if err == nil {
		err = cmd.Start()
	}
	for _, f := range theirs {
		_ = f.Close()
	}
	if err != nil {
		c.close()
		return nil, err
	}
	c.process, c.pid = cmd.Process, cmd.Process.Pid
	go func() { // ends with the program, which terminate sees to
		_ = cmd.Wait()
		c.code = exitCode(cmd.ProcessState)
		// This wakes up who waits for output, to take what is left. It comes first: who knows of the end sets a
		// deadline that is to stay.
		_ = c.out.SetReadDeadline(time.Now())
		close(c.done)
	}()
	if init.TTY != nil && init.TTY.Size != nil {
		time.AfterFunc(winchDelay, func() { c.signal(syscall.SIGWINCH) })
	}
	return c, nil
}

// connect gives the program a terminal, or pipes of which one is for everything that it writes. It returns the ends
// that are the program's.
func (c *child) connect(cmd *exec.Cmd, tty *execapi.TTY) ([]*os.File, error) {
	if tty != nil {
		control, terminal, err := pty.Open()
		if err != nil {
			return nil, err
		}
		c.in, c.out = control, control
		cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		if tty.Size != nil {
			err = pty.SetSize(control, tty.Size.Rows, tty.Size.Cols)
		}
		return []*os.File{terminal}, err
	}
	inTheirs, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	out, outTheirs, err := os.Pipe()
	if err != nil {
		c.in = in
		return []*os.File{inTheirs}, fmt.Errorf("making a pipe: %w", err)
	}
	c.in, c.out = in, out
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inTheirs, outTheirs, outTheirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // keys pressed at the daemon's terminal are not for it
	return []*os.File{inTheirs, outTheirs}, nil
}

func (c *child) close() {
	for _, f := range []*os.File{c.in, c.out} {
		if f != nil {
			_ = f.Close() // a second time is an error that means nothing
		}
	}
}

// endInput lets the program see the end of its input, after the byte last.
func (c *child) endInput(last byte) {
	if !c.tty {
		_ = c.in.Close()
		return
	}
	// A terminal has no end: people press Ctrl-D, which ends a line that has begun, or the input at the begin of one.
	const ctrlD = 4
	end := []byte{ctrlD}
	if last != '\n' && last != '\r' {
		end = append(end, ctrlD)
	}
	_, _ = c.in.Write(end) // it has ended otherwise
}

func (c *child) resize(size execapi.Size) {
	if c.tty {
		_ = pty.SetSize(c.out, size.Rows, size.Cols) // the program has ended otherwise
	}
}

func (c *child) signal(s syscall.Signal) { _ = c.process.Signal(s) } // it may have ended meanwhile

// terminate asks the program to end, unless it has, and ends it after the grace. What it had open of ours is closed
// then.
func (c *child) terminate(grace, last time.Duration) {
	select {
	case <-c.done:
	default:
		c.signal(syscall.SIGTERM)
		if c.tty { // shells at a terminal end only when that is gone
			c.signal(syscall.SIGHUP)
		}
		select {
		case <-c.done:
		case <-time.After(grace):
			c.signal(syscall.SIGTERM) // what stands for a command in a container kills that now
			select {
			case <-c.done:
			case <-time.After(last):
				c.signal(syscall.SIGKILL)
				<-c.done
			}
		}
	}
	c.close()
}
