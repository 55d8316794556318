// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// command is what a test runs in a container that runs already. It returns the exit code.
func command(args []string) int {
	signals := make(chan os.Signal, 8)
	switch args[0] {
	case "exit":
		fmt.Println("out")
		fmt.Fprintln(os.Stderr, "err")
		code, err := strconv.Atoi(args[1])
		must(err)
		return code
	case "cat":
		_, err := io.Copy(os.Stdout, os.Stdin)
		must(err)
	case "env":
		fmt.Println(strings.Join(os.Environ(), "\n"))
	case "terminal": // says its size at first and whenever that changes, until it reads a line
		signal.Notify(signals, syscall.SIGWINCH)
		line := make(chan string)
		go func() {
			text, _ := bufio.NewReader(os.Stdin).ReadString('\n')
			line <- text
		}()
		for {
			size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
			must(err)
			fmt.Println("size", size.Row, size.Col)
			select {
			case <-signals:
			case text := <-line:
				fmt.Printf("line %q\n", text)
				return 5
			}
		}
	case "hold", "stubborn": // holds a lock for as long as it lives
		f, err := os.Create(dirs[0] + "lock")
		must(err)
		must(unix.Flock(int(f.Fd()), unix.LOCK_EX))
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
		fmt.Println("holding")
		for s := range signals {
			if args[0] == "hold" {
				must(os.WriteFile(dirs[0]+"told", []byte(s.String()), 0o600))
				return 9
			}
		}
	}
	return 0
}
