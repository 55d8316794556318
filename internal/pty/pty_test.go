// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package pty

import (
	"bufio"
	"testing"

	"golang.org/x/term"
)

func TestATerminalIsOne(t *testing.T) {
	control, terminal, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	defer terminal.Close()
	if !term.IsTerminal(int(terminal.Fd())) {
		t.Error("the end for programs is no terminal")
	}
	if err := SetSize(control, 24, 65535); err != nil {
		t.Fatal(err)
	}
	if rows, cols, err := Size(terminal); rows != 24 || cols != 65535 || err != nil {
		t.Errorf("%d x %d, %v", rows, cols, err)
	}
	if _, err := terminal.WriteString("hello\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(control).ReadString('\n'); line != "hello\r\n" {
		t.Errorf("%q %v", line, err)
	}
}

func TestFilesHaveNoSize(t *testing.T) {
	control, terminal, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	_ = terminal.Close()
	_ = control.Close()
	if _, _, err := Size(control); err == nil {
		t.Error("a closed terminal has a size")
	}
}
