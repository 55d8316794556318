// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package template renders the configuration files of a host from its settings, in the template language that the
// files of Bottlerocket are written in: Handlebars, with a TOML head that names the helpers a template needs.
//
// Rendering has no effect but its result, and bad templates and values are errors, never panics. A variable that is
// not there is an error, unless a helper that asks for it says what is meant then. Values are written as they are:
// the original turns characters such as & into HTML entities, which is wrong in every file that it writes. Templates
// that avoid that by triple braces render the same.
package template

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mailgun/raymond/v2/ast"
	"github.com/mailgun/raymond/v2/parser"
	"github.com/pelletier/go-toml/v2"
)

// ErrMissing means that a variable of the template has no value.
var ErrMissing = errors.New("no value")

// MaxSize is the largest template that is parsed, in bytes.
const MaxSize = 256 << 10

// maxOutput bounds what one template renders to, in bytes.
const maxOutput = 4 << 20

// Template is a parsed template. It does not change and may be used by many at once.
type Template struct {
	program *ast.Program
	helpers map[string]helper
}

// Parse reads a template with or without a head. Without one it may use every helper, as those of the first releases do.
func Parse(text string) (*Template, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("parsing template: larger than %d bytes", MaxSize)
	}
	head, body, headed := cutHead(text)
	t := &Template{helpers: map[string]helper{}}
	for name, extension := range extensions {
		if headed && name != "" {
			continue
		}
		for name, h := range extension {
			t.helpers[name] = h
		}
	}
	if headed {
		if err := t.require(head); err != nil {
			return nil, fmt.Errorf("parsing template: %w", err)
		}
	}
	var err error
	if t.program, err = parser.Parse(body); err != nil {
		// The text has two lines, of which the first says nothing.
		return nil, fmt.Errorf("parsing template: %s", strings.Join(strings.Fields(err.Error()), " "))
	}
	return t, nil
}

// cutHead splits a template at the first line of three or more plus signs.
func cutHead(text string) (head, body string, found bool) {
	for at := 0; at < len(text); {
		line, _, _ := strings.Cut(text[at:], "\n")
		next := min(at+len(line)+1, len(text))
		if trimmed := strings.TrimRight(line, " \t\r"); len(trimmed) >= 3 && strings.Trim(trimmed, "+") == "" {
			return text[:at], text[next:], true
		}
		at = next
	}
	return "", text, false
}

// require makes the helpers known that the head names.
func (t *Template) require(head string) error {
	var file struct {
		Required map[string]any `toml:"required-extensions"`
	}
	if err := toml.Unmarshal([]byte(head), &file); err != nil {
		return fmt.Errorf("head: %w", err)
	}
	for name, v := range file.Required {
		version, names, err := requirement(v)
		if err != nil {
			return fmt.Errorf("head: extension %q: %w", name, err)
		}
		extension := extensions[name]
		if name == "" || extension == nil || version != "v1" {
			return fmt.Errorf("head: no extension %q of version %q is known", name, version)
		}
		for helper, run := range extension {
			if names == nil || slices.Contains(names, helper) {
				t.helpers[helper] = run
			}
		}
		for _, helper := range names {
			if extension[helper] == nil {
				return fmt.Errorf("head: extension %q has no helper %q", name, helper)
			}
		}
	}
	return nil
}

// requirement reads "v1" or { version = "v1", helpers = [...] }. No list means all helpers.
func requirement(v any) (version string, names []string, err error) {
	switch v := v.(type) {
	case string:
		return v, nil, nil
	case map[string]any:
		version, ok := v["version"].(string)
		if !ok {
			break
		}
		list, given := v["helpers"]
		if !given {
			return version, nil, nil
		}
		items, ok := list.([]any)
		if !ok {
			break
		}
		names := []string{}
		for _, item := range items {
			name, ok := item.(string)
			if !ok {
				return "", nil, errors.New("helpers must be names")
			}
			names = append(names, name)
		}
		return version, names, nil
	}
	return "", nil, errors.New(`must be a version, or a table with version and helpers`)
}

// Render fills data in, whose values are nil, bool, numbers, strings, []any and map[string]any. It returns ErrMissing.
func (t *Template) Render(data map[string]any) (string, error) {
	e := &evaluation{template: t, stack: []frame{{value: data}}}
	if err := e.program(t.program); err != nil {
		return "", fmt.Errorf("rendering template: %w", err)
	}
	return e.out.String(), nil
}
