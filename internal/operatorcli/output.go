// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"sigs.k8s.io/yaml"

	"github.com/drydock-os/drydock/internal/cli"
)

// format is how an answer is printed.
type format string

const (
	table     format = ""
	wideTable format = "wide"
	asJSON    format = "json"
	asYAML    format = "yaml"
)

// formatFlag takes a format from the command line.
type formatFlag struct {
	to      *format
	allowed []format
}

func (f formatFlag) String() string { return string(*f.to) }

func (formatFlag) Type() string { return "format" }

func (f formatFlag) Set(s string) error {
	if !slices.Contains(f.allowed, format(s)) {
		return fmt.Errorf("may only be %s", f.choice())
	}
	*f.to = format(s)
	return nil
}

func (f formatFlag) choice() string {
	all := make([]string, len(f.allowed))
	for i, a := range f.allowed {
		all[i] = string(a)
	}
	return strings.Join(all[:len(all)-1], ", ") + " or " + all[len(all)-1]
}

// data is whether the answer is for programs.
func (f *format) data() bool { return *f == asJSON || *f == asYAML }

// addFlag lets the person choose between a form for people and those for programs; more names further tables.
func (f *format) addFlag(cmd *cobra.Command, more ...format) {
	flag := formatFlag{f, append([]format{asJSON, asYAML}, more...)}
	cmd.Flags().VarP(flag, "output", "o", flag.choice()+" (default: text)")
}

// encode writes v in a format for programs. Field names are the same in both.
func (f *format) encode(w io.Writer, v any) error {
	if *f == asYAML {
		out, err := yaml.Marshal(v)
		if err != nil {
			return fmt.Errorf("encoding the answer: %w", err)
		}
		_, err = w.Write(out)
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func decodeJSON(data []byte, v any) error { return json.Unmarshal(data, v) }

// screen is what is known of the terminal behind stdout.
type screen struct {
	live   bool // a terminal that moves its cursor when told to
	colour bool
	size   func() (width, height int)
}

// screen looks at stdout. Colours need a terminal and no wish to the contrary (https://no-color.org).
func (t *tool) screen() screen {
	s := screen{size: func() (int, int) { return 0, 0 }}
	f, ok := t.Stdout.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || t.Env("TERM") == "dumb" {
		return s
	}
	s.live, s.colour = true, t.Env("NO_COLOR") == ""
	s.size = func() (int, int) {
		w, h, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 0, 0
		}
		return w, h
	}
	return s
}

// usageOf marks a contradiction between flags.
func usageOf(cmd *cobra.Command, format string, args ...any) error {
	return cli.WithHint(cli.Usagef(format, args...), "run '%s --help'", cmd.CommandPath())
}
