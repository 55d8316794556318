// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package setting declares the environment variables of a program once: what each means, what it may be and what it is
// when unset. The program reads them by that declaration, its help prints it, and the documents are written from it.
//
// A value that cannot be honoured is an error at the start, with the variable, the value and what is allowed, rather
// than a surprise when it would first matter. An empty variable counts as unset.
package setting

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/drydock-os/drydock/internal/cli"
)

// Setting is one environment variable.
type Setting struct {
	Name     string
	Fallback string // when unset or empty; empty for none
	Required bool   // there must be a value
	Meaning  string // for the help and the documents, one sentence without a full stop
	Allowed  string // for who got it wrong
	// Set stores a value; nil for one that is read elsewhere.
	Set func(value string) error
}

// Env looks up a variable; os.Getenv is one.
type Env func(string) string

// Or returns a variable, or fallback when it is unset or empty.
func (env Env) Or(name, fallback string) string {
	if v := env(name); v != "" {
		return v
	}
	return fallback
}

// Apply reads the settings. Its errors are mistakes of whoever called the program, see package cli.
func Apply(env Env, settings []Setting) error {
	for _, s := range settings {
		value := env.Or(s.Name, s.Fallback)
		switch {
		case value == "" && s.Required:
			return cli.Usagef("%s is not set, and has to be %s", s.Name, s.Allowed)
		case value == "" || s.Set == nil:
			continue
		}
		if s.Set(value) != nil {
			return Bad(s.Name, value, s.Allowed)
		}
	}
	return nil
}

// Bad says which variable is wrong and what it may be.
func Bad(name, value, allowed string) error {
	return cli.Usagef("%s is %s, but may only be %s", name, Quote(value), allowed)
}

// Quote repeats a value in an error, however long or strange it is.
func Quote(value string) string {
	const most = 200 // bytes of the value that are repeated
	if len(value) > most {
		value = value[:most] + "…"
	}
	return strconv.Quote(value)
}

// Into stores what parse makes of a value.
func Into[T any](field *T, parse func(string) (T, error)) func(string) error {
	return func(value string) error {
		v, err := parse(value)
		if err == nil {
			*field = v
		}
		return err
	}
}

// Text takes any value.
func Text(s string) (string, error) { return s, nil }

// Bool takes true and false in any letter case.
func Bool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, strconv.ErrSyntax
}

// ABool is what Bool takes, for Allowed.
const ABool = "true or false"

// maxDuration keeps sums of times from overflowing; nobody waits that long.
const maxDuration = 365 * 24 * time.Hour

// Duration takes times above zero, up to a year.
func Duration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err == nil && (d <= 0 || d > maxDuration) {
		return 0, strconv.ErrRange
	}
	return d, err
}

// ADuration is what Duration takes, for Allowed.
const ADuration = "a time above zero and up to a year, such as 90s, 10m or 1h30m"

// Seconds takes whole numbers of seconds from 0.
func Seconds(s string) (time.Duration, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	return time.Duration(n) * time.Second, err
}

// ASeconds is what Seconds takes, for Allowed.
const ASeconds = "a whole number of seconds, 0 for no wait"

// Port takes the numbers of ports.
func Port(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err == nil && n == 0 {
		return 0, strconv.ErrRange
	}
	return uint16(n), err
}

// APort is what Port takes, for Allowed.
const APort = "a port from 1 to 65535"

// ObjectName takes what Kubernetes takes for names of nodes and pods.
func ObjectName(s string) (string, error) { return name(s, 253, "-.") }

// AnObjectName is what ObjectName takes, for Allowed.
const AnObjectName = "a name of lower-case letters, digits, - and ., with a letter or digit at both ends"

// Namespace takes what Kubernetes takes for names of namespaces.
func Namespace(s string) (string, error) { return name(s, 63, "-") }

// ANamespace is what Namespace takes, for Allowed.
const ANamespace = "the name of a namespace: lower-case letters, digits and -, with a letter or digit at both ends"

// name takes lower-case letters and digits, and between them what else is given.
func name(s string, most int, between string) (string, error) {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case i > 0 && i < len(s)-1 && strings.IndexByte(between, c) >= 0:
		default:
			return "", strconv.ErrSyntax
		}
	}
	if s == "" || len(s) > most {
		return "", strconv.ErrRange
	}
	return s, nil
}

// OneOf takes the given words, as they are.
func OneOf(words ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		for _, w := range words {
			if s == w {
				return s, nil
			}
		}
		return "", strconv.ErrSyntax
	}
}

// Help lists settings for the help of a program.
func Help(settings []Setting) string {
	var b strings.Builder
	for _, s := range settings {
		note := ""
		switch {
		case s.Required:
			note = " (required)"
		case s.Fallback != "":
			note = " (default " + s.Fallback + ")"
		}
		fmt.Fprintf(&b, "  %-32s  %s%s\n", s.Name, s.Meaning, note)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Markdown is the table of settings for the documents.
func Markdown(settings []Setting) string {
	var b strings.Builder
	b.WriteString("| Variable | Default | Meaning | Allowed |\n|---|---|---|---|\n")
	for _, s := range settings {
		fallback := "unset"
		switch {
		case s.Required:
			fallback = "required"
		case s.Fallback != "":
			fallback = "`" + s.Fallback + "`"
		}
		allowed := s.Allowed
		if allowed == "" {
			allowed = "any text"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s. | %s |\n", s.Name, fallback, capital(s.Meaning), allowed)
	}
	return b.String()
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
