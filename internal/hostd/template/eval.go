// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package template

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/mailgun/raymond/v2/ast"
)

// missing is the value of a variable that is not there.
type missing struct{ name string }

func (m missing) Error() string { return fmt.Sprintf("%s: %v", m.name, ErrMissing) }
func (missing) Unwrap() error   { return ErrMissing }

// frame is what names are looked up in: the innermost thing that a template looks at.
type frame struct {
	value  any
	data   map[string]any // @index, @key, @first, @last
	locals map[string]any // names given by "as |name|"
}

// evaluation is one rendering.
type evaluation struct {
	template *Template
	stack    []frame
	out      strings.Builder
}

func at(n ast.Node, err error) error { return fmt.Errorf("line %d: %w", n.Location().Line, err) }

func (e *evaluation) program(p *ast.Program) error {
	if p == nil {
		return nil
	}
	for _, n := range p.Body {
		if err := e.statement(n); err != nil {
			return err
		}
		if e.out.Len() > maxOutput {
			return fmt.Errorf("more than %d bytes", maxOutput)
		}
	}
	return nil
}

func (e *evaluation) statement(n ast.Node) error {
	switch n := n.(type) {
	case *ast.ContentStatement:
		e.out.WriteString(n.Value)
	case *ast.CommentStatement:
	case *ast.MustacheStatement:
		v, err := e.expression(n.Expression)
		if err == nil {
			var s string
			if s, err = text(v); err == nil {
				e.out.WriteString(s)
			}
		}
		if err != nil {
			return at(n, err)
		}
	case *ast.BlockStatement:
		return e.block(n)
	default:
		return at(n, fmt.Errorf("partials and the like are not known"))
	}
	return nil
}

func (e *evaluation) block(n *ast.BlockStatement) error {
	name := n.Expression.HelperName()
	if name == "each" || name == "with" {
		return e.enter(n, name)
	}
	args, err := e.arguments(n.Expression)
	if err != nil {
		return at(n, err)
	}
	var holds bool
	switch {
	case name == "if_not_null" && len(args) == 1:
		holds = !isNull(args[0])
	case name == "if" && len(args) == 1:
		holds = truth(args[0])
	case name == "unless" && len(args) == 1:
		holds = !truth(args[0])
	default:
		return at(n, fmt.Errorf("block %q with %d values is not known", n.Expression.Canonical(), len(args)))
	}
	if holds {
		return e.program(n.Program)
	}
	return e.program(n.Inverse)
}

// enter renders a block inside of a value, or of each of its items. Keys come in order.
func (e *evaluation) enter(n *ast.BlockStatement, name string) error {
	args, err := e.arguments(n.Expression)
	if err != nil {
		return at(n, err)
	}
	if len(args) != 1 {
		return at(n, fmt.Errorf("%s wants one value", name))
	}
	if m, is := args[0].(missing); is {
		return at(n, m)
	}
	if !truth(args[0]) {
		return e.program(n.Inverse)
	}
	var names []string
	if n.Program != nil {
		names = n.Program.BlockParams
	}
	run := func(v, key any, data map[string]any) error {
		locals := map[string]any{}
		for i, v := range []any{v, key} {
			if i < len(names) {
				locals[names[i]] = v
			}
		}
		e.stack = append(e.stack, frame{v, data, locals})
		defer func() { e.stack = e.stack[:len(e.stack)-1] }()
		return e.program(n.Program)
	}
	if name == "with" {
		return run(args[0], nil, nil)
	}
	switch v := args[0].(type) {
	case []any:
		for i, item := range v {
			if err := run(item, i, map[string]any{"index": i, "key": i, "first": i == 0, "last": i == len(v)-1}); err != nil {
				return err
			}
		}
	case map[string]any:
		for i, key := range slices.Sorted(maps.Keys(v)) {
			if err := run(v[key], key, map[string]any{"index": i, "key": key, "first": i == 0, "last": i == len(v)-1}); err != nil {
				return err
			}
		}
	default:
		return at(n, fmt.Errorf("each wants a list or an object"))
	}
	return nil
}

// expression is a variable, a literal or a call of a helper.
func (e *evaluation) expression(n *ast.Expression) (any, error) {
	name := n.HelperName()
	if h := e.template.helpers[name]; h != nil {
		args, err := e.arguments(n)
		if err != nil {
			return nil, err
		}
		v, err := h(args)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return v, nil
	}
	if len(n.Params) > 0 || n.Hash != nil {
		return nil, fmt.Errorf("helper %q is not known, or not required by the head", n.Canonical())
	}
	return e.value(n.Path)
}

func (e *evaluation) arguments(n *ast.Expression) ([]any, error) {
	if n.Hash != nil {
		return nil, fmt.Errorf("%s: named values are not known", n.Canonical())
	}
	args := make([]any, len(n.Params))
	for i, p := range n.Params {
		var err error
		if args[i], err = e.value(p); err != nil {
			return nil, err
		}
	}
	return args, nil
}

func (e *evaluation) value(n ast.Node) (any, error) {
	switch n := n.(type) {
	case *ast.StringLiteral:
		return n.Value, nil
	case *ast.BooleanLiteral:
		if n.Original == "null" {
			return nil, nil
		}
		return n.Value, nil
	case *ast.NumberLiteral:
		return n.Number(), nil
	case *ast.SubExpression:
		return e.expression(n.Expression)
	case *ast.Expression:
		return e.expression(n)
	case *ast.PathExpression:
		return e.path(n), nil
	}
	return nil, fmt.Errorf("value of unknown kind")
}

// path looks a variable up. Names mean what the innermost block looks at; ../ is what the block round it does.
func (e *evaluation) path(n *ast.PathExpression) any {
	if n.Original == "null" {
		return nil
	}
	depth := len(e.stack) - 1 - n.Depth
	if depth < 0 {
		return missing{n.Original}
	}
	v, parts := e.stack[depth].value, n.Parts
	if len(parts) > 0 {
		first := unbracket(parts[0])
		switch {
		case n.Data && first == "root":
			v, parts = e.stack[0].value, parts[1:]
		case n.Data:
			found, ok := e.stack[depth].data[first]
			if !ok {
				return missing{n.Original}
			}
			v, parts = found, parts[1:]
		case !n.Scoped:
			for i := depth; i >= 0; i-- {
				if local, ok := e.stack[i].locals[first]; ok {
					v, parts = local, parts[1:]
					break
				}
			}
		}
	}
	for _, part := range parts {
		name := unbracket(part)
		switch in := v.(type) {
		case map[string]any:
			inner, ok := in[name]
			if !ok {
				return missing{n.Original}
			}
			v = inner
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(in) {
				return missing{n.Original}
			}
			v = in[i]
		default:
			return missing{n.Original}
		}
	}
	return v
}

func unbracket(name string) string {
	if len(name) >= 2 && name[0] == '[' && name[len(name)-1] == ']' {
		return name[1 : len(name)-1]
	}
	return name
}
