// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package manpage writes the manual pages of our programs from what they say about themselves with --help, so that the
// two cannot differ. The same program always gives the same bytes.
package manpage

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/drydock-os/drydock/internal/cli"
	"github.com/drydock-os/drydock/internal/durable"
)

// Write writes a page of section 1 into dir for root and each command below it that is shown in the help.
func Write(dir string, root *cobra.Command) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("writing manual pages: %w", err)
	}
	if err := write(dir, name(root), page(root)); err != nil {
		return err
	}
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && c.Name() != "completion" && !c.DisableFlagParsing {
			if err := Write(dir, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// WriteText writes a page for a program whose help is one text.
func WriteText(dir, name, short, help string) error {
	var b strings.Builder
	header(&b, name, short)
	b.WriteString(".SH DESCRIPTION\n.nf\n" + text(help) + ".fi\n")
	return write(dir, name, b.String())
}

func write(dir, name, page string) error {
	if err := durable.WriteFile(filepath.Join(dir, name+".1"), []byte(page), 0o644); err != nil {
		return fmt.Errorf("writing manual pages: %w", err)
	}
	return nil
}

// name is that of the page: imgtool-repo-publish for 'imgtool repo publish'.
func name(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

func header(b *strings.Builder, name, short string) {
	fmt.Fprintf(b, ".TH %q 1 \"\" Drydock\n.SH NAME\n%s \\- %s\n", strings.ToUpper(name), escape(name), escape(short))
}

func page(c *cobra.Command) string {
	var b strings.Builder
	header(&b, name(c), c.Short)
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", escape(c.UseLine()))
	long := c.Long
	if long == "" {
		long = c.Short
	}
	b.WriteString(".SH DESCRIPTION\n.nf\n" + text(long) + ".fi\n")
	var flags strings.Builder
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(&flags, ".TP\n.B \\-\\-%s %s\n%s", escape(f.Name), escape(value), text(usage))
		if f.DefValue != "" && f.DefValue != "[]" && f.DefValue != "false" {
			fmt.Fprintf(&flags, "(default %s)\n", escape(f.DefValue))
		}
	})
	if flags.Len() > 0 {
		b.WriteString(".SH OPTIONS\n" + flags.String())
	}
	if c.Example != "" {
		b.WriteString(".SH EXAMPLES\n.nf\n" + text(c.Example) + ".fi\n")
	}
	var more []string
	if c.HasParent() {
		more = append(more, name(c.Parent()))
	}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "completion" && sub.Name() != "help" {
			if sub.DisableFlagParsing {
				more = append(more, sub.Name()) // a program of its own name
			} else {
				more = append(more, name(sub))
			}
		}
	}
	for i := range more {
		more[i] = `\fB` + escape(more[i]) + `\fR(1)`
	}
	if len(more) > 0 {
		b.WriteString(".SH SEE ALSO\n" + strings.Join(more, ",\n") + "\n")
	}
	return b.String()
}

// text makes lines that show as they are.
func text(s string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimRight(s, "\n")) {
		line = escape(strings.TrimRight(line, "\n"))
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line // or it would be a request
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

func escape(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
}

// Command returns a command, hidden from the help because only builders of packages need it, that writes the pages of
// the program it is added to. more writes further pages; it may be nil.
func Command(more func(dir string) error) *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write manual pages", Hidden: true,
		Args: func(c *cobra.Command, args []string) error { return cli.Usage(cobra.ExactArgs(1)(c, args)) },
		RunE: func(c *cobra.Command, args []string) error {
			if err := Write(args[0], c.Root()); err != nil || more == nil {
				return err
			}
			return more(args[0])
		},
	}
}
